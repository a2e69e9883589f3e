"""What this host demands of an issuer's tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from .verified import Kind

ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519",
)  # fmt: skip
"""Signatures with a public key, all of them: neither ``none`` nor HMAC can be allowed."""
_TRUST_DOMAIN = re.compile(r"spiffe://[a-z0-9._-]{1,255}")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Trust:
    """One issuer, as the configuration has it."""

    kind: Kind
    issuer: str
    """Exactly what stands in ``iss``; the trust domain (``spiffe://example.org``) for SPIFFE, the entity's id for SAML."""
    audiences: frozenset[str]
    """What a token must be for: one of these must be among its audiences. Never empty."""
    algorithms: tuple[str, ...] = ALGORITHMS
    jwks_url: str = ""
    """Where the keys are; found by discovery when empty (OIDC)."""
    skew_s: float = 60.0
    """Seconds by which the issuer's clock may be ahead of ours. What has expired by our clock has expired."""
    max_lifetime_s: float = 86_400.0
    """Longest time from when a token was issued (or now) to when it expires."""
    refresh_s: float = 300.0
    """Age of the keys from which on they are fetched again."""
    keep_s: float = 3600.0
    """Age of the keys from which on nothing is verified by them, when they can't be fetched."""


def is_trust_domain(text: str) -> bool:
    """Whether it is a SPIFFE trust domain's id (SPIFFE-ID.md 2.1): ``spiffe://example.org``."""
    return _TRUST_DOMAIN.fullmatch(text) is not None


def url_fault(url: str) -> str:
    """Why nothing may be asked at this URL; empty when it may. https, or http where nobody can listen: on the loopback."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "it is no URL"
    if not parts.hostname or parts.username is not None or parts.password is not None or parts.fragment:
        return "it is no URL of a host without user, password, fragment"
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        return ""
    return "it is not https"
