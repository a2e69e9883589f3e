"""Tokens that an operator has revoked, on disk until they expire: the platform may hold on to them."""

from __future__ import annotations

from pathlib import Path

import msgspec

from .. import wholefile
from ..failures import Failure


class Revoked:
    """By the SHA-256 of the token, to when it expires by itself (seconds since 1970)."""

    def __init__(self, place: Path) -> None:
        """Raises Failure for a file that can't be read: whom it names must not come back by that."""
        self._place = place
        try:
            self._until = msgspec.json.decode(place.read_bytes(), type=dict[str, float]) if place.exists() else {}
        except (OSError, msgspec.MsgspecError) as error:
            raise Failure(f"the revoked tokens {place}: {error}; remove the file to let them count again") from None

    def __contains__(self, digest: str) -> bool:
        return digest in self._until

    def add(self, digests: dict[str, float], now: float) -> None:
        """These count no more, now or after a crash. Raises OSError, with nothing changed."""
        until = {digest: at for digest, at in {**self._until, **digests}.items() if at > now}
        wholefile.write(self._place, msgspec.json.encode(until))
        self._until = until
