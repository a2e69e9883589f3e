"""The log as its owner writes it: entries numbered, stamped, in order within their flow."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from ._ring_cffi import ffi, lib
from .durable import SEGMENT_BYTES, LogUnavailable, LogWriter, Syscalls
from .entry import Captured, Entry, FlowClose, FlowOpen, FlowRefused, LogBegin, LogCut, LogResumed
from .packing import MAX_ENTRY_BYTES, frame, pack, stamp
from .payloads import PayloadStore
from .stored import Stored
from .wrapping import Encrypt

Clock = Callable[[], tuple[int, int]]
"""Wall time since 1970 and monotonic time, both nanoseconds."""

_ENDS = (FlowClose, FlowRefused)
"""Entries after which a flow has no more in its order."""
_ROOM: Final = 64 * 1024
"""Appends up to about this size are stamped natively."""
_frames: Final[Any] = lib.hg_frames
_buffer: Final[Any] = ffi.buffer


class Log:
    """Open for writing; one process at a time (`LogBusy`). Any thread may append, one at a time gets to."""

    def __init__(
        self,
        folder: Path,
        clock: Clock,
        segment_bytes: int = SEGMENT_BYTES,
        syscalls: Syscalls | None = None,
        encrypt: Encrypt | None = None,
        payload_above: int = MAX_ENTRY_BYTES,
    ) -> None:
        """Open the log in `folder` or make a new one; a torn end is cut, and the cut put on record.

        encrypt: payloads, to those who may read them. payload_above: bytes above which an agent's own words are a payload.
        Raises LogBusy, LogUnavailable.
        """
        self.folder = folder
        self.clock = clock
        self._lock = threading.RLock()
        """Held for each append. Not for a sync, so that appends go on meanwhile."""
        self._sequences: dict[int, int] = {}
        """Last sequence number of each open flow."""
        self._failures = 0
        self._first_failure = ("", 0)
        self.payload_above = payload_above
        self._stamped: Any = ffi.new("char[]", _ROOM)
        self._writer = LogWriter(folder, segment_bytes, syscalls, encrypt)
        try:
            self._begin()
        except LogUnavailable:
            self._writer.abandon()
            raise

    def _begin(self) -> None:
        if self._writer.position == 0:
            self.append(0, LogBegin())
        if cut := self._writer.cut:
            self.append(0, LogCut(cut.segment, cut.offset, cut.payload.length, cut.payload.sha256))

    @property
    def position(self) -> int:
        """How many entries the log holds; the index of the next one."""
        return self._writer.position

    @property
    def synced_position(self) -> int:
        """How many entries survive a power cut; in strict mode forward nothing whose append returned more than this."""
        return self._writer.synced_position

    @property
    def available(self) -> bool:
        """False from a failed append or sync until an append (or sync) succeeds."""
        return not self._failures and self._writer.available

    @property
    def open_flows(self) -> int:
        return len(self._sequences)

    def open_flow(self, entry: FlowOpen) -> int:
        """Put a flow on record (`FlowOpen`, or `FlowRefused`, which ends it as well) and return its number.

        The number is the entry's index in the log: unique on this host for good, and where a reader begins.
        Raises LogUnavailable.
        """
        with self._lock:
            self._resume()
            flow = self._writer.position
            self._sequences[flow] = 0
            try:
                self.append(flow, entry)
            except LogUnavailable:
                del self._sequences[flow]
                raise
            return flow

    def hand_over(self, flow: int) -> int:
        """Somebody else numbers the flow's entries from now on. Returns the number of its last one."""
        with self._lock:
            return self._sequences.pop(flow)

    def take_back(self, flow: int, seq: int) -> None:
        """The flow's entries are numbered here again, after `seq`."""
        with self._lock:
            self._sequences[flow] = seq

    def append(self, flow: int, *entries: Entry) -> int:
        """Append entries of one flow (0 for none) with one write: all of them, or LogUnavailable and none.

        Returns the position to wait for in `synced_position`. A `FlowClose` ends the flow; entries that come later still (an
        approval), or from another than numbers them (`hand_over`), belong to it without a place in its order. The entries are the
        log's from here on.
        """
        with self._lock:
            if self._failures:
                self._resume()
            wall_ns, mono_ns = self.clock()
            sequence = self._sequences.get(flow)
            step = sequence is not None
            number = sequence or 0
            try:
                # The native part knows nothing of words that are to be payloads.
                size = -1
                if self.payload_above >= MAX_ENTRY_BYTES and not any(type(entry) is Captured for entry in entries):
                    array = pack(entries)
                    size = _frames(array, len(array), flow, number, step, wall_ns, mono_ns, self._stamped, _ROOM)
                if size >= 0:
                    frames = _buffer(self._stamped, size)[:]
                else:
                    frames = self._framed(entries, wall_ns, mono_ns, flow, number, step)
                position = self._writer.append(frames, len(entries))
            except LogUnavailable as error:
                self._count_failure(error, wall_ns)
                raise
            if step:
                self._sequences[flow] = number + len(entries)
                if isinstance(entries[-1], _ENDS):
                    del self._sequences[flow]
            return position

    def append_frames(self, frames: bytes, count: int) -> int:
        """Append entries that are stamped and framed already. Returns the position after them; LogUnavailable and none."""
        with self._lock:
            self._resume()
            return self._writer.append(frames, count)

    def sync(self) -> int:
        """Make what was appended durable; may run in another thread while appends go on. Returns `synced_position`.

        ``strict``: each operation waits until its position is synced, and one sync serves all that wait (group commit).
        ``batch``: the owner calls this at most n ms after an append. Raises LogUnavailable.
        """
        return self._writer.sync()

    def store(self, payload: bytes) -> Stored:
        """Keep a payload beside the log. Raises LogUnavailable."""
        with self._lock:
            return self._writer.store(payload)

    @property
    def payloads(self) -> PayloadStore:
        """Where payloads are, for those who remove old ones."""
        return self._writer.payloads

    def close(self) -> None:
        """Sync and close. Raises LogUnavailable when the sync fails; the log is closed all the same."""
        self._writer.close()

    def _framed(self, entries: tuple[Entry, ...], wall_ns: int, mono_ns: int, flow: int, number: int, step: bool) -> bytes:
        """What is too long for the native part, was stamped before, or may hold words that are to be payloads."""
        parts = []
        for entry in entries:
            number += step
            stamp(entry, wall_ns, mono_ns, flow, number)
            parts.append(frame(entry, self._writer.store, self.payload_above))
        return b"".join(parts)

    def _count_failure(self, error: LogUnavailable, wall_ns: int) -> None:
        if not self._failures:
            self._first_failure = (str(error), wall_ns)
        self._failures += 1

    def _resume(self) -> None:
        """After failed appends, the first thing on record is that they failed."""
        if not self._failures:
            return
        failures, (error, since_ns) = self._failures, self._first_failure
        self._failures = 0
        try:
            self.append(0, LogResumed(failures, error, since_ns))
        except LogUnavailable:
            self._failures, self._first_failure = failures + 1, (error, since_ns)
            raise
