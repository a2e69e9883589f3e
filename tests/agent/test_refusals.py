"""Refusals on record: the first ones alone, what is repeated counted, and none of it without bounds."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from hostguard.agent import refusals
from hostguard.agent.records import Records
from hostguard.agent.refusals import ALONE, MAX_USERS, Refusals
from hostguard.recorder import entry
from hostguard.recorder.log import Log
from hostguard.recorder.reader import Reader


def noted(folder: Path, *asked: tuple[str, int]) -> list[entry.Replayed]:
    """What is on record a minute after each of these users was refused so often."""

    async def play() -> None:
        kept = Refusals(Records(log))
        for user, times in asked:
            for number in range(times):
                kept.note(entry.Replayed(user=user, recording=number + 1, refused="no policy permits it"))
        await asyncio.sleep(0.05)

    with contextlib.closing(Log(folder, lambda: (1, 1))) as log:
        asyncio.run(play())
    return [one for _, one in Reader(folder).entries((entry.Replayed,)) if isinstance(one, entry.Replayed)]


@pytest.fixture(autouse=True)
def _short_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "MINUTE_S", 0.01)


def test_each_alone_then_the_rest_as_one(tmp_path: Path) -> None:
    found = noted(tmp_path, ("often", ALONE + 5), ("once", 1))
    often = [one for one in found if one.user == "often"]
    assert [(one.count, one.recording) for one in often] == [*((1, number + 1) for number in range(ALONE)), (5, ALONE + 5)]
    assert [one.count for one in found if one.user == "once"] == [1]


def test_as_many_as_have_an_entry_leave_nothing_to_count(tmp_path: Path) -> None:
    assert [one.count for one in noted(tmp_path, ("often", ALONE))] == [1] * ALONE


def test_of_too_many_users_the_last_share_what_nobody_has(tmp_path: Path) -> None:
    found = noted(tmp_path, *((f"user{number}", 1) for number in range(MAX_USERS + ALONE + 3)))
    assert sum(one.count for one in found) == MAX_USERS + ALONE + 3
    assert [one.count for one in found if not one.user] == [1] * ALONE + [3]
