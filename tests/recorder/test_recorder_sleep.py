"""A drain with nothing to do sleeps until a worker rings: it misses nothing, and waits for nobody that does not ring."""

from __future__ import annotations

import mmap
import select
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from journals import Pair, clock, targets, wait_synced

from hostguard.recorder import drain
from hostguard.recorder.entry import Cancel
from hostguard.recorder.journal import Journal

PAGE = 4096
RINGS_AT, ASLEEP_AT = 8, 64 + 8 + 8 + 4 + 512
"""Places of words in the page that both sides share (``ring.c``, struct control)."""


def word(pair: Pair, at: int, value: int | None = None) -> int:
    """What stands there, after it was set."""
    with mmap.mmap(pair.fds[1], PAGE) as page:
        if value is not None:
            struct.pack_into("=I", page, at, value)
        return int(struct.unpack_from("=I", page, at)[0])


@contextmanager
def drained(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A drain at work that looks at nothing by itself once it sleeps."""
    monkeypatch.setattr(drain, "ASLEEP_S", 60.0)
    thread = threading.Thread(target=pair.drain.run)
    thread.start()
    try:
        yield
    finally:
        pair.drain.stop()
        thread.join()


def sleeps(pair: Pair) -> bool:
    """Whether the drain is asleep within a second, by the words that it shares with the worker."""
    for _ in range(1000):
        if word(pair, ASLEEP_AT):
            return True
        select.select([], [], [], 0.001)
    return False


def test_an_append_wakes_a_drain_that_sleeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(tmp_path)
    flow = pair.open_flow()
    with drained(pair, monkeypatch):
        for number in range(10):
            assert sleeps(pair)
            wait_synced(pair.journal, pair.journal.append(flow, Cancel(number)))
        for number in range(10, 200):  # whenever it falls asleep, an append is not missed
            position = pair.journal.append(flow, Cancel(number))
            if number % 3:
                wait_synced(pair.journal, position)
            select.select([], [], [], number % 7 / 10_000)
        wait_synced(pair.journal, pair.journal.position)
    pair.close()
    assert targets(tmp_path) == list(range(200))


def test_a_journal_that_is_opened_while_the_drain_sleeps_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(tmp_path)
    with drained(pair, monkeypatch):
        assert sleeps(pair)
        handle = pair.drain.open_journal("second", 1 << 16)
        second = Journal(handle.fds, clock)
        wait_synced(second, second.append(0, Cancel(1)))
        second.close()
        pair.drain.end_journal(handle.number, "over")
    pair.close()


def test_a_worker_of_an_earlier_version_rings_nobody_and_is_not_kept_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = Pair(tmp_path)
    flow = pair.open_flow()
    assert word(pair, RINGS_AT) == 1
    word(pair, RINGS_AT, 0)
    with drained(pair, monkeypatch):
        assert not sleeps(pair)
        wait_synced(pair.journal, pair.journal.append(flow, Cancel(1)))
    pair.close()
