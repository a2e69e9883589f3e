"""A worker's entries on their way into the log."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import tempfile
import threading
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journals import Pair, clock, entries_of, opened_again, opening, targets, wait_synced
from sealed_log import SIGNER

from hostguard.recorder.drain import Drain
from hostguard.recorder.durable import LogUnavailable, Syscalls
from hostguard.recorder.entry import Cancel, Decision, Entry, FlowClose, JournalEnd, JournalOpen, LogResumed, Operation, Reply
from hostguard.recorder.journal import Journal
from hostguard.recorder.log import Log
from hostguard.recorder.reader import Reader
from hostguard.recorder.seal import Sealer
from hostguard.recorder.stored import Stored
from hostguard.recorder.verify import verify


def test_what_a_worker_appends_is_in_the_log_after_the_flows_beginning_in_order(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    flow = pair.open_flow()
    pair.journal.append(flow, Operation(1, "query", "SELECT 1"), Decision(1, "allow"))
    pair.journal.append(flow, Reply(1, "ok"))
    pair.journal.append(0, Cancel(7))
    pair.journal.append(flow, FlowClose("the client closed it"))
    assert pair.log.position == 3
    pair.drain.turn()
    pair.close()
    found = entries_of(tmp_path)[1:]
    assert [(type(e).__name__, e.flow, e.seq) for e in found] == [
        ("JournalOpen", 0, 0),
        ("FlowOpen", flow, 1),
        ("Operation", flow, 2),
        ("Decision", flow, 3),
        ("Reply", flow, 4),
        ("Cancel", 0, 0),
        ("FlowClose", flow, 5),
    ]
    assert found[2].wall_ns == found[3].wall_ns <= found[4].wall_ns
    assert found[2].mono_ns <= found[4].mono_ns


def test_a_flow_names_its_journal(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    pair.open_flow()
    pair.close()
    opened, begun = entries_of(tmp_path)[1:3]
    assert isinstance(opened, JournalOpen)
    assert getattr(begun, "journal", None) == pair.number == 1


@pytest.mark.parametrize("length", [0, 1, 200, 65_300, 65_400, 65_535, 65_536, 70_000, 500_000])
def test_an_entry_of_any_length_arrives_whole(tmp_path: Path, length: int) -> None:
    pair = Pair(tmp_path, 1 << 21)
    flow = pair.open_flow()
    pair.journal.append(flow, Reply(1, "ok"), Operation(2, "query", "x" * length), Decision(2, "allow"))
    pair.drain.turn()
    pair.close()
    operation = entries_of(tmp_path)[4]
    assert isinstance(operation, Operation)
    text = operation.text
    if isinstance(text, Stored):
        assert length > 65_000
        assert Reader(tmp_path).payload(text) == msgspec.msgpack.encode("x" * length)
    else:
        assert text == "x" * length
    assert pair.failed == []


def test_more_than_half_of_the_ring_in_one_append_is_refused_with_its_size(tmp_path: Path) -> None:
    pair = Pair(tmp_path, 1 << 14)
    flow = pair.open_flow()
    with pytest.raises(LogUnavailable, match="more than this journal takes"):
        pair.journal.append(flow, Operation(1, "query", "x" * 10_000))
    pair.journal.append(flow, Operation(1, "query", "x" * 1000))
    pair.drain.turn()
    pair.close()
    assert [type(e).__name__ for e in entries_of(tmp_path)[3:]] == ["LogResumed", "Operation"]


def test_text_that_is_none_goes_on_record_escaped(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    flow = pair.open_flow()
    pair.journal.append(flow, Operation(1, "query", "\udcff"))
    pair.drain.turn()
    pair.close()
    assert getattr(entries_of(tmp_path)[-1], "text", None) == "\\udcff"


def test_entries_that_were_stamped_before_are_stamped_anew(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    flow = pair.open_flow()
    once = Reply(1, "ok")
    once.flow, once.seq, once.crc, once.wall_ns = 99, 98, 97, 96
    pair.journal.append(flow, once)
    pair.drain.turn()
    pair.close()
    assert (entries_of(tmp_path)[-1].flow, entries_of(tmp_path)[-1].seq) == (flow, 2)


def test_a_late_entry_of_an_ended_flow_has_no_place_in_its_order(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    flow = pair.open_flow()
    pair.journal.append(flow, FlowClose("over"))
    pair.journal.append(flow, Cancel(1))
    pair.drain.turn()
    pair.log.append(flow, Cancel(2))
    pair.close()
    assert [(e.flow, e.seq) for e in entries_of(tmp_path)[-3:]] == [(flow, 2), (flow, 0), (flow, 0)]
    assert pair.failed == []


def test_a_full_journal_refuses_until_there_is_room(tmp_path: Path) -> None:
    pair = Pair(tmp_path, 1 << 14)
    flow = pair.open_flow()
    appended = 0
    with contextlib.suppress(LogUnavailable):
        while True:
            pair.journal.append(flow, Cancel(appended))
            appended += 1
    with pytest.raises(LogUnavailable, match="full"):
        pair.journal.append(flow, Cancel(appended))
    assert appended > 50
    pair.drain.turn()
    pair.journal.append(flow, Cancel(appended))
    pair.drain.turn()
    pair.close()
    assert targets(tmp_path) == list(range(appended + 1))
    (resumed,) = [e for e in entries_of(tmp_path) if isinstance(e, LogResumed)]
    assert resumed.failures == 2


def test_a_full_journal_waits_for_a_log_writer_that_lives(tmp_path: Path) -> None:
    pair = Pair(tmp_path, 1 << 14, patience_ms=20_000)
    flow = pair.open_flow()
    thread = threading.Thread(target=pair.drain.run)
    thread.start()
    for number in range(3000):
        pair.journal.append(flow, Cancel(number))
    pair.drain.stop()
    thread.join()
    pair.close()
    assert targets(tmp_path) == list(range(3000))


class Disk:
    """A disk that fails on command."""

    def __init__(self) -> None:
        self.broken: set[str] = set()

    def syscalls(self) -> Syscalls:
        return Syscalls(write=self._write, fdatasync=self._fdatasync)

    def _write(self, descriptor: int, data: bytes) -> int:
        if "write" in self.broken:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.write(descriptor, data)

    def _fdatasync(self, descriptor: int) -> None:
        if "fdatasync" in self.broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        os.fdatasync(descriptor)


def test_a_log_that_cannot_be_written_refuses_and_keeps_what_was_let_go(tmp_path: Path) -> None:
    disk = Disk()
    pair = Pair(tmp_path, syscalls=disk.syscalls())
    flow = pair.open_flow()
    disk.broken = {"write"}
    pair.journal.append(flow, Cancel(1))
    pair.drain.turn()
    assert not pair.journal.available
    assert "No space left" in pair.journal.failure
    assert "No space left" in pair.drain.failure
    with pytest.raises(LogUnavailable, match="No space left"):
        pair.journal.append(flow, Cancel(2))
    pair.drain.turn()
    assert not pair.journal.available
    disk.broken = set()
    pair.drain.turn()
    assert pair.journal.available
    assert pair.drain.failure == pair.journal.failure == ""
    pair.journal.append(flow, Cancel(3))
    pair.drain.turn()
    pair.close()
    assert targets(tmp_path) == [1, 3]
    assert [type(e).__name__ for e in entries_of(tmp_path)[3:]] == ["Cancel", "LogResumed", "Cancel"]


def test_a_failed_sync_refuses_until_one_succeeds(tmp_path: Path) -> None:
    disk = Disk()
    pair = Pair(tmp_path, strict=True, syscalls=disk.syscalls())
    flow = pair.open_flow()
    position = pair.journal.append(flow, Cancel(1))
    disk.broken = {"fdatasync"}
    pair.drain.turn(sync=True)
    assert not pair.journal.available
    assert select.select([pair.journal.synced_fd], [], [], 0)[0]
    assert pair.journal.take_synced() < position
    pair.drain.turn()
    assert not pair.journal.available
    disk.broken = set()
    pair.drain.turn()
    pair.drain.turn()
    assert pair.journal.available
    assert pair.journal.take_synced() == position
    pair.close()


def test_a_failed_sync_refuses_in_batch_too_between_the_attempts(tmp_path: Path) -> None:
    disk = Disk()
    pair = Pair(tmp_path, syscalls=disk.syscalls())
    flow = pair.open_flow()
    pair.journal.append(flow, Cancel(1))
    disk.broken = {"fdatasync"}
    pair.drain.turn(sync=True)
    pair.drain.turn()
    assert not pair.journal.available
    disk.broken = set()
    pair.close()


def test_strict_waiters_are_woken_once_their_entries_are_synced(tmp_path: Path) -> None:
    pair = Pair(tmp_path, strict=True)
    flow = pair.open_flow()
    thread = threading.Thread(target=pair.drain.run)
    thread.start()
    for number in range(20):
        position = pair.journal.append(flow, Cancel(number))
        pair.journal.request_sync()
        while pair.journal.take_synced() < position:
            assert select.select([pair.journal.synced_fd], [], [], 20)[0]
        assert pair.log.synced_position >= 4 + number
    pair.drain.stop()
    thread.join()
    pair.close()


def test_batch_syncs_within_its_window_without_being_asked(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    flow = pair.open_flow()
    thread = threading.Thread(target=pair.drain.run)
    thread.start()
    wait_synced(pair.journal, pair.journal.append(flow, Cancel(1)))
    pair.drain.stop()
    thread.join()
    pair.close()


def test_a_failure_is_told_whichever_journal_meets_it(tmp_path: Path) -> None:
    disk = Disk()
    pair = Pair(tmp_path, syscalls=disk.syscalls())
    handle = pair.drain.open_journal("second", 1 << 16)
    second = Journal(handle.fds, clock)
    second.append(0, Cancel(1))
    disk.broken = {"write"}
    pair.drain.turn()
    assert "No space left" in pair.drain.failure
    second.close()
    pair.close()


def test_an_ended_journal_ends_its_flows_and_leaves_no_files(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    flow, over = pair.open_flow(), pair.open_flow()
    pair.journal.append(over, FlowClose("over"))
    pair.journal.append(flow, Cancel(1))
    pair.drain.end_journal(pair.number, "the worker was killed")
    with pytest.raises(LogUnavailable, match="killed"):
        pair.journal.append(flow, Cancel(2))
    pair.drain.turn()
    assert list((tmp_path / "journals").iterdir()) == []
    pair.close()
    closed, end = entries_of(tmp_path)[-2:]
    assert (type(closed), closed.flow, closed.seq) == (FlowClose, flow, 3)
    assert isinstance(end, JournalEnd)
    assert (end.journal, end.fault, end.lost) == (pair.number, "", 0)


def test_a_disk_without_room_for_a_journal_is_told_at_once(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    with pytest.raises(LogUnavailable, match="make a journal"):
        pair.drain.open_journal("greedy", 1 << 50)
    pair.close()
    assert isinstance(entries_of(tmp_path)[-1], JournalEnd)
    assert len(list((tmp_path / "journals").iterdir())) == 2


def number_of(entry: Entry) -> int:
    """The number of the action that an entry is of; -1 for others."""
    match entry:
        case Operation(operation=number) | Reply(operation=number) | Cancel(target=number):
            return number
        case FlowClose(reason=str(reason)):
            return int(reason)
        case _:
            return -1


SMALL = st.integers(0, 400)
ACTIONS = st.lists(st.tuples(st.sampled_from("aaaaabtcl"), st.integers(0, 4), SMALL), max_size=60)


@settings(max_examples=150, deadline=None)
@given(ACTIONS, st.sampled_from([1 << 12, 1 << 14, 1 << 18]))
def test_a_ring_of_any_size_takes_any_order_of_appends_and_turns(actions: list[tuple[str, int, int]], size: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        pair = Pair(Path(name), size)
        flows = [pair.open_flow() for _ in range(3)]
        expected: list[tuple[int, int]] = []
        refused = 0
        for number, (action, which, length) in enumerate(actions):
            flow = [*flows, 0, 0][which]
            try:
                if action == "a":
                    kind = Cancel(number) if flow == 0 else Operation(number, "query", "é" * length)
                    pair.journal.append(flow, kind)
                elif action == "b" and flow:
                    pair.journal.append(flow, *[Reply(number, "ok", tag="x" * length) for _ in range(5)])
                    expected += [(flow, number)] * 4
                elif action == "l" and flow:
                    pair.journal.append(flow, Operation(number, "query", "z" * (70_000 + length)))
                elif action == "c" and flow and which < 3:
                    pair.journal.append(flow, FlowClose(str(number)))
                    flows[which] = pair.open_flow()
                else:
                    pair.drain.turn()
                    continue
                expected.append((flow, number))
            except LogUnavailable:
                refused += 1
        pair.drain.turn()
        assert pair.failed == []
        pair.close()
        found = [(entry.flow, number_of(entry)) for entry in entries_of(Path(name)) if number_of(entry) >= 0]
        # The flow's beginnings are the log writer's own, so only the journal's entries are in the journal's order.
        assert found == expected
        last: dict[int, int] = {}
        for entry in entries_of(Path(name)):
            if entry.flow:
                assert entry.seq == last.get(entry.flow, 0) + 1
                last[entry.flow] = entry.seq
        assert sum(e.failures for e in entries_of(Path(name)) if isinstance(e, LogResumed)) <= refused


def test_a_log_that_journals_filled_verifies(tmp_path: Path) -> None:
    pair = Pair(tmp_path, 1 << 20)
    flow = pair.open_flow()
    for number in range(300):
        pair.journal.append(flow, Operation(number, "query", "x" * (number * 300)))
        if number % 7 == 0:
            pair.drain.turn()
    pair.drain.end_journal(pair.number, "done")
    pair.drain.turn()
    Sealer(tmp_path, SIGNER, pair.log.sync).seal()
    position = pair.log.position
    pair.close()
    report = verify(tmp_path, SIGNER.verifier)
    assert (report.findings, report.entries, report.sealed) == ([], position, position)


def test_two_journals_are_independent(tmp_path: Path) -> None:
    log = Log(tmp_path, clock)
    drain = Drain(log)
    handles = [drain.open_journal(f"worker-{n}", 1 << 16) for n in range(2)]
    journals = [Journal(handle.fds, clock) for handle in handles]
    flows = [drain.open_flow(handle.number, opening()) for handle in handles]
    for journal, flow in zip(journals, flows, strict=True):
        journal.begin_flow(flow)
    for number in range(200):
        journals[number % 2].append(flows[number % 2], Cancel(number))
        if number % 30 == 0:
            drain.turn()
    drain.end_journal(handles[0].number, "killed")
    journals[1].append(flows[1], Cancel(200))
    drain.turn()
    for journal in journals:
        journal.close()
    drain.close()
    log.close()
    assert targets(tmp_path, flows[0]) == list(range(0, 200, 2))
    assert targets(tmp_path, flows[1]) == [*range(1, 200, 2), 200]
    opened_again(tmp_path)
    assert targets(tmp_path, flows[1]) == [*range(1, 200, 2), 200]
