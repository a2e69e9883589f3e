"""Entries of the log as JSON Lines, one entry a line.

A line is the entry as it stands in the log with its position (``index``) before it; nothing is left out or renamed. Bytes are
base64 (RFC 4648 §4). Fields that were too long for the entry are whole again, as far as their payloads are still there; ``crc``
is that of the entry as it is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from ..entry import Unknown
from ..packing import Fetch, restore
from ..reader import Record

_encode = msgspec.json.Encoder().encode


def lines(records: Iterable[Record], fetch: Fetch) -> Iterator[bytes]:
    """A line of JSON for each entry, newline included."""
    for index, entry in records:
        yield line(index, entry.fields if isinstance(entry, Unknown) else restore(entry, fetch))


def line(index: int, entry: object) -> bytes:
    """One entry (or the fields of an unknown one)."""
    return b'{"index":%d,%s\n' % (index, _encode(entry)[1:])
