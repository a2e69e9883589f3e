"""Signing in at an OpenID provider by the code flow (OpenID Connect Core 1.0 §3.1, RFC 6749 §4.1, RFC 9700).

PKCE (RFC 7636) and a nonce bind the code to this sign-in, `state` with a cookie binds the answer to the browser that began it,
`iss` (RFC 9207) to the provider that was asked. Each answer is taken once.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from ...identity.discovery import Metadata, discover
from ...identity.jwks import FetchFailed
from ...identity.oidc import Oidc
from ...identity.verified import NotVerified, Verified, quoted
from ...policy.issuers import group_rules, trust_of, user_rules
from . import messages
from .fetching import Fetching
from .signing import NotSignedIn, Person, Secrets, person_of

METADATA_S = 300.0
"""Seconds for which a provider's endpoints are not asked for again."""


class OidcProvider:
    """One OpenID provider."""

    posts = False
    """Whether its answer comes as a form of its own page's."""

    def __init__(self, told: messages.Provider, fetching: Fetching) -> None:
        self.name = told.name
        self.label = told.sign_in.label or told.name
        self.scope = " ".join(told.sign_in.scopes)
        self.failure = ""
        """Why nobody could sign in last; empty when somebody could. Nothing that a browser said."""
        self._told = told
        self._fetching = fetching
        self._verifying = asyncio.Lock()
        self._oidc = Oidc(trust_of(told.issuer), fetching.get)
        self._rules = user_rules(told.issuer), group_rules(told.issuer)
        self._metadata: Metadata | None = None
        self._metadata_at = 0.0

    async def place(self, secrets: Secrets, redirect_uri: str, now: float) -> str:
        """Where the browser is to go. Raises NotSignedIn."""
        metadata = await self.metadata(now)
        if not metadata.authorization_endpoint:
            raise self.failed("it has no authorization_endpoint")
        asked = {
            "response_type": "code",
            "client_id": self._told.sign_in.client_id,
            "redirect_uri": redirect_uri,
            "scope": self.scope,
            "state": secrets.state,
            "nonce": secrets.nonce,
            "code_challenge": secrets.challenge,
            "code_challenge_method": "S256",
        }
        joined = "&" if "?" in metadata.authorization_endpoint else "?"
        return f"{metadata.authorization_endpoint}{joined}{urlencode(asked)}"

    async def person(self, secrets: Secrets, redirect_uri: str, answer: Mapping[str, str], now: float) -> Person:
        """Who that is, by what the browser brings back from there. Raises NotSignedIn."""
        metadata = await self.metadata(now)
        issuer = answer.get("iss")
        # An answer of another provider's would have its code sent to this one (RFC 9207 §2.4).
        if issuer != metadata.issuer and (issuer is not None or metadata.says_issuer):
            raise NotSignedIn(f"the answer is of {quoted(issuer)}, not of {metadata.issuer}")
        if "error" in answer:
            raise NotSignedIn(f"{self.label} says {quoted(answer['error'])} {quoted(answer.get('error_description', ''))}")
        if not answer.get("code"):
            raise NotSignedIn("the answer has no code")
        form = {
            "grant_type": "authorization_code",
            "code": answer["code"],
            "redirect_uri": redirect_uri,
            "code_verifier": secrets.verifier,
        }
        tokens = await self.tokens(form, now)
        return await self.verified(tokens.get("id_token"), secrets.nonce, now)

    async def verified(self, token: Any, nonce: str | None, now: float) -> Person:
        """The user whom an ID token is about. Raises NotSignedIn."""
        if not isinstance(token, str):
            raise self.failed("it gives no ID token")
        try:
            async with self._verifying:
                found = await self._oidc.id_token(token.encode(), self._told.sign_in.client_id, nonce, now)
        except NotVerified as error:
            raise self.failed(f"its ID token is refused: {error}") from None
        self.failure = ""
        return person_of(_without_doubtful(found), *self._rules, self.label)

    async def tokens(self, form: Mapping[str, str], now: float) -> dict[str, Any]:
        """What the token endpoint gives (RFC 6749 §5). Raises NotSignedIn."""
        status, found = await self.asked("token_endpoint", form, now)
        if status != 200:
            raise self.failed(f"it gives no token: {quoted(found.get('error', status))}")
        return found

    async def asked(self, endpoint: str, form: Mapping[str, str], now: float) -> tuple[int, dict[str, Any]]:
        """Status and JSON of one of the endpoints where the client says who it is (RFC 6749 §2.3.1). Raises NotSignedIn."""
        url = getattr(await self.metadata(now), endpoint)
        if not url:
            raise self.failed(f"it has no {endpoint}")
        sign_in, headers = self._told.sign_in, {}
        if self._told.secret:
            pair = f"{quote(sign_in.client_id, safe='')}:{quote(self._told.secret, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        try:
            status, body = await self._fetching.post(url, {**form, "client_id": sign_in.client_id}, headers)
            found = json.loads(body)
        except FetchFailed as error:
            raise self.failed(str(error)) from None
        except (ValueError, RecursionError):
            raise self.failed(f"its {endpoint} answers what is no JSON") from None
        if not isinstance(found, dict):
            raise self.failed(f"its {endpoint} answers what is no JSON object")
        return status, found

    async def metadata(self, now: float) -> Metadata:
        """Its endpoints. Raises NotSignedIn."""
        if self._metadata is None or not 0 <= now - self._metadata_at < METADATA_S:
            try:
                self._metadata = await discover(self._told.issuer.issuer, self._fetching.get)
            except FetchFailed as error:
                raise self.failed(str(error)) from None
            self._metadata_at = now
        return self._metadata

    def failed(self, why: str) -> NotSignedIn:
        """Nobody can sign in there for this reason: ``status`` shows it until somebody does."""
        self.failure = why
        return NotSignedIn(f"{self.label}: {why}")


def _without_doubtful(found: Verified) -> Verified:
    """Without an e-mail address that the provider itself does not vouch for (OpenID Connect Core 1.0 §5.7)."""
    if found.claims.get("email_verified", True) is True:
        return found
    claims = {name: value for name, value in found.claims.items() if name != "email"}
    return Verified(found.kind, found.issuer, found.subject, found.expires_at, found.issued_at, found.token_id, found.key, claims)
