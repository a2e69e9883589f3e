"""What retention leaves of removed entries: those without which the ones after them can't be understood.

    carried     in the log's folder: each entry as it stood in its segment, behind its index (8 bytes, big-endian)

These are the openings of flows that were still open, with their sessions, the policy that was in force and the start of the
daemon that ran. They are the removed entries themselves, so the tree has their hashes; and the record of the removal has the
hash of the file, so that none of them can be taken away. The file is replaced before the first segment goes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from .entry import DaemonStart, FlowClose, FlowOpen, PolicyLoad, Session
from .findings import Fault
from .frames import LENGTH_BYTES
from .inheritance import is_successor
from .packing import LogCorrupt, kind_of, tag_of, unpack
from .tiles import WIDTH, Tile
from .tree import leaf_hash
from .treefiles import read_file, read_tile

CARRIED = "carried"
INDEX_BYTES = 8
_KINDS = frozenset(tag_of(kind).encode() for kind in (DaemonStart, FlowClose, FlowOpen, PolicyLoad, Session))


@dataclass(frozen=True, slots=True)
class Carried:
    """One entry that was removed, and is needed."""

    index: int
    frame: bytes

    @property
    def data(self) -> bytes:
        return self.frame[LENGTH_BYTES:]


class Needed:
    """Which of the entries that went by later ones need."""

    def __init__(self, before: Iterable[Carried] = ()) -> None:
        """`before`: what an earlier removal carried over."""
        self._start: Carried | None = None
        self._policy: Carried | None = None
        self._flows: dict[int, list[Carried]] = {}
        """Of each flow that is open: its opening, its newest session."""
        self._past: dict[int, list[Carried]] = {}
        """The same of the daemon before: what its workers had written when it was killed comes after the next one's start."""
        for one in before:
            self.take(one.index, one.frame)

    def take(self, index: int, frame: bytes) -> None:
        """The next entry. Raises LogCorrupt."""
        if kind_of(frame[LENGTH_BYTES:]) not in _KINDS:
            return
        one = Carried(index, frame)
        match unpack(one.data):
            case DaemonStart() as start if is_successor(start):
                self._start = one
            case DaemonStart():
                self._start, self._past, self._flows = one, self._flows, {}
            case PolicyLoad(accepted=True):
                self._policy = one
            case FlowOpen(flow=flow):
                self._flows[flow] = [one]
            case Session(flow=flow):
                for flows in (self._flows, self._past):
                    if flow in flows:
                        flows[flow][1:] = [one]
            case FlowClose(flow=flow):
                self._flows.pop(flow, None)
                self._past.pop(flow, None)

    def all(self) -> tuple[Carried, ...]:
        """In the order of the log."""
        found = [one for one in (self._start, self._policy) if one is not None]
        for flow in (*self._past.values(), *self._flows.values()):
            found += flow
        return tuple(sorted(found, key=lambda one: one.index))


def to_bytes(found: Iterable[Carried]) -> bytes:
    """The file."""
    return b"".join(one.index.to_bytes(INDEX_BYTES) + one.frame for one in found)


def carried(folder: Path) -> tuple[Carried, ...]:
    """What there is; nothing before the first removal. Raises LogCorrupt."""
    return _parse(read_file(folder, CARRIED) or b"")


def _parse(data: bytes) -> tuple[Carried, ...]:
    found: list[Carried] = []
    at = 0
    while at < len(data):
        body = at + INDEX_BYTES + LENGTH_BYTES
        end = body + int.from_bytes(data[at + INDEX_BYTES : body])
        if not body < end <= len(data):
            raise LogCorrupt(f"{CARRIED} ends within an entry, at byte {at}")
        found.append(Carried(int.from_bytes(data[at : at + INDEX_BYTES]), data[at + INDEX_BYTES : end]))
        at = end
    return tuple(found)


def check_carried(folder: Path, recorded: Collection[bytes], fault: Fault) -> tuple[Carried, ...]:
    """What was carried over, if it is what was sealed.

    recorded: SHA-256 of the file by the records of those removals that may have been carried out last; none when they are of an
    earlier version, or were not read.
    """
    if not any(recorded):
        return ()
    data = read_file(folder, CARRIED)
    if data is None:
        if b"" not in recorded:
            fault(CARRIED, "it is not there")
        return ()
    found = sha256(data).digest()
    if found not in recorded:
        fault(CARRIED, "its content is not what the record of the removal says", _hexes(recorded), found.hex())
        return ()
    entries = _parse(data)
    for one in entries:
        hashes = read_tile(folder, Tile(0, one.index // WIDTH, one.index % WIDTH + 1))
        if hashes is None or hashes[-1] != leaf_hash(one.data):
            sealed = "" if hashes is None else hashes[-1].hex()
            fault(f"entry {one.index}", f"what {CARRIED} has of it is not what was sealed", sealed, leaf_hash(one.data).hex())
    return entries


def _hexes(hashes: Collection[bytes]) -> str:
    return " or ".join(sorted(one.hex() for one in hashes if one))
