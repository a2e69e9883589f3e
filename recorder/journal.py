"""The worker's end of a journal: the way into the log for a process that may not hold the log's files.

What `Journal.append` returned for is in a file that outlives this process and the log writer's: `drain` moves it into the log,
`leftover` does so after a crash of both. The layout of the file, and the order of stores that makes it safe, are in ``ring.c``.
"""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Sequence
from typing import Any, Final, Protocol

from ._ring_cffi import ffi, lib
from .durable import LogUnavailable
from .entry import Entry, FlowClose, LogResumed
from .log import Clock
from .packing import pack, stamp

PATIENCE_MS: Final = 1000
"""How long an append waits for room before it gives up: a log writer that lives makes room within its interval."""
_NONE: Final = -1
"""Last number of a flow whose entries get none."""
_FULL: Final = -1
_LARGE: Final = -2
_STAMPED: Final = -3
_CLOSED: Final = -5
_TOO_LONG: Final = -6
_append: Final[Any] = lib.hg_append


class Appender(Protocol):
    """Takes entries before what they tell of goes on: a `Log`, or a `Journal`."""

    def append(self, flow: int, *entries: Entry) -> int:
        """Append entries of one flow: all of them, or LogUnavailable and none. Returns the position to wait for."""
        ...


class Journal:
    """Appends to one journal; the only one who does. Not for use from several threads."""

    def __init__(self, fds: Sequence[int], clock: Clock, patience_ms: int = PATIENCE_MS) -> None:
        """Take over the descriptors that the log writer gave (`drain.Handle.fds`). Raises OSError when they can't be mapped."""
        ring_fd, control_fd, doorbell, synced_fd = fds
        self._clock = clock
        self._patience_ms = patience_ms
        self._sequences: dict[int, int] = {}
        """Last sequence number of each open flow."""
        self._failures = 0
        self._first_failure = ("", 0)
        self._stuck_at = -1
        """How far the log writer was when an append last waited in vain: until it moves none waits again."""
        self._doorbell = doorbell
        self.synced_fd = synced_fd
        """Readable when `synced_position` moved, or `available` changed; see `take_synced`."""
        self._fds = tuple(fds)
        self._ring: Any = lib.hg_open(ring_fd, control_fd, doorbell)
        if self._ring == ffi.NULL:
            raise OSError(ffi.errno, f"map the journal: {os.strerror(ffi.errno)}")

    @property
    def position(self) -> int:
        """Bytes appended since the journal began."""
        return int(lib.hg_written(self._ring))

    @property
    def synced_position(self) -> int:
        """What was appended before this is in the log, and survives a power cut."""
        return int(lib.hg_synced(self._ring))

    @property
    def available(self) -> bool:
        """False while the log writer can't write the log, and for good once it has ended this journal."""
        return not lib.hg_state(self._ring)

    @property
    def failure(self) -> str:
        """Why the log can't be written; empty while it can."""
        return "" if self.available else ffi.string(lib.hg_reason(self._ring)).decode("utf-8", "replace")

    def begin_flow(self, flow: int, seq: int = 1) -> None:
        """A flow was given to this journal; its entry with number `seq` is in the log."""
        self._sequences[flow] = seq

    def append(self, flow: int, *entries: Entry) -> int:
        """Append entries of one flow (0 for none): all of them, or LogUnavailable and none.

        Makes no system call but for room, and to wake a log writer that sleeps.

        Returns the position to wait for in `synced_position`. For the rest it is as `Log.append`.
        """
        if self._failures:
            self._resume()
        number = self._sequences.get(flow, _NONE)
        array = pack(entries)
        position: int = _append(self._ring, array, len(array), flow, number)
        if position < 0:
            position = self._insist(position, array, entries, flow, number)
        if number >= 0:
            self._sequences[flow] = number + len(entries)
            if type(entries[-1]) is FlowClose:
                del self._sequences[flow]
        return position

    def request_sync(self) -> None:
        """Have the log writer take what was appended and sync it now, not at its interval."""
        # A full pipe has woken it already; one without a reader has nobody to wake.
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(self._doorbell, b"!")

    def take_synced(self) -> int:
        """Make `synced_fd` unreadable until something moves again. Returns `synced_position`."""
        with contextlib.suppress(BlockingIOError):
            while len(os.read(self.synced_fd, 4096)) == 4096:
                pass
        return self.synced_position

    def close(self) -> None:
        """Let go of the journal. What was appended is the log writer's."""
        lib.hg_close(self._ring)
        for descriptor in self._fds:
            os.close(descriptor)

    # Below: what happens rarely.

    def _insist(self, code: int, array: bytes, entries: tuple[Entry, ...], flow: int, number: int) -> int:
        """The append did not go through at once: wait for room, or send the entries whole. Returns the position."""
        wall_ns, mono_ns = self._clock()
        try:
            return self._insisted(code, array, entries, flow, number, wall_ns, mono_ns)
        except LogUnavailable as error:
            if not self._failures:
                self._first_failure = (str(error), wall_ns)
            self._failures += 1
            raise

    def _insisted(
        self, code: int, array: bytes, entries: tuple[Entry, ...], flow: int, number: int, wall_ns: int, mono_ns: int
    ) -> int:
        large = False
        for _ in range(self._patience_ms + 1):
            # A full ring is found before an entry is: only once there is room does it turn out to be too long, or stamped.
            if not large and code in (_LARGE, _STAMPED, _TOO_LONG):
                large = True
                for step, entry in enumerate(entries, 1):
                    stamp(entry, wall_ns, mono_ns, flow, number + step if number >= 0 else 0)
                array = pack(entries)
                code = int(lib.hg_append_large(self._ring, array, len(array), len(entries)))
            if code != _FULL:
                break
            if lib.hg_read(self._ring) == self._stuck_at:
                raise LogUnavailable("the journal is full, since the log writer does not take anything out of it")
            self.request_sync()
            select.poll().poll(1)
            if large:
                code = int(lib.hg_append_large(self._ring, array, len(array), len(entries)))
            else:
                code = int(_append(self._ring, array, len(array), flow, number))
        if not large and code in (_LARGE, _STAMPED, _TOO_LONG):
            code = _FULL
        if code >= 0:
            return code
        if code == _CLOSED:
            raise LogUnavailable(self.failure)
        if code == _FULL:
            self._stuck_at = int(lib.hg_read(self._ring))
            raise LogUnavailable(f"the journal is full: the log writer made no room for {self._patience_ms} ms")
        if code == _TOO_LONG:
            raise LogUnavailable(f"{len(array)} bytes in one append are more than this journal takes")
        raise ValueError("the entries are none")

    def _resume(self) -> None:
        """After failed appends, the first thing on record is that they failed."""
        failures, (error, since_ns) = self._failures, self._first_failure
        self._failures = 0
        try:
            self.append(0, LogResumed(failures, error, since_ns))
        except LogUnavailable:
            self._failures, self._first_failure = failures + 1, (error, since_ns)
            raise
