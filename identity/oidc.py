"""Verifies an OpenID provider's tokens: workloads' (RFC 7519, RFC 9068), users' ID tokens (OpenID Connect Core 3.1.3.7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .discovery import fetch_keys
from .jwks import Fetch, Published
from .jws import Opened, open_token
from .times import check_times, numeric_date
from .trust import Trust
from .verified import MAX_TEXT, NotVerified, Verified, quoted

WORKLOAD_TYPES = (None, "jwt", "at+jwt")
ID_TOKEN_TYPES = (None, "jwt")
"""An access token is none, nor a logout token."""


class Oidc:
    """The tokens of one issuer."""

    def __init__(self, trust: Trust, fetch: Fetch) -> None:
        self.trust = trust
        self.keys = Published(lambda: fetch_keys(trust, fetch), trust.refresh_s, trust.keep_s)

    async def workload(self, token: bytes, now: float) -> Verified:
        """Who an agent's token is about: an ID token, an access token that is a JWT, a platform's token. Raises NotVerified."""
        opened = await self._open(token, WORKLOAD_TYPES, now)
        return self._checked(opened, now)

    async def id_token(self, token: bytes, client_id: str, nonce: str | None, now: float) -> Verified:
        """Who has signed in, by the ID token that the token endpoint gave to this client. Raises NotVerified.

        nonce: what the request for it had; None where there was none to send (device flow, RFC 8628).
        """
        opened = await self._open(token, ID_TOKEN_TYPES, now)
        claims = opened.claims
        verified = self._checked(opened, now, frozenset([client_id]))
        if verified.issued_at is None:
            raise NotVerified("malformed", "it does not say when it was issued")
        others = audiences(claims) - {client_id}
        if claims.get("azp", None if others else client_id) != client_id:
            raise NotVerified("audience", "it was issued to another party (azp)")
        if nonce is not None and claims.get("nonce") != nonce:
            raise NotVerified("nonce", "it is no answer to this sign-in (nonce)")
        return verified

    async def _open(self, token: bytes, types: tuple[str | None, ...], now: float) -> Opened:
        return await open_token(token, self.trust.algorithms, types, lambda kid, alg: self.keys.key(kid, alg, now))

    def _checked(self, opened: Opened, now: float, wanted: frozenset[str] | None = None) -> Verified:
        claims = opened.claims
        if claims.get("iss") != self.trust.issuer:
            raise NotVerified("issuer", f"its issuer is {quoted(claims.get('iss'))}, not {quoted(self.trust.issuer)}")
        return claims_checked(opened, self.trust, wanted or self.trust.audiences, now)


def claims_checked(opened: Opened, trust: Trust, wanted: frozenset[str], now: float) -> Verified:
    """What every kind of JWT must say, whoever issued it. Raises NotVerified."""
    claims = opened.claims
    if not wanted & audiences(claims):
        raise NotVerified(
            "audience", f"it is for {quoted(claims.get('aud'))}, not for {' or '.join(map(quoted, sorted(wanted)))}"
        )
    expires_at, issued_at = numeric_date(claims, "exp"), numeric_date(claims, "iat")
    if expires_at is None:
        raise NotVerified("malformed", "it never expires (no exp)")
    check_times(expires_at, numeric_date(claims, "nbf"), issued_at, trust, now)
    subject, token_id = claims.get("sub"), claims.get("jti", "")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_TEXT:
        raise NotVerified("subject", "it does not say whom it is about (sub)")
    if not isinstance(token_id, str) or len(token_id) > MAX_TEXT:
        raise NotVerified("malformed", "its id (jti) is no text, or too long")
    return Verified(trust.kind, trust.issuer, subject, expires_at, issued_at, token_id, opened.key, claims)


def audiences(claims: Mapping[str, Any]) -> frozenset[str]:
    """Whom it is for: a text or a list of texts. Raises NotVerified (``malformed``)."""
    value = claims.get("aud", [])
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
        raise NotVerified("malformed", "its audience (aud) is neither a text nor a list of texts")
    return frozenset(listed)
