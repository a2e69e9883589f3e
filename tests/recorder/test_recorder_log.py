"""Order, numbers and durability as the log's owner sees them."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from hostguard.recorder.durable import LogUnavailable, Syscalls
from hostguard.recorder.entry import (
    Approval,
    Cancel,
    DaemonStart,
    Decision,
    Entry,
    FlowClose,
    FlowOpen,
    LogBegin,
    Operation,
    Reply,
)
from hostguard.recorder.log import Log
from hostguard.recorder.reader import Reader


def ticking() -> tuple[int, int]:
    return (11, 22)


def all_entries(folder: Path) -> list[Entry]:
    return [entry for _, entry in Reader(folder).entries() if isinstance(entry, Entry)]


def test_every_entry_is_stamped_and_a_flow_is_named_by_its_first(tmp_path: Path) -> None:
    log = Log(tmp_path, ticking)
    log.append(0, DaemonStart("1", 2))
    one, two = log.open_flow(FlowOpen("a", "w", "r")), log.open_flow(FlowOpen("b", "w", "r"))
    log.append(one, Operation(1, "query", "x"), Decision(1, "allow"))
    log.append(two, Operation(1, "query", "x"))
    log.append(one, Reply(1, "ok"))
    log.append(one, FlowClose("done"))
    log.append(one, Approval("r", "denied"))
    assert log.open_flows == 1
    log.close()
    found = [(tag.__class__.__name__, tag.flow, tag.seq) for tag in all_entries(tmp_path)]
    assert (one, two) == (2, 3)
    assert found == [
        ("LogBegin", 0, 0), ("DaemonStart", 0, 0), ("FlowOpen", 2, 1), ("FlowOpen", 3, 1), ("Operation", 2, 2),
        ("Decision", 2, 3), ("Operation", 3, 2), ("Reply", 2, 4), ("FlowClose", 2, 5), ("Approval", 2, 0),
    ]  # fmt: skip
    assert {(entry.v, entry.wall_ns, entry.mono_ns) for entry in all_entries(tmp_path)} == {(1, 11, 22)}


def test_no_flow_is_ever_number_nought(tmp_path: Path) -> None:
    log = Log(tmp_path, ticking)
    assert log.open_flow(FlowOpen("a", "w", "r")) == 1
    log.close()
    assert isinstance(all_entries(tmp_path)[0], LogBegin)


def test_a_reopened_log_goes_on_with_its_numbers(tmp_path: Path) -> None:
    for round_ in range(3):
        log = Log(tmp_path, ticking)
        assert log.synced_position == (1 if round_ else 0) + round_, "what was found is synced before it counts"
        assert log.append(0, Cancel(round_)) == 2 + round_
        log.close()
    assert [entry.target for entry in all_entries(tmp_path) if isinstance(entry, Cancel)] == [0, 1, 2]


def test_a_failed_append_takes_no_number_in_its_flow(tmp_path: Path) -> None:
    broken = False

    def write(descriptor: int, data: bytes) -> int:
        return 0 if broken else os.write(descriptor, data)

    log = Log(tmp_path, ticking, syscalls=Syscalls(write=write))
    flow = log.open_flow(FlowOpen("a", "w", "r"))
    broken = True
    for _ in range(2):
        with pytest.raises(LogUnavailable):
            log.append(flow, Operation(1, "query", "x"), FlowClose("end"))
    broken = False
    log.append(flow, Operation(1, "query", "x"))
    log.close()
    found = [(entry.seq, type(entry)) for entry in all_entries(tmp_path) if entry.flow == flow]
    assert found == [(1, FlowOpen), (2, Operation)]


def test_appends_go_on_while_a_sync_is_under_way_and_are_not_taken_for_durable(tmp_path: Path) -> None:
    """Group commit: what came in during one sync waits for the next, all of it together."""
    entered, leave = threading.Event(), threading.Event()
    syncs = 0

    def fdatasync(descriptor: int) -> None:
        nonlocal syncs
        syncs += 1
        if syncs == 1:
            entered.set()
            assert leave.wait(10)
        os.fdatasync(descriptor)

    log = Log(tmp_path, ticking, syscalls=Syscalls(fdatasync=fdatasync))
    first = log.append(0, Cancel(1))
    thread = threading.Thread(target=log.sync)
    thread.start()
    assert entered.wait(10)
    last = [log.append(0, Cancel(number)) for number in range(2, 12)][-1]
    assert log.synced_position < first
    leave.set()
    thread.join()
    assert log.synced_position == first
    assert log.sync() == last
    assert syncs == 2
    log.sync()
    assert syncs == 2, "nothing to sync, nothing asked of the disk"
    log.close()


def test_rotation_and_syncs_of_another_thread_do_not_meet(tmp_path: Path) -> None:
    """A segment's descriptor must not be closed, and its number used again, under a sync."""
    log = Log(tmp_path, ticking, segment_bytes=400)
    done = threading.Event()
    failures: list[BaseException] = []

    def sync() -> None:
        try:
            while not done.is_set():
                assert log.sync() <= log.position
        except BaseException as error:  # whatever it is, it has to reach the test
            failures.append(error)

    thread = threading.Thread(target=sync)
    thread.start()
    for number in range(300):
        log.append(0, Cancel(number))
    done.set()
    thread.join()
    assert failures == []
    log.close()
    assert [entry.target for entry in all_entries(tmp_path) if isinstance(entry, Cancel)] == list(range(300))
