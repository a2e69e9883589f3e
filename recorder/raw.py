"""Entries as bytes, exactly as they stand in the segments.

What the tree hashes and what a verifier checks is this, so nothing here decodes anything. A frame is an entry behind its length;
frames in a row are an entry bundle of C2SP tlog-tiles, or a piece of a segment.
"""

from __future__ import annotations

from pathlib import Path

from .durable import read_segment, segment_names
from .frames import LENGTH_BYTES, frames
from .packing import LogCorrupt
from .tree import leaf_hashes_of

CHUNK_BYTES = 1 << 20
"""How much is read at a time; at least one frame at its longest (65,537 bytes)."""


class Cursor:
    """Goes forwards through the entries, from `start` on; `position` is the index of the next one."""

    def __init__(self, folder: Path, start: int = 0, chunk_bytes: int = CHUNK_BYTES) -> None:
        """Raises LogCorrupt when the log does not hold the entries up to `start`."""
        self._folder = folder
        self._chunk_bytes = chunk_bytes
        self._offset = 0
        names = [name for name in segment_names(folder) if name <= start]
        if not names:
            raise LogCorrupt(f"entry {start}: no segment holds it")
        self._segment = self.position = names[-1]
        while self.position < start:
            self._skip(start)

    def _skip(self, start: int) -> None:
        chunk = read_segment(self._folder, self._segment, self._offset, self._chunk_bytes)
        found = [end for _, (_, end) in zip(range(start - self.position), frames(chunk), strict=False)]
        if not found:
            raise LogCorrupt(f"entry {self.position}: the log ends before it, expected entries up to {start}")
        self._offset += found[-1]
        self.position += len(found)

    def read(self, until: int) -> list[bytes]:
        """The frames of the next entries: what one read of the disk brings, and none from index `until` on.

        Empty when there are no more (an incomplete one at the very end is not there yet). Raises LogCorrupt where a segment ends
        within an entry, or the next one begins elsewhere.
        """
        while self.position < until:
            # The order matters: if there is a next segment before we read, then this one is complete when we read.
            following = min((name for name in segment_names(self._folder) if name > self._segment), default=None)
            chunk = read_segment(self._folder, self._segment, self._offset, self._chunk_bytes)
            found = _split(chunk, until - self.position)
            if found:
                self._offset += sum(map(len, found))
                self.position += len(found)
                return found
            if following is None:
                if chunk[:LENGTH_BYTES] == bytes(LENGTH_BYTES):
                    raise LogCorrupt(f"entry {self.position}: an entry of no bytes at {self._offset} of segment {self._segment}")
                return []
            if chunk or following != self.position:
                raise LogCorrupt(
                    f"entry {self.position}: segment {self._segment} ends within or before it, the next begins with {following}"
                )
            self._segment, self._offset = following, 0
        return []

    def rest(self) -> bytes:
        """The bytes behind the last whole entry, as far as one read goes."""
        return read_segment(self._folder, self._segment, self._offset, self._chunk_bytes)


def _split(chunk: bytes, count: int) -> list[bytes]:
    """Up to `count` whole frames at the start of the chunk."""
    found: list[bytes] = []
    size, start = len(chunk), 0
    # As `frames`, written out: a generator would double what finding an entry costs.
    for _ in range(count):
        body = start + LENGTH_BYTES
        if body >= size:
            break
        end = body + (chunk[start] << 8 | chunk[start + 1])
        if end > size or end == body:
            break
        found.append(chunk[start:end])
        start = end
    return found


def leaf_hashes(found: list[bytes]) -> list[bytes]:
    """The leaf hash of each frame's entry."""
    return leaf_hashes_of([frame[LENGTH_BYTES:] for frame in found])
