"""Verifies SAML 2.0 assertions: those that agents present, those of web single sign-on (saml-profiles-2.0-os, 4.1.4.3)."""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from lxml import etree

from .jwks import Published
from .saml_document import ASSERTION, PROTOCOL, assertion_of, is_signed, parse, signed
from .times import check_times
from .trust import Trust
from .verified import MAX_TEXT, NotVerified, Verified, quoted

BEARER = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
SUCCESS = "urn:oasis:names:tc:SAML:2.0:status:Success"
MAX_ATTRIBUTES = 256
_KNOWN_CONDITIONS = frozenset(f"{ASSERTION}{name}" for name in ("AudienceRestriction", "OneTimeUse", "ProxyRestriction"))
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")


class Saml:
    """The assertions of one identity provider. Each is good once: the caller keeps `Verified.token_id`."""

    def __init__(self, trust: Trust, recipient: str, certificates: bytes) -> None:
        """certificates: PEM, what it signs with. recipient: the URL that an assertion must be for. Raises ValueError."""
        self.trust = trust
        self._recipient = recipient
        self._certificates = x509.load_pem_x509_certificates(certificates)

    @property
    def keys(self) -> Published | None:
        """None: they stand in the configuration."""
        return None

    async def workload(self, token: bytes, now: float) -> Verified:
        """Who an assertion is about that an agent presents, as XML or in base64; nobody asked for it. Raises NotVerified."""
        document = token.strip()
        if not document.startswith(b"<"):
            try:
                document = base64.b64decode(document, validate=True)
            except (ValueError, binascii.Error):
                raise NotVerified("malformed", "it is neither XML nor base64") from None
        root = parse(document)
        return self._verified(root, None, now)

    def sign_in(self, document: bytes, request: str, now: float) -> Verified:
        """Who has signed in, by a response as it was POSTed (decoded from base64). `request`: ID of what it must answer.

        Response and assertion must both be signed. Raises NotVerified.
        """
        root = parse(document)
        if root.tag != f"{PROTOCOL}Response":
            raise NotVerified("malformed", "it is no SAML 2.0 response")
        if not is_signed(root):
            raise NotVerified("signature", "the response is not signed")
        return self._verified(root, request, now)

    def _verified(self, root: etree._Element, request: str | None, now: float) -> Verified:
        inner = assertion_of(root)
        if root is not inner:
            response = signed(root, root, self._certificates, now)[0] if is_signed(root) else root
            self._check_response(response, request)
        assertion, certificate = signed(root, inner, self._certificates, now)
        return self._checked(assertion, certificate, request, now)

    def _check_response(self, response: etree._Element, request: str | None) -> None:
        if response.get("Destination", self._recipient) != self._recipient:
            raise NotVerified("recipient", f"the response is for {quoted(response.get('Destination'))}")
        if response.get("InResponseTo") != request:
            raise NotVerified("request", "the response answers another question than ours")
        issuer = response.find(f"{ASSERTION}Issuer")
        if issuer is not None and _text(issuer) != self.trust.issuer:
            raise NotVerified("issuer", f"the response is issued by {quoted(_text(issuer))}")
        status = response.find(f"{PROTOCOL}Status/{PROTOCOL}StatusCode")
        if status is None or status.get("Value") != SUCCESS:
            raise NotVerified("claim", "the provider says that the sign-in failed")

    def _checked(self, assertion: etree._Element, certificate: x509.Certificate, request: str | None, now: float) -> Verified:
        """What a signed assertion says; nothing else is looked at."""
        issuer, identifier = assertion.find(f"{ASSERTION}Issuer"), assertion.get("ID", "")
        if assertion.get("Version") != "2.0" or issuer is None or not 0 < len(identifier) <= MAX_TEXT:
            raise NotVerified("malformed", "it is no SAML 2.0 assertion with an issuer and an ID")
        if _text(issuer) != self.trust.issuer:
            raise NotVerified("issuer", f"its issuer is {quoted(_text(issuer))}, not {quoted(self.trust.issuer)}")
        issued_at = _instant(assertion, "IssueInstant")
        if issued_at is None:
            raise NotVerified("malformed", "it does not say when it was issued")
        subject, confirmed_until = self._subject(assertion, request, now)
        begins_at, ends_at = self._conditions(assertion)
        until = min(confirmed_until, ends_at)
        check_times(until, begins_at, issued_at, self.trust, now)
        sessions = [_instant(node, "SessionNotOnOrAfter") for node in assertion.findall(f"{ASSERTION}AuthnStatement")]
        session_until = min((at for at in sessions if at is not None), default=until)
        check_times(session_until, None, issued_at, self.trust, now)
        key = certificate.fingerprint(SHA256()).hex()
        return Verified("saml", self.trust.issuer, subject, session_until, issued_at, identifier, key, _attributes(assertion))

    def _subject(self, assertion: etree._Element, request: str | None, now: float) -> tuple[str, float]:
        """Whom it is about, and until when its bearer may be taken for that."""
        found = assertion.findall(f"{ASSERTION}Subject/{ASSERTION}NameID")
        subject = _text(found[0]) if len(found) == 1 else ""
        if not 0 < len(subject) <= MAX_TEXT:
            raise NotVerified("subject", "it does not say whom it is about")
        refusals: list[NotVerified] = []
        for confirmation in assertion.findall(f"{ASSERTION}Subject/{ASSERTION}SubjectConfirmation"):
            try:
                return subject, self._confirmed(confirmation, request, now)
            except NotVerified as refusal:
                refusals.append(refusal)
        raise refusals[0] if refusals else NotVerified("recipient", "nothing in it confirms its bearer")

    def _confirmed(self, confirmation: etree._Element, request: str | None, now: float) -> float:
        data = confirmation.find(f"{ASSERTION}SubjectConfirmationData")
        if confirmation.get("Method") != BEARER or data is None:
            raise NotVerified("recipient", "it is not for whoever bears it")
        if data.get("Recipient") != self._recipient:
            raise NotVerified("recipient", f"it is for {quoted(data.get('Recipient'))}, not for {quoted(self._recipient)}")
        if data.get("InResponseTo") != request:
            raise NotVerified("request", "it answers another question than ours")
        until, begins_at = _instant(data, "NotOnOrAfter"), _instant(data, "NotBefore")
        if until is None:
            raise NotVerified("malformed", "its bearer is confirmed for ever")
        check_times(until, begins_at, None, self.trust, now)
        return until

    def _conditions(self, assertion: etree._Element) -> tuple[float | None, float]:
        found = assertion.findall(f"{ASSERTION}Conditions")
        if len(found) != 1:
            raise NotVerified("malformed", "it has no conditions, or too many")
        if any(node.tag not in _KNOWN_CONDITIONS for node in found[0]):
            raise NotVerified("claim", "it has conditions that are not known")
        restrictions = [
            {_text(node) for node in restriction.findall(f"{ASSERTION}Audience")}
            for restriction in found[0].findall(f"{ASSERTION}AudienceRestriction")
        ]
        # SAML core 2.5.1.4: all restrictions must hold.
        if not restrictions or not all(audience & self.trust.audiences for audience in restrictions):
            said = sorted({each for audience in restrictions for each in audience})
            wanted = " or ".join(map(quoted, sorted(self.trust.audiences)))
            raise NotVerified("audience", f"it is for {quoted(said)}, not for {wanted}")
        ends_at = _instant(found[0], "NotOnOrAfter")
        if ends_at is None:
            raise NotVerified("malformed", "it never expires")
        return _instant(found[0], "NotBefore"), ends_at


def _attributes(assertion: etree._Element) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for attribute in assertion.iterfind(f"{ASSERTION}AttributeStatement/{ASSERTION}Attribute"):
        values = [_text(value) for value in attribute.findall(f"{ASSERTION}AttributeValue")]
        found.setdefault(attribute.get("Name", ""), []).extend(values)
    if len(found) > MAX_ATTRIBUTES:
        raise NotVerified("malformed", f"it has more than {MAX_ATTRIBUTES} attributes")
    return found


def _text(node: etree._Element) -> str:
    """All of the text of an element that has nothing but text. Raises NotVerified (``malformed``)."""
    if len(node):
        raise NotVerified("malformed", f"there is more than text in its {etree.QName(node).localname}")
    return (node.text or "").strip()


def _instant(node: etree._Element, name: str) -> float | None:
    """A time in UTC (SAML core 1.3.3). Raises NotVerified (``malformed``)."""
    text = node.get(name)
    if text is None:
        return None
    try:
        if _INSTANT.fullmatch(text) is None:
            raise ValueError(text)
        return datetime.fromisoformat(f"{text[:19]}+00:00").astimezone(UTC).timestamp()
    except ValueError:
        raise NotVerified("malformed", f"its {name} is no time in UTC") from None
