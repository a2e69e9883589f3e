"""The log writer's end of the journals: what workers published goes into the log, unchanged.

For each journal, in this order: copy from the ring, check (`admission`), append to the log with one write, mark how far it is
taken (`ringfile`), give the room back to the worker. Then sync the log, and tell workers how far that is. A crash between any
two of these is put right by `leftover` at the next start.

A drain may leave its journals to another (`bequeath`), with their workers at work: what these publish meanwhile stays in the
rings. Until the other has them they are what a crash would leave.

When the log can't be written, workers are told and refuse what comes. What they had published by then stays in the journal and is
tried again until it is in the log: its operations may have been released.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Callable, Iterable

from .admission import ALL, SLICE, NotAdmitted, check
from .durable import LogUnavailable
from .entry import FlowClose, FlowOpen, JournalEnd, JournalOpen
from .inheritance import LivingJournal
from .leftover import take_leftovers
from .log import Log
from .opened import ENDED, FAILED, GO, Handle, OpenJournal
from .ringfile import PAGE, ControlPage, RingFile

RING_BYTES = 32 * 1024 * 1024
"""One append is at most half of it: room for the longest message that PostgreSQL's limits let through, with its parameters."""
TURNS = 5
"""Journals are looked at so many times in a batch window."""
ASLEEP_S = 1.0
"""When nothing is to be done a worker's next append wakes the drain; it looks by itself so often, should one not ring."""
MAX_REJECTED = 4096


