"""What a worker may put on record: sound frames with entries of flows that are its own, in their order.

A worker parses hostile bytes and is not trusted. Everything that comes out of its journal is checked here, on a copy: frames and
CRCs by ``ring.c``, then each entry is decoded as its kind and packed again, and must come out as the same bytes. So whatever
passes is what `Log` would have written itself, and every reader can read it. What can't be checked is whether it is true.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ._ring_cffi import ffi, lib
from .entry import (
    FORMAT_VERSION,
    Approval,
    Cancel,
    Captured,
    Decision,
    Entry,
    Fault,
    FlowClose,
    LogResumed,
    Opaque,
    Operation,
    ProbeFailed,
    Reply,
    Request,
    Session,
    Withdrawn,
)
from .packing import MAX_ENTRY_BYTES, NO_CRC, LogCorrupt, Store, frame, pack, tag_of, unpack_all

OF_A_FLOW = frozenset(
    (Session, Operation, Decision, Reply, Captured, Opaque, Withdrawn, Request, Approval, Cancel, ProbeFailed, Fault, FlowClose)
)
OF_NO_FLOW = frozenset((Cancel, ProbeFailed, Fault, LogResumed))
MAX_ENDED = 4096
"""Flows of a journal that ended, for which a late entry is still taken."""
SLICE = 256 * 1024
"""About how many bytes are checked at a time: a millisecond of the interpreter."""
ALL = 0xFFFFFFFF
"""Frames: as many as there are."""
_LARGE, _MORE = 2, 3


class NotAdmitted(Exception):
    """A worker wrote what no sound worker writes; says what."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Checked bytes of a journal."""

    frames: bytes
    """The entries as they stand in the log."""
    entries: list[Entry]
    used: int
    """Bytes of the journal that they took."""


class Flows:
    """The flows of one worker, with the last number of each."""

    def __init__(self, find: Callable[[int], int | None] = lambda _: None) -> None:
        """find: asked of a flow that was not given here: its last number, -1 for unknown, None when it is not this worker's."""
        self.open: dict[int, int] = {}
        self._ended: dict[int, None] = {}
        self._find = find

    @classmethod
    def of(cls, open_flows: dict[int, int], ended: Iterable[int]) -> Flows:
        """Those that another drain knew."""
        flows = cls()
        flows.open = dict(open_flows)
        flows._ended = dict.fromkeys(ended)
        return flows

    @property
    def ended(self) -> tuple[int, ...]:
        """Flows that have ended, of which a late entry may come; the oldest first."""
        return tuple(self._ended)

    def admit(self, entries: list[Entry]) -> dict[int, int]:
        """The flows' last numbers after these entries (0 for a flow that they end). Raises NotAdmitted. Changes nothing yet."""
        last: dict[int, int] = {}
        for entry in entries:
            flow, kind = entry.flow, type(entry)
            if entry.v != FORMAT_VERSION:
                raise NotAdmitted(f"an entry of format {entry.v}")
            if flow == 0:
                if kind not in OF_NO_FLOW or entry.seq:
                    raise NotAdmitted(f"a {tag_of(kind)} entry of no flow, with number {entry.seq}")
                continue
            if kind not in OF_A_FLOW:
                raise NotAdmitted(f"a {tag_of(kind)} entry")
            number = last.get(flow)
            if number is None:
                number = self._last(flow)
            if number == 0:
                if entry.seq or kind is FlowClose:
                    raise NotAdmitted(f"an entry of flow {flow}, which has ended, with number {entry.seq}")
                last[flow] = 0
            elif entry.seq != number + 1 and number > 0:
                raise NotAdmitted(f"entry {entry.seq} of flow {flow} after its entry {number}")
            else:
                last[flow] = 0 if kind is FlowClose or entry.seq == 0 else entry.seq
        return last

    def _last(self, flow: int) -> int:
        """The flow's last number; 0 when it has ended, -1 when nobody knows."""
        number = self.open.get(flow)
        if number is None and flow in self._ended:
            return 0
        if number is None:
            number = self._find(flow)
        if number is None:
            raise NotAdmitted(f"an entry of flow {flow}, which is not this worker's")
        return number

    def commit(self, last: dict[int, int]) -> None:
        """The admitted entries are in the log."""
        for flow, number in last.items():
            if number:
                self.open[flow] = number
            else:
                self.open.pop(flow, None)
                self._ended[flow] = None
        while len(self._ended) > MAX_ENDED:
            del self._ended[next(iter(self._ended))]


def check(
    data: bytes, position: int, journal: int, store: Store, max_frames: int = ALL, payload_above: int = MAX_ENTRY_BYTES
) -> Piece | int:
    """Check the frames at the start of `data`, which stood at `position` of the journal; one of large entries comes alone.

    What is too long for an entry, and an agent's words of more than `payload_above` bytes, go to `store`.
    Returns what was checked, or how many bytes are needed to check the first frame. Raises NotAdmitted when that is not sound,
    and whatever `store` raises.
    """
    found: Any = ffi.new("hg_checked *")
    log, array = ffi.new("char[]", len(data)), ffi.new("char[]", len(data))
    lib.hg_check(data, len(data), position, journal, max_frames, log, array, found)
    if found.frames:
        packed = _array_of(found.entries) + ffi.buffer(array, found.array_bytes)[:]
        try:
            entries = _sound(packed)
        except NotAdmitted:
            if found.frames == 1:
                raise
            # Take what is before the frame that is to blame.
            return check(data, position, journal, store, found.frames // 2, payload_above)
        if payload_above >= MAX_ENTRY_BYTES and not any(type(entry) is Captured for entry in entries):
            return Piece(ffi.buffer(log, found.log_bytes)[:], entries, found.used)
        return Piece(b"".join(_framed(entry, store, payload_above) for entry in entries), entries, found.used)
    if found.status == _MORE:
        return int(found.length)
    if found.status == _LARGE:
        packed = data[found.body : found.body + found.length]
        entries = _sound(packed)
        used = (found.body + found.length + 7) // 8 * 8
        return Piece(b"".join(_framed(entry, store, payload_above) for entry in entries), entries, used)
    raise NotAdmitted(f"no whole frame at byte {position}")


def _framed(entry: Entry, store: Store, payload_above: int) -> bytes:
    entry.crc = NO_CRC
    try:
        return frame(entry, store, payload_above)
    except ValueError as error:
        raise NotAdmitted(str(error)) from None


def _array_of(count: int) -> bytes:
    """How a msgpack array of so many values begins."""
    if count < 16:
        return bytes([0x90 | count])
    return b"\xdc" + count.to_bytes(2) if count < 1 << 16 else b"\xdd" + count.to_bytes(4)


def _sound(packed: bytes) -> list[Entry]:
    """The entries, if they are nothing else than we would have packed. Raises NotAdmitted."""
    try:
        entries = unpack_all(packed)
    except LogCorrupt as error:
        raise NotAdmitted(f"entries that can't be read: {error}") from None
    if pack(entries) != packed or not lib.hg_fits(packed, len(packed)):
        raise NotAdmitted("entries that are packed in another way than ours")
    return entries
