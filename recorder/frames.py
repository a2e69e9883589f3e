"""Entries in a row of bytes, each behind its length.

C2SP tlog-tiles, Log Entries: "Entry bundles are sequences of big-endian uint16 length-prefixed log entries."
"""

from __future__ import annotations

from collections.abc import Iterator

from .packing import is_whole

LENGTH_BYTES = 2


def frames(data: bytes, offset: int = 0) -> Iterator[tuple[int, int]]:
    """Where each complete frame's entry begins and ends, in order; ends before the first frame that is incomplete or empty."""
    size = len(data)
    start = offset + LENGTH_BYTES
    while start <= size:
        end = start + (data[start - 2] << 8 | data[start - 1])
        if end > size or end == start:
            return
        yield start, end
        start = end + LENGTH_BYTES


def whole_frames(data: bytes) -> tuple[int, int]:
    """How many bytes at the start of `data` are whole entries with right CRCs, and how many entries that is."""
    kept, count = 0, 0
    for start, end in frames(data):
        if not is_whole(data[start:end]):
            break
        kept, count = end, count + 1
    return kept, count
