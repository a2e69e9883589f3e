"""Remembers tokens that may be used once."""

from __future__ import annotations

import hashlib
import heapq

from .verified import NotVerified, Verified

MAX_SEEN = 100_000
"""Tokens of about 100 bytes each; when so many are remembered, and none has expired, further ones are refused."""


def token_mark(issuer: str, token_id: str) -> str:
    """What tells a token from all others of all issuers. Raises NotVerified (``replayed``) for one that has no id."""
    if not token_id:
        raise NotVerified("replayed", "it has no id (jti), so it can't be seen whether it was used before")
    return hashlib.sha256(f"{issuer}\0{token_id}".encode()).hexdigest()


class Seen:
    """The tokens that were used and have not expired, and by whom."""

    def __init__(self, limit: int = MAX_SEEN) -> None:
        self._limit = limit
        self._holders: dict[str, str] = {}
        self._ends: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._holders)

    def use(self, verified: Verified, holder: str, now: float) -> None:
        """`holder` uses it, be it again; nobody else can from now on. Raises NotVerified (``replayed``)."""
        while self._ends and self._ends[0][0] <= now:
            del self._holders[heapq.heappop(self._ends)[1]]
        mark = token_mark(verified.issuer, verified.token_id)
        if mark in self._holders:
            if self._holders[mark] != holder:
                raise NotVerified("replayed", "it was used before, by another")
            return
        if len(self._holders) >= self._limit:
            raise NotVerified("replayed", "too many tokens are remembered to tell whether it was used before")
        self._holders[mark] = holder
        heapq.heappush(self._ends, (verified.expires_at, mark))
