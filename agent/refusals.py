"""Who was refused recordings, on record: the first times alone, then counted, so that nobody fills the log by asking again."""

from __future__ import annotations

import asyncio

import msgspec

from ..recorder import entry
from .records import Records

ALONE = 10
"""Refusals of one user's within a minute that have an entry each; those after them share one at its end."""
MINUTE_S = 60.0
MAX_USERS = 1024
"""Followed at once; of further ones everything shares the entry of nobody."""

_Key = tuple[str, int, str]
_NOBODY: _Key = ("", -1, "")


class _Minute:
    """One user's refusals since the first of them."""

    __slots__ = ("count", "last")

    def __init__(self) -> None:
        self.count = 0
        self.last: entry.Replayed | None = None
        """The last of those without an entry of their own."""


class Refusals:
    """Of all users."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._minutes: dict[_Key, _Minute] = {}

    def note(self, refused: entry.Replayed) -> None:
        """Put a refusal on record, now or with others within a minute; it is one whether or not that can be written."""
        key = (refused.user, refused.uid, refused.provider)
        if key not in self._minutes and len(self._minutes) >= MAX_USERS:
            key, refused = _NOBODY, entry.Replayed(user="", refused=refused.refused)
        minute = self._minutes.get(key)
        if minute is None:
            minute = self._minutes[key] = _Minute()
            asyncio.get_running_loop().call_later(MINUTE_S, self._end, key)
        minute.count += 1
        if minute.count <= ALONE:
            self._records.note(0, msgspec.structs.replace(refused, count=1))
        else:
            minute.last = refused

    def _end(self, key: _Key) -> None:
        # What the daemon's own end cuts short is lost: a minute's count, behind entries that say who asks.
        minute = self._minutes.pop(key)
        if minute.last is not None:
            self._records.note(0, msgspec.structs.replace(minute.last, count=minute.count - ALONE))
