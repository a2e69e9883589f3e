"""Signing in at a SAML 2.0 identity provider: web browser SSO (saml-profiles-2.0-os §4.1), asked by redirect, answered by POST.

The request's ID is the nonce of the sign-in: an answer is good for the one request that it names, in the browser that began it,
and each is taken once. What is in the answer is for `identity.saml` to verify.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import urlencode
from xml.sax.saxutils import quoteattr

from ...identity.saml import Saml
from ...identity.verified import NotVerified
from ...policy.issuers import group_rules, trust_of, user_rules
from . import messages
from .signing import NotSignedIn, Person, Secrets, person_of

POST_BINDING = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
_REQUEST = (
    '<samlp:AuthnRequest xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion"'
    ' Version="2.0" ID={id} IssueInstant={at} Destination={place} ProtocolBinding={binding} AssertionConsumerServiceURL={back}>'
    "<saml:Issuer>{entity}</saml:Issuer></samlp:AuthnRequest>"
)


class SamlProvider:
    """One identity provider."""

    posts = True
    """Whether its answer comes as a form of its own page's."""

    def __init__(self, told: messages.Provider) -> None:
        """Raises ValueError for what is no certificate."""
        self.name = told.name
        self.label = told.sign_in.label or told.name
        self.failure = ""
        """Why nobody could sign in last; empty when somebody could."""
        self._told = told
        self._saml = Saml(trust_of(told.issuer), told.issuer.recipient, told.certificates.encode())
        self._rules = user_rules(told.issuer), group_rules(told.issuer)

    async def place(self, secrets: Secrets, redirect_uri: str, now: float) -> str:
        """Where the browser is to go (saml-bindings-2.0-os §3.4)."""
        place = self._told.sign_in.sso_url
        request = _REQUEST.format(
            id=quoteattr(request_id(secrets)),
            at=quoteattr(datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")),
            place=quoteattr(place),
            binding=quoteattr(POST_BINDING),
            back=quoteattr(redirect_uri),
            entity=quoteattr(self._told.sign_in.client_id)[1:-1],
        )
        packed = zlib.compressobj(wbits=-15)
        deflated = packed.compress(request.encode()) + packed.flush()
        asked = {"SAMLRequest": base64.b64encode(deflated).decode(), "RelayState": secrets.state}
        return f"{place}{'&' if '?' in place else '?'}{urlencode(asked)}"

    async def person(self, secrets: Secrets, redirect_uri: str, answer: Mapping[str, str], now: float) -> Person:
        """Who that is, by the form that the browser brings from there. Raises NotSignedIn."""
        try:
            document = base64.b64decode(answer.get("SAMLResponse", ""), validate=False)
        except (ValueError, binascii.Error):
            raise NotSignedIn("the answer is not in base64") from None
        try:
            found = self._saml.sign_in(document, request_id(secrets), now)
        except NotVerified as error:
            self.failure = str(error)
            raise NotSignedIn(f"{self.label}: its answer is refused: {error}") from None
        self.failure = ""
        return person_of(found, *self._rules, self.label)


def request_id(secrets: Secrets) -> str:
    """An xs:ID: it may not begin with a digit."""
    return f"_{secrets.nonce}"
