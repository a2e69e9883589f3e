"""Journals after a crash: workers and log writers killed at random moments and at each step, files torn at each byte."""

from __future__ import annotations

import contextlib
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from journals import Pair, clock, entries_of, opened_again, opening, targets

from hostguard.recorder.drain import Drain
from hostguard.recorder.durable import segment_names, segment_path
from hostguard.recorder.entry import FlowClose, JournalEnd, Operation
from hostguard.recorder.journal import Journal
from hostguard.recorder.log import Log
from hostguard.recorder.reader import Reader
from hostguard.recorder.ringfile import JournalBusy
from hostguard.recorder.stored import Stored

STRACE = shutil.which("strace")
PAGE = 4096


def test_what_was_published_is_taken_at_the_next_start_and_the_files_go(tmp_path: Path) -> None:
    pair = Pair(tmp_path, 1 << 20)
    flow = pair.open_flow()
    pair.journal.append(flow, *[Operation(1, "query", "a")] * 1)
    pair.drain.turn()
    for number in range(20):
        pair.journal.append(flow, Operation(2 + number, "query", "x" * (70_000 if number == 7 else 10)))
    pair.close()
    opened_again(tmp_path)
    found = [entry for entry in entries_of(tmp_path) if isinstance(entry, Operation)]
    assert [entry.seq for entry in found] == list(range(2, 23))
    (end,) = [entry for entry in entries_of(tmp_path) if isinstance(entry, JournalEnd)]
    assert (end.fault, end.lost, end.journal) == ("crash", 0, pair.number)
    assert list((tmp_path / "journals").iterdir()) == []
    opened_again(tmp_path)
    assert len([entry for entry in entries_of(tmp_path) if isinstance(entry, JournalEnd)]) == 1


def test_an_old_mark_duplicates_nothing(tmp_path: Path) -> None:
    """As a power cut may leave it: the log is ahead of what the journal's mark says, with others' entries in between."""
    pair = Pair(tmp_path, 1 << 20)
    flow = pair.open_flow()
    old = pair.ring.with_suffix(".read").read_bytes()
    for number in range(30):
        pair.journal.append(flow, Operation(number, "query", "x" * (70_000 if number % 9 == 0 else 10)))
        if number % 4 == 0:
            pair.drain.turn()
        pair.log.append(0, opening()) if number % 5 == 0 else None
    pair.close()
    pair.ring.with_suffix(".read").write_bytes(old)
    opened_again(tmp_path)
    assert [entry.operation for entry in entries_of(tmp_path) if isinstance(entry, Operation)] == list(range(30))


@pytest.mark.parametrize("mark", [b"", b"\0" * 20, b"garbage that is no mark"])
def test_a_mark_that_is_none_duplicates_nothing(tmp_path: Path, mark: bytes) -> None:
    pair = Pair(tmp_path)
    flow = pair.open_flow()
    for number in range(10):
        pair.journal.append(flow, Operation(number, "query", ""))
        if number < 6:
            pair.drain.turn()
    pair.close()
    pair.ring.with_suffix(".read").write_bytes(mark)
    opened_again(tmp_path)
    assert [entry.operation for entry in entries_of(tmp_path) if isinstance(entry, Operation)] == list(range(10))


def test_a_log_torn_at_each_byte_of_the_last_append_gets_the_rest_from_the_journal(tmp_path: Path) -> None:
    """kill -9 within the log's write: some of the append is there, the mark is the one before it."""
    whole = tmp_path / "whole"
    pair = Pair(whole)
    flow = pair.open_flow()
    pair.journal.append(flow, Operation(0, "query", ""))
    pair.drain.turn()
    mark = pair.ring.with_suffix(".read").read_bytes()
    segment = segment_path(whole, segment_names(whole)[-1])
    before = segment.stat().st_size
    pair.journal.append(flow, Operation(1, "query", "a"), Operation(2, "query", "b"))
    pair.journal.append(flow, Operation(3, "query", "c"))
    pair.drain.turn()
    pair.close()
    pair.ring.with_suffix(".read").write_bytes(mark)
    after = segment.stat().st_size
    for size in range(before, after + 1, 1 if after - before < 120 else 7):
        folder = tmp_path / "torn"
        shutil.copytree(whole, folder)
        os.truncate(segment_path(folder, segment_names(folder)[-1]), size)
        opened_again(folder)
        assert [entry.operation for entry in entries_of(folder) if isinstance(entry, Operation)] == [0, 1, 2, 3]
        shutil.rmtree(folder)


