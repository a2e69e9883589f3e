"""A journal goes over to another log writer while its worker writes: each entry is in the log once, whatever happens."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from journals import Pair, clock, entries_of, opened_again, targets

from hostguard.recorder.carried import Carried, Needed
from hostguard.recorder.drain import Drain
from hostguard.recorder.entry import Cancel, DaemonStart, FlowClose, FlowOpen, JournalEnd
from hostguard.recorder.inheritance import TAKEN_OVER, LivingJournal
from hostguard.recorder.log import Log
from hostguard.recorder.packing import frame

COUNTS = st.integers(0, 40)


class Line:
    """A worker with one flow, under one log writer after the other."""

    def __init__(self, folder: Path) -> None:
        self.pair = Pair(folder, patience_ms=50)
        self.log, self.drain = self.pair.log, self.pair.drain
        self.flow = self.pair.open_flow()
        self.written = 0

    def write(self, count: int) -> None:
        for _ in range(count):
            self.written += 1
            self.pair.journal.append(self.flow, Cancel(self.written))

    def bequeath(self) -> list[LivingJournal]:
        """The log writer comes to rest; what it leaves is only bytes and descriptors."""
        self.drain.turn(sync=True)
        left = msgspec.msgpack.encode(self.drain.bequeath())
        self.log.close()
        return msgspec.msgpack.decode(left, type=list[LivingJournal])

    def take_over(self, left: list[LivingJournal]) -> None:
        self.log = Log(self.pair.folder, clock)
        self.drain = Drain(self.log, living=left)

    def close(self) -> None:
        self.pair.drain, self.pair.log = self.drain, self.log
        self.pair.close()


@given(before=COUNTS, between=COUNTS, after=COUNTS, times=st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_every_entry_is_in_the_log_once_and_in_order(before: int, between: int, after: int, times: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        line = Line(Path(name))
        for _ in range(times):
            line.write(before)
            left = line.bequeath()
            line.write(between)
            line.take_over(left)
            line.write(after)
        line.pair.journal.append(line.flow, FlowClose("the end"))
        line.drain.turn(sync=True)
        line.close()
        assert targets(Path(name), line.flow) == list(range(1, line.written + 1))
        numbers = [one.seq for one in entries_of(Path(name)) if one.flow == line.flow]
        assert numbers == list(range(1, line.written + 3))


@given(before=COUNTS, between=COUNTS)
@settings(max_examples=20, deadline=None)
def test_what_was_bequeathed_and_never_taken_over_is_found_by_the_next_start(before: int, between: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        line = Line(Path(name))
        line.write(before)
        line.bequeath()
        line.write(between)
        line.pair.journal.close()
        for descriptor in line.pair.fds:
            os.close(descriptor)
        opened_again(Path(name))
        assert targets(Path(name), line.flow) == list(range(1, line.written + 1))
        assert [one.fault for one in entries_of(Path(name)) if isinstance(one, JournalEnd)] == ["crash"]


def test_a_journal_that_is_inherited_ends_as_any_other(tmp_path: Path) -> None:
    line = Line(tmp_path)
    line.write(3)
    line.take_over(line.bequeath())
    line.write(2)
    line.drain.end_journal(line.pair.number, "the worker was killed")
    line.drain.turn(sync=True)
    line.close()
    assert targets(tmp_path, line.flow) == [1, 2, 3, 4, 5]
    (close,) = [one for one in entries_of(tmp_path) if isinstance(one, FlowClose)]
    assert (close.flow, close.reason) == (line.flow, "the worker was killed")
    assert not line.pair.ring.exists()


def test_flows_that_were_taken_over_are_needed_after_the_next_start_as_well() -> None:
    def after(*details: tuple[str, str]) -> set[int]:
        opened = FlowOpen("a", "w", "r", flow=1, seq=1)
        starts = [DaemonStart("1", 1, details=details) for _ in range(3)]
        needed = Needed()
        for index, one in enumerate((DaemonStart("1", 1), opened, *starts)):
            needed.take(index, frame(one, lambda _: (_ for _ in ()).throw(AssertionError)))
        return {one.index for one in needed.all() if isinstance(one, Carried)}

    assert 1 in after((TAKEN_OVER, "1"))
    assert 1 not in after()
