"""Signatures of web hooks, as Standard Webhooks has them (github.com/standard-webhooks/standard-webhooks, spec)."""

from __future__ import annotations

import base64
import binascii
import hmac

PREFIX = "whsec_"
MIN_BYTES, MAX_BYTES = 24, 64
"""Of a secret."""


class BadSecret(ValueError):
    """The text is no secret; says why."""


def secret_of(text: str) -> bytes:
    """The bytes of ``whsec_<base64>``. Raises BadSecret."""
    text = text.strip()
    if not text.startswith(PREFIX):
        raise BadSecret(f"it does not begin with {PREFIX}")
    try:
        secret = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise BadSecret(f"what follows {PREFIX} is not base64") from None
    if not MIN_BYTES <= len(secret) <= MAX_BYTES:
        raise BadSecret(f"it has {len(secret)} bytes instead of {MIN_BYTES} to {MAX_BYTES}")
    return secret


def headers(secret: bytes | None, identifier: str, timestamp_s: int, body: bytes) -> tuple[tuple[str, str], ...]:
    """The headers of one attempt: id and body stay the same for all attempts, the time does not. Unsigned without a secret."""
    found = [("webhook-id", identifier), ("webhook-timestamp", str(timestamp_s))]
    if secret is not None:
        signature = hmac.digest(secret, f"{identifier}.{timestamp_s}.".encode() + body, "sha256")
        found.append(("webhook-signature", f"v1,{base64.b64encode(signature).decode()}"))
    return tuple(found)
