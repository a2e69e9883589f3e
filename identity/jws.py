"""Opens a signed token (RFC 7515, compact), by nothing but a key that its issuer publishes.

What the token says about how to verify it counts for little (RFC 8725): its algorithm must be one that is allowed, the key is
looked up among the issuer's, of the algorithm's own kind, and a token that brings a key along, or says where one is, is refused.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any

from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwk import Key
from joserfc.jws import JWSRegistry, extract_compact, validate_compact

from .verified import MAX_TOKEN_BYTES, NotVerified, quoted

FORBIDDEN = ("jwk", "jku", "x5c", "x5u", "crit", "b64", "zip")
"""Header parameters with which a token would bring its own key, or another meaning."""
MAX_HEADER_BYTES = 4096

KeyOf = Callable[[str | None, str], Awaitable[Key]]
"""The key for an id (``kid``) and an algorithm. Raises NotVerified."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A token whose signature is right."""

    header: dict[str, Any]
    claims: dict[str, Any]
    key: str
    """Thumbprint of the key."""


class _Registry(JWSRegistry):
    max_header_length = MAX_HEADER_BYTES
    max_payload_length = MAX_TOKEN_BYTES

    def get_alg(self, name: str) -> Any:
        """Allowed are those of this registry, whatever the library recommends."""
        if not self.allowed or name not in self.allowed:
            raise UnsupportedAlgorithmError(name)
        return self.algorithms[name]


async def open_token(token: bytes, algorithms: Collection[str], types: Collection[str | None], key_of: KeyOf) -> Opened:
    """Verify the signature. `types`: what ``typ`` may be, in lower case; None for a token without one.

    Raises NotVerified: ``malformed``, ``header``, ``algorithm``, ``key``, ``unavailable``, ``signature``.
    """
    if len(token) > MAX_TOKEN_BYTES:
        raise NotVerified("malformed", f"the token is longer than {MAX_TOKEN_BYTES} bytes")
    registry = _Registry(algorithms=algorithms, strict_check_header=False)
    try:
        signed = extract_compact(token, registry=registry)
        header = signed.headers()
    except (JoseError, ValueError, TypeError, AttributeError, RecursionError):
        raise NotVerified("malformed", "it is no signed token (JWS in compact form)") from None
    if any(not _is_canonical(part) for part in token.split(b".")):
        raise NotVerified("malformed", "its base64 has bits that mean nothing, so it is not what was issued")
    algorithm, kid = _checked(header, algorithms, types)
    key = await key_of(kid, algorithm)
    try:
        right = validate_compact(signed, key, registry=registry)
    except (JoseError, ValueError, TypeError):
        right = False
    if not right:
        raise NotVerified("signature", "the signature is not one of the issuer's key")
    try:
        claims = json.loads(signed.payload)
    except (ValueError, RecursionError):
        claims = None
    if not isinstance(claims, dict):
        raise NotVerified("malformed", "what is signed is no JSON object")
    return Opened(header, claims, key.thumbprint())


def _is_canonical(part: bytes) -> bool:
    """Whether no other text stands for the same bytes (RFC 4648 3.5): one token must not look like many."""
    try:
        return base64.urlsafe_b64encode(base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))).rstrip(b"=") == part
    except ValueError:
        return False


def signed_part(token: bytes) -> bytes:
    """What the signature is over: of two tokens with the same, one may have been made of the other without any key."""
    return token.rsplit(b".", 1)[0]


def _checked(header: Any, algorithms: Collection[str], types: Collection[str | None]) -> tuple[str, str | None]:
    """The algorithm and the key's id, from a header that may be anything."""
    if not isinstance(header, dict):
        raise NotVerified("malformed", "its header is no JSON object")
    algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ")
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        raise NotVerified("algorithm", f"algorithm {quoted(algorithm)} is not allowed")
    present = [name for name in FORBIDDEN if name in header]
    if present:
        raise NotVerified("header", f"its header has {', '.join(present)}, which no token may bring along")
    if kid is not None and not isinstance(kid, str):
        raise NotVerified("header", "its key id is no text")
    # RFC 7515 4.1.9: a media type, "application/" left out.
    name = kind.lower().removeprefix("application/") if isinstance(kind, str) else kind
    if name not in types:
        raise NotVerified("header", f"type {quoted(kind)} is not that of such a token")
    return algorithm, kid
