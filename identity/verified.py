"""What a verified token says of its bearer, or why it is not verified."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["oidc", "spiffe", "saml"]
Fault = Literal[
    "malformed",  # no token of this kind, or too long
    "header",  # its header says what no token for us says: a key of its own, extensions that must be understood
    "algorithm",  # signed, or not, in a way that is not allowed
    "key",  # signed by a key that the issuer does not publish
    "signature",
    "issuer",
    "audience",
    "recipient",
    "request",  # an answer to a question that we did not ask
    "expired",
    "early",  # not valid yet
    "lifetime",  # valid for longer than is allowed
    "subject",
    "nonce",
    "claim",
    "replayed",
    "unavailable",  # nothing is known of the issuer's keys: nothing wrong with the token, and not verified all the same
]
MAX_TOKEN_BYTES = 64 * 1024
MAX_TEXT = 1024
"""Characters of an issuer, a subject, a token's id."""


class NotVerified(Exception):
    """Nobody is who this token says; the message says why in words for people, and has nothing secret in it."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault: Fault = fault


@dataclass(frozen=True, slots=True)
class Verified:
    """What the issuer vouches for. Times are seconds since 1970."""

    kind: Kind
    issuer: str
    subject: str
    expires_at: float
    """From then on it is worth nothing."""
    issued_at: float | None
    token_id: str
    """``jti``, or an assertion's ID; empty when it has none."""
    key: str
    """Thumbprint of the key that it is signed with (RFC 7638; SHA-256 of the certificate for SAML)."""
    claims: Mapping[str, Any]


def quoted(value: object) -> str:
    """What a token says, for a message: in quotes, ASCII, not long."""
    text = ascii(value)
    return text if len(text) <= 120 else f"{text[:117]}…"
