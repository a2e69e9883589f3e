"""Journals for tests: a log with its drain and one worker's journal in this process, and what the log holds afterwards."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from pathlib import Path

from hostguard.recorder.drain import Drain
from hostguard.recorder.durable import Syscalls
from hostguard.recorder.entry import Cancel, Entry, FlowOpen, Unknown
from hostguard.recorder.journal import Journal
from hostguard.recorder.log import Log
from hostguard.recorder.packing import MAX_ENTRY_BYTES
from hostguard.recorder.reader import Reader


def clock() -> tuple[int, int]:
    return time.time_ns(), time.monotonic_ns()


def opening() -> FlowOpen:
    return FlowOpen("support", "support-agent", "shop")


class Pair:
    """Both ends of a journal. Nothing moves but by `drain.turn`."""

    def __init__(
        self,
        folder: Path,
        size: int = 1 << 16,
        *,
        strict: bool = False,
        patience_ms: int = 0,
        syscalls: Syscalls | None = None,
        payload_above: int = MAX_ENTRY_BYTES,
        stalled: Callable[[], None] = lambda: None,
    ) -> None:
        """stalled: called when an append does not go through at once."""
        self.folder = folder
        self.log = Log(folder, clock, segment_bytes=50_000, syscalls=syscalls, payload_above=payload_above)
        self.failed: list[tuple[int, str]] = []
        self.drain = Drain(self.log, strict=strict, batch_s=0.02, on_failure=lambda *what: self.failed.append(what))
        handle = self.drain.open_journal("worker", size)
        self.number = handle.number
        self.fds = tuple(os.dup(descriptor) for descriptor in handle.fds)
        """The descriptors that a worker has, for a hostile one."""

        def asked_when_stalled() -> tuple[int, int]:
            stalled()
            return clock()

        self.journal = Journal(handle.fds, asked_when_stalled, patience_ms)

    def open_flow(self) -> int:
        flow = self.drain.open_flow(self.number, opening())
        self.journal.begin_flow(flow)
        return flow

    @property
    def ring(self) -> Path:
        return self.folder / "journals" / f"{self.number:020d}.ring"

    def close(self) -> None:
        """Let go of everything, as a crash does, but for the log's last sync."""
        self.journal.close()
        for descriptor in self.fds:
            os.close(descriptor)
        self.drain.close()
        self.log.close()


def wait_synced(journal: Journal, position: int) -> None:
    """Until it is told to be synced."""
    begun = clock()[1]
    while journal.synced_position < position:
        select.select([], [], [], 0.001)
        assert clock()[1] - begun < 20e9


def entries_of(folder: Path) -> list[Entry]:
    """All entries of the log; each must be one that a reader knows."""
    found = []
    for _, entry in Reader(folder).entries():
        assert not isinstance(entry, Unknown)
        found.append(entry)
    return found


def targets(folder: Path, flow: int | None = None) -> list[int]:
    """What the log holds of `Cancel` entries: their numbers."""
    return [e.target for e in entries_of(folder) if isinstance(e, Cancel) and (flow is None or e.flow == flow)]


def opened_again(folder: Path, then: Callable[[Log], None] = lambda _: None) -> None:
    """The next start of the log writer, and its end."""
    log = Log(folder, clock)
    try:
        Drain(log).close()
        then(log)
    finally:
        log.close()