def test_a_ring_torn_at_each_byte_gives_its_whole_frames(tmp_path: Path) -> None:
    """A power cut that took the ring's bytes from some point on."""
    source = tmp_path / "whole"
    pair = Pair(source, 1 << 14)
    flow = pair.open_flow()
    ends = [pair.journal.append(flow, Operation(number, "query", "")) for number in range(3)]
    data = pair.ring.read_bytes()
    pair.close()
    for size in range(0, ends[-1] + 1, 3):
        folder = tmp_path / "torn"
        shutil.copytree(source, folder)
        ring = folder / "journals" / pair.ring.name
        ring.write_bytes(data[: PAGE + size] + bytes(len(data) - PAGE - size))
        opened_again(folder)
        found = [entry.operation for entry in entries_of(folder) if isinstance(entry, Operation)]
        # The padding behind the last entry of a frame may be torn off without harm.
        whole = [sum(end - slack <= size for end in ends) for slack in (0, 7)]
        assert found in [list(range(count)) for count in whole]
        (end,) = [entry for entry in entries_of(folder) if isinstance(entry, JournalEnd)]
        assert end.position + end.lost == ends[-1]
        shutil.rmtree(folder)


def test_a_file_that_was_never_finished_is_removed(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    pair.close()
    pair.ring.write_bytes(b"")
    (tmp_path / "journals" / f"{99:020d}.read").write_bytes(b"x" * 20)
    opened_again(tmp_path)
    assert list((tmp_path / "journals").iterdir()) == []


def test_a_crash_before_the_files_are_removed_ends_the_journal_once(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    flow = pair.open_flow()
    pair.journal.append(flow, Operation(1, "query", ""))
    kept = [(path, path.read_bytes()) for path in (pair.ring, pair.ring.with_suffix(".read"))]
    pair.drain.end_journal(pair.number, "over")
    pair.drain.turn()
    pair.close()
    for path, data in kept:
        path.write_bytes(data)
    opened_again(tmp_path)
    assert len([entry for entry in entries_of(tmp_path) if isinstance(entry, (JournalEnd, FlowClose))]) == 2
    assert [entry.operation for entry in entries_of(tmp_path) if isinstance(entry, Operation)] == [1]


def test_a_worker_that_still_lives_stops_the_start(tmp_path: Path) -> None:
    log = Log(tmp_path, clock)
    drain = Drain(log)
    handle = drain.open_journal("worker", 1 << 14)
    holder = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[handle.fds[0]])
    try:
        handle.close_fds()
        drain.close()
        log.close()
        with pytest.raises(JournalBusy, match="end it first"):
            opened_again(tmp_path)
    finally:
        holder.kill()
        holder.communicate()
    opened_again(tmp_path)


WORKER = """
import sys, time
from hostguard.recorder.durable import LogUnavailable
from hostguard.recorder.entry import Cancel, Operation
from hostguard.recorder.journal import Journal
journal = Journal([int(n) for n in sys.argv[4:8]], lambda: (time.time_ns(), time.monotonic_ns()), patience_ms=50)
flow, number, strict = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "strict"
journal.begin_flow(flow)
while True:
    try:
        journal.append(flow, Cancel(number), Operation(number, "query", "x" * (70_000 if number % 50 == 49 else number % 200)))
    except LogUnavailable:
        continue
    if number % 20 == 0:
        journal.request_sync()
    number += 1
    print(number, flush=True)
"""
WRITER = """
import subprocess, sys, time
from pathlib import Path
from hostguard.recorder.drain import Drain
from hostguard.recorder.entry import FlowOpen
from hostguard.recorder.log import Log
log = Log(Path(sys.argv[1]), lambda: (time.time_ns(), time.monotonic_ns()), segment_bytes=20_000)
drain = Drain(log, strict=sys.argv[3] == "strict", batch_s=0.005)
handle = drain.open_journal("worker", 1 << 18)
flow = drain.open_flow(handle.number, FlowOpen("a", "b", "c"))
words = [sys.executable, "-c", sys.argv[4], str(flow), sys.argv[2], sys.argv[3], *map(str, handle.fds)]
worker = subprocess.Popen(words, pass_fds=handle.fds)
handle.close_fds()
print("worker", worker.pid, flush=True)
drain.run()
"""


def checked(folder: Path, promised: int) -> int:
    """What an append had returned for is in the log once, in order, and readable. Returns how many there are."""
    found = targets(folder)
    assert found == list(range(len(found)))
    assert len(found) >= promised, f"{promised} appends had returned, {len(found)} are in the log"
    reader = Reader(folder)
    last: dict[int, int] = {}
    for _, entry in reader.entries():
        if isinstance(entry, Operation) and isinstance(entry.text, Stored):
            assert reader.payload(entry.text) is not None
        flow, seq = getattr(entry, "flow", 0), getattr(entry, "seq", 0)
        if flow:
            assert seq == last.get(flow, 0) + 1
            last[flow] = seq
    return len(found)


def start(folder: Path, mode: str, promised: int) -> tuple[subprocess.Popen[str], int]:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), str(promised), mode, WORKER], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    words = writer.stdout.readline().split()
    assert words[:1] == ["worker"]
    return writer, int(words[1])


def end(process: int) -> None:
    """Kill a process of ours that may be no child, and wait until it is gone, with all that it held."""
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(process)
        try:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            select.select([descriptor], [], [])
        finally:
            os.close(descriptor)


