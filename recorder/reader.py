"""The log as others read it: from any entry on, also while it grows.

A reader takes no lock and needs no daemon. It sees an entry as soon as it is written, which is before it is durable: an append
that fails halfway is taken back, so in that instant a follower can see an entry that the log then doesn't keep.

Of entries that retention removed those come first that later ones need (`carried`), but for `poll`, which follows the log.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import msgspec

from .carried import carried
from .durable import read_segment, segment_names
from .entry import Entry, Unknown
from .frames import LENGTH_BYTES, frames
from .kinds import KINDS
from .packing import LogCorrupt, kind_of, tag_of, unpack
from .payloads import payload_path, read_payload
from .stored import Stored
from .wrapping import Decrypt

CHUNK_BYTES = 1 << 20
"""How much is read at a time; more than one frame at its longest."""

MAX_INDEX = 1 << 64
"""What msgpack's integers hold; no log gets there."""

Record = tuple[int, Entry | Unknown]
"""An entry with its index in the log."""


def _no_key(_: bytes) -> bytes | None:
    return None


class Reader:
    """Goes through the log of a folder, forwards, from entry `start`.

    Raises LogCorrupt where the log holds what no writer leaves: the message has the index. An incomplete entry at the very end
    is not corrupt: it is being written, or was torn and the next daemon will cut it.
    """

    def __init__(self, folder: Path, start: int = 0, decrypt: Decrypt | None = None) -> None:
        """The folder may be missing or empty: then there are no entries yet. decrypt: what opens encrypted payloads."""
        self._folder = folder
        self._decrypt = decrypt
        self.unopened: set[bytes] = set()
        """Hashes of encrypted payloads that were asked for and could not be opened."""
        self._start = start
        self._segment = -1
        """Index of the first entry of the segment that is being read; -1 before the first."""
        self._offset = 0
        self._index = 0

    @property
    def position(self) -> int:
        """Index of the entry that comes next."""
        return max(self._start, self._index)

    def poll(self) -> list[Record]:
        """The next entries, in order, as many as one read brings; empty when there are no more now. Doesn't wait."""
        return [(index, self._unpack(index, data)) for index, data in self._poll_raw()]

    def entries(self, kinds: Collection[type[Entry]] = KINDS) -> Iterator[Record]:
        """All entries that there are now, of these kinds only. Others are passed over by a look at their first bytes."""
        every = kinds is KINDS
        tags = frozenset(tag_of(kind).encode() for kind in kinds)
        for found in self._all_raw():
            for index, data in found:
                if every or kind_of(data) in tags:
                    yield index, self._unpack(index, data)

    def flow(self, number: int) -> Iterator[Record]:
        """All entries of one flow, from the reader's position on; give `start` the flow's number to skip what was before it.

        Others are passed over by a look at their bytes, without a check of theirs.
        """
        if number not in range(MAX_INDEX):
            return
        mark = b"\xa4flow" + msgspec.msgpack.encode(number) + b"\xa3seq"
        for found in self._all_raw():
            for index, data in found:
                if mark in data:
                    entry = self._unpack(index, data)
                    # The agent may send the mark as text: the field decides.
                    if entry.flow == number:
                        yield index, entry

    def payload(self, reference: Stored) -> bytes | None:
        """What has no place in an entry; None when it is not there any more, not what was stored, or there is no key for it."""
        payload = read_payload(self._folder, reference, self._decrypt or _no_key)
        if payload is None and reference.encrypted and payload_path(self._folder, reference).is_file():
            self.unopened.add(reference.file)
        return payload

    def _unpack(self, index: int, data: bytes) -> Entry | Unknown:
        try:
            return unpack(data)
        except LogCorrupt as error:
            raise LogCorrupt(f"entry {index}: {error}") from None

    def _all_raw(self) -> Iterator[list[tuple[int, bytes]]]:
        names = segment_names(self._folder)
        if self._segment < 0 and names and self._start < names[0]:
            yield [(one.index, one.data) for one in carried(self._folder) if self._start <= one.index < names[0]]
        while found := self._poll_raw():
            yield found

    def _poll_raw(self) -> list[tuple[int, bytes]]:
        """The next frames, from `start` on; whole chunks before it are passed over."""
        while True:
            # The order matters: if there is a next segment before we read, then this one is complete when we read.
            names = segment_names(self._folder)
            if self._segment < 0 and not self._find_segment(names):
                return []
            chunk = read_segment(self._folder, self._segment, self._offset, CHUNK_BYTES)
            following = min((name for name in names if name > self._segment), default=None)
            found = self._take(chunk)
            if found and found[-1][0] >= self._start:
                return [item for item in found if item[0] >= self._start]
            if found:
                continue
            if following is None:
                return []
            self._enter(following, len(chunk))

    def _find_segment(self, names: list[int]) -> bool:
        if not names:
            return False
        # Retention may have removed the first segments. Whether it did, with a record, is for `verify` to tell.
        self._segment = self._index = max((name for name in names if name <= self._start), default=names[0])
        return True

    def _take(self, chunk: bytes) -> list[tuple[int, bytes]]:
        found = []
        consumed = 0
        for start, end in frames(chunk):
            found.append((self._index, chunk[start:end]))
            self._index += 1
            consumed = end
        self._offset += consumed
        # Entries found before an empty one are still to be had: the next poll begins at it.
        if not found and chunk[:LENGTH_BYTES] == bytes(LENGTH_BYTES):
            raise LogCorrupt(f"entry {self._index}: an entry of no bytes at {self._offset} of segment {self._segment}")
        return found

    def _enter(self, following: int, left: int) -> None:
        if left:
            raise LogCorrupt(f"entry {self._index}: segment {self._segment} ends within it, {left} bytes are left")
        if following != self._index:
            raise LogCorrupt(f"entry {self._index}: segment {self._segment} ends before it, the next begins with {following}")
        self._segment, self._offset = following, 0