class Drain:
    """Takes the journals of one log's workers into it. `run` is for a thread of its own; the rest may be called from any."""

    def __init__(
        self,
        log: Log,
        *,
        strict: bool = False,
        batch_s: float = 0.05,
        on_failure: Callable[[int, str], None] = lambda *_: None,
        living: Iterable[LivingJournal] = (),
    ) -> None:
        """Take what an earlier run left, first of all. Raises JournalBusy, LogUnavailable, OSError.

        living: journals that another drain bequeathed, whose workers live.
        on_failure: told of a journal that was ended for what its worker wrote; called in the thread that found out.
        """
        self.failures: dict[int, str] = {}
        """Journals that were ended for what their workers wrote."""
        self._log = log
        self._strict = strict
        self._interval_s = batch_s / TURNS
        self._window_ns = int(batch_s * (TURNS - 1) / TURNS * 1e9)
        self._on_failure = on_failure
        self._lock = threading.RLock()
        """Held for what is below, not while the disk syncs."""
        self._open: dict[int, OpenJournal] = {}
        self._done: list[tuple[int, RingFile]] = []
        """Journals at their end, by the position of the log that must be synced before their files go."""
        self._doorbells: set[int] = set()
        self._append_failure = ""
        self._sync_failure = ""
        self._stopping = False
        self._dirty_since = 0
        """Monotonic time since when there is something to sync; 0 when there is not."""
        inherited = {journal.number: journal for journal in living}
        take_leftovers(log, inherited)
        self._poll = select.epoll()
        self._wake_fd, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll.register(self._wake_fd, select.EPOLLIN)
        for number, journal in inherited.items():
            self._keep(number, OpenJournal.left(log.folder, journal))

    @property
    def failure(self) -> str:
        """Why the log can't be written or synced; empty while it can."""
        return self._append_failure or self._sync_failure

    @property
    def behind(self) -> int:
        """Bytes that workers have written and that are not in the log yet."""
        with self._lock:
            lags = (min(max(0, one.control.published - one.read), one.size) for one in self._open.values())
            return sum(lags)

    def open_journal(self, worker: str, size: int = RING_BYTES) -> Handle:
        """Make a journal of `size` bytes (a power of two) for a new worker. Raises LogUnavailable."""
        with self._lock:
            number = self._log.append(0, JournalOpen(worker, size)) - 1
            try:
                file = RingFile.create(self._log.folder, number, size)
                control = ControlPage()
                for_worker = file.for_worker()
            except OSError as error:
                self._log.append(0, JournalEnd(number, f"it could not be made: {error}"))
                raise LogUnavailable(f"make a journal: {error}") from error
            doorbell, doorbell_worker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            synced_worker, synced = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            self._keep(number, OpenJournal(file, size, control, doorbell, synced))
            return Handle(number, (for_worker, control.for_worker(), doorbell_worker, synced_worker))

    def _keep(self, number: int, journal: OpenJournal) -> None:
        self._open[number] = journal
        self._poll.register(journal.doorbell, select.EPOLLIN)
        self._doorbells.add(journal.doorbell)
        # Its worker does not know that the drain sleeps, if it does.
        self._nudge()

    def bequeath(self) -> list[LivingJournal]:
        """What another drain needs to go on with the journals. After `run` has returned; nothing may be called any more.

        Their descriptors (`LivingJournal.descriptors`) belong to whoever takes over from here on.
        """
        return [journal.living(number) for number, journal in self._open.items()]

    def open_flow(self, number: int, entry: FlowOpen) -> int:
        """Put a flow on record whose later entries come through the journal, and return its number.

        Raises LogUnavailable, and KeyError when there is no such journal (any more).
        """
        with self._lock:
            journal = self._open[number]
            entry.journal = number
            flow = self._log.open_flow(entry)
            journal.flows.open[flow] = self._log.hand_over(flow)
            return flow

    def end_journal(self, number: int, reason: str, fault: str = "") -> None:
        """The worker has ended: take what it left, end its open flows for `reason`, then the journal.

        While the log can't be written, `run` goes on trying. A journal that has ended already is left alone.
        """
        with self._lock:
            if journal := self._open.get(number):
                journal.ending = journal.ending or (reason, fault)
                self._serve(number, journal)
        self._nudge()

    def run(self) -> None:
        """Drain and sync until `stop`."""
        while not self._stopping:
            rung = self._wait()
            self.turn(sync=self._strict and rung)
        self.turn(sync=True)

    def turn(self, sync: bool = False) -> None:
        """One round over all journals; then a sync if one is asked for, or due."""
        with self._lock:
            for number, journal in list(self._open.items()):
                if self._serve(number, journal) and not self._dirty_since:
                    self._dirty_since = self._log.clock()[1]
            self._append_failure = next((one.failure for one in self._open.values() if one.failure), "")
            due = self._dirty_since and (self._strict or self._log.clock()[1] - self._dirty_since >= self._window_ns)
        if sync or due or self._done:
            self._sync()

    def stop(self) -> None:
        """Have `run` return once all that is published is in the log, and synced."""
        self._stopping = True
        self._nudge()

    def close(self) -> None:
        """After `run` has returned. Journals that are still open are left for the next start."""
        for journal in self._open.values():
            self._release(journal)
            journal.file.close()
        self._open.clear()
        self._poll.close()
        os.close(self._wake_fd)
        os.close(self._waker)

    # One journal.

    def _serve(self, number: int, journal: OpenJournal) -> bool:
        """Take what is published, and end the journal if that is due. Returns whether something was taken."""
        begin = journal.read
        try:
            if journal.rejected is None:
                self._take(journal)
            if journal.ending:
                self._end(number, journal)
            elif journal.told == FAILED and not self._sync_failure:
                self._tell(journal, GO, "")
            journal.failure = ""
        except LogUnavailable as error:
            journal.failure = str(error)
            if journal.rejected is None:
                self._tell(journal, FAILED, journal.failure)
        except NotAdmitted as error:
            self._reject(number, journal, str(error))
        return journal.read > begin

    def _take(self, journal: OpenJournal) -> None:
        published = journal.control.published
        if not 0 <= published - journal.read <= journal.size or published % 8:
            raise NotAdmitted(f"it says that {published} bytes are written, after {journal.read} were taken of {journal.size}")
        wanted, frames = SLICE, ALL
        while journal.read < published:
            length = min(wanted, published - journal.read)
            data = journal.file.read(journal.read, length, journal.size)
            if len(data) < length:
                raise NotAdmitted("it was shortened")
            piece = check(data, journal.read, journal.file.number, self._log.store, frames, self._log.payload_above)
            if isinstance(piece, int):
                if piece > published - journal.read:
                    raise NotAdmitted(f"a frame of {piece} bytes, {published - journal.read} are written")
                wanted = piece
                continue
            wanted = SLICE if frames > 1 else PAGE
            try:
                last = journal.flows.admit(piece.entries)
            except NotAdmitted:
                if frames == 1:
                    raise
                # Take what is before the frame that is to blame.
                wanted, frames = PAGE, 1
                continue
            journal.logged = self._log.append_frames(piece.frames, len(piece.entries))
            # A crash up to here: `leftover` finds these entries in the log, behind the mark.
            journal.flows.commit(last)
            journal.read += piece.used
            with contextlib.suppress(OSError):
                # An older mark costs the next start some reading, no more.
                journal.file.mark(journal.read, journal.logged)
            journal.control.set_read(journal.read)

    def _reject(self, number: int, journal: OpenJournal, reason: str) -> None:
        """What is behind `read` is not to be believed: this journal ends here, on record."""
        journal.rejected = journal.file.read(journal.read, MAX_REJECTED, journal.size)
        journal.ending = (reason, "worker")
        self.failures[number] = reason
        self._tell(journal, ENDED, f"this journal was ended: {reason}")
        self._serve(number, journal)
        self._on_failure(number, reason)

    def _end(self, number: int, journal: OpenJournal) -> None:
        reason, fault = journal.ending or ("", "")
        for flow, last in list(journal.flows.open.items()):
            self._log.take_back(flow, last)
            try:
                self._log.append(flow, FlowClose(reason, fault="internal"))
            except LogUnavailable:
                self._log.hand_over(flow)
                raise
            del journal.flows.open[flow]
        lost = min(max(0, journal.control.published - journal.read), journal.size)
        end = self._log.append(0, JournalEnd(number, reason, fault, journal.read, lost, journal.rejected or b""))
        # A crash up to here: the next start finds this entry, and removes the files.
        self._tell(journal, ENDED, f"this journal was ended: {reason}")
        self._release(journal)
        del self._open[number]
        self._done.append((end, journal.file))

    def _tell(self, journal: OpenJournal, state: int, reason: str) -> None:
        journal.told = state
        journal.control.set_state(state, reason)
        self._wake_worker(journal)

    def _release(self, journal: OpenJournal) -> None:
        with contextlib.suppress(OSError):
            self._poll.unregister(journal.doorbell)
        self._doorbells.discard(journal.doorbell)
        os.close(journal.doorbell)
        os.close(journal.synced)
        journal.control.close()

    def _wake_worker(self, journal: OpenJournal) -> None:
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(journal.synced, b"!")

    # Waiting, syncing.

    def _wait(self) -> bool:
        """Until something rings or the interval is over. Returns whether a worker rang."""
        rung = False
        asleep = self._fall_asleep()
        ready = self._poll.poll(ASLEEP_S if asleep else self._interval_s)
        if asleep:
            self._set_asleep(False)
        for descriptor, events in ready:
            if events & select.EPOLLIN:
                with self._lock:
                    # The number may be another file's by now.
                    if descriptor == self._wake_fd or descriptor in self._doorbells:
                        rung |= descriptor != self._wake_fd
                        os.read(descriptor, 1 << 16)
            else:
                # The worker's end is closed: it would be said again and again.
                with contextlib.suppress(OSError):
                    self._poll.unregister(descriptor)
        return rung

    def _fall_asleep(self) -> bool:
        """Whether nothing is to be done before somebody rings."""
        with self._lock:
            busy = self._dirty_since or self._done or self.failure
            if busy or not all(one.control.rings and not one.ending for one in self._open.values()):
                return False
            self._set_asleep(True)
            if all(one.control.published == one.read for one in self._open.values()):
                return True
            self._set_asleep(False)
            return False

    def _set_asleep(self, asleep: bool) -> None:
        with self._lock:
            for one in self._open.values():
                one.control.set_asleep(asleep)

    def _nudge(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._waker, b"!")

    def _sync(self) -> None:
        with self._lock:
            reached = {number: (journal.read, journal.logged) for number, journal in self._open.items()}
            self._dirty_since = 0
        try:
            synced = self._log.sync()
        except LogUnavailable as error:
            with self._lock:
                self._sync_failure = str(error)
                self._dirty_since = self._dirty_since or self._log.clock()[1]
                for journal in self._open.values():
                    self._tell(journal, FAILED, str(error))
            return
        with self._lock:
            self._sync_failure = ""
            for number, (read, logged) in reached.items():
                open_still = self._open.get(number)
                if open_still and logged <= synced and read > open_still.durable:
                    open_still.durable = read
                    open_still.control.set_synced(read)
                    if self._strict:
                        self._wake_worker(open_still)
            for position, file in [done for done in self._done if done[0] <= synced]:
                file.remove()
                self._done.remove((position, file))