def read_promises(writer: subprocess.Popen[str], promised: int) -> int:
    """The numbers of appends that had returned, up to the end of the pipe, which both ends of the journal hold."""
    assert writer.stdout is not None
    for line in writer.stdout:
        if line.endswith("\n"):
            promised = int(line)
    return promised


def kill_and_check(folder: Path, chance: random.Random) -> int:
    promised = len(targets(folder)) if folder.is_dir() else 0
    mode = chance.choice(["strict", "batch"])
    writer, worker = start(folder, mode, promised)
    assert writer.stdout is not None
    for _ in range(chance.randrange(1, 200)):
        promised = int(writer.stdout.readline())
    for _ in range(chance.randrange(2000)):
        pass
    order = [worker, writer.pid]
    chance.shuffle(order)
    for process in order:
        end(process)
        # A worker without its log writer goes on until its journal is full.
        for _ in range(chance.choice([0, 1000, 1_000_000])):
            pass
    promised = read_promises(writer, promised)
    writer.wait()
    writer.stdout.close()
    opened_again(folder)
    return checked(folder, promised)


def test_workers_and_log_writers_killed_at_any_moment_lose_nothing(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    for _ in range(8):
        kill_and_check(tmp_path / "log", chance)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_workers_and_log_writers_killed_again_and_again(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    until = time.monotonic() + float(os.environ.get("HOSTGUARD_SOAK_S", "60"))
    runs = 0
    while time.monotonic() < until:
        assert kill_and_check(tmp_path / f"log{runs // 30}", chance) > 0
        runs += 1
    print("runs", runs)


# The steps of the drain as the kernel sees them; each is met by SIGKILL before it is carried out (strace injects at its entry).
STEPS = [
    *(f"inject=write:signal=KILL:when={when}" for when in (1, 2, 3, 5)),
    *(f"inject=pwrite64:signal=KILL:when={when}" for when in (1, 2, 4)),
    *(f"inject=pread64:signal=KILL:when={when}" for when in (1, 4)),
    *(f"inject=fdatasync:signal=KILL:when={when}" for when in (1, 3)),
    "inject=rename:signal=KILL:when=1",
    "inject=openat:signal=KILL:when=2",
]


@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
@pytest.mark.parametrize("step", STEPS)
def test_a_log_writer_killed_at_a_step_neither_loses_nor_repeats(tmp_path: Path, step: str) -> None:
    assert STRACE is not None
    folder = tmp_path / "log"
    writer, worker = start(folder, "batch", 0)
    tracer = subprocess.Popen(
        [STRACE, "-f", "-p", str(writer.pid), "-o", "/dev/null", "-e", step], stderr=subprocess.PIPE, text=True
    )
    try:
        # A step that never comes would let this wait for good.
        writer.wait(60)
    finally:
        end(worker)
        tracer.kill()
        tracer.communicate()
        writer.kill()
    promised = read_promises(writer, 0)
    assert writer.stdout is not None
    writer.stdout.close()
    assert writer.wait() == -signal.SIGKILL
    opened_again(folder)
    assert checked(folder, promised) > 0


def test_a_start_that_is_killed_while_it_takes_leftovers_goes_on_where_it_was(tmp_path: Path) -> None:
    """Each state of the files that such a start can leave is one that the next start is right about."""
    folder = tmp_path / "log"
    pair = Pair(folder)
    flow = pair.open_flow()
    for number in range(5):
        pair.journal.append(flow, Operation(number, "query", ""))
    pair.close()
    kept = [(path, path.read_bytes()) for path in (pair.ring, pair.ring.with_suffix(".read"))]
    opened_again(folder)
    length = segment_path(folder, segment_names(folder)[-1]).stat().st_size
    snapshot = tmp_path / "after"
    shutil.copytree(folder, snapshot)
    for size in range(length - 700, length + 1, 11):
        shutil.rmtree(folder)
        shutil.copytree(snapshot, folder)
        for path, data in kept:
            path.write_bytes(data)
        os.truncate(segment_path(folder, segment_names(folder)[-1]), size)
        opened_again(folder)
        assert [entry.operation for entry in entries_of(folder) if isinstance(entry, Operation)] == list(range(5))
        assert len([entry for entry in entries_of(folder) if isinstance(entry, JournalEnd)]) == 1


def test_the_same_descriptors_serve_a_journal_that_is_opened_once_more(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    flow = pair.open_flow()
    pair.journal.append(flow, Operation(1, "query", ""))
    again = Journal([os.dup(descriptor) for descriptor in pair.fds], clock)
    again.begin_flow(flow, 2)
    again.append(flow, Operation(2, "query", ""))
    again.close()
    pair.drain.turn()
    pair.close()
    assert [entry.operation for entry in entries_of(tmp_path) if isinstance(entry, Operation)] == [1, 2]
