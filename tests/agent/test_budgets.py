"""Budgets: lent out, never more than there is, whoever asks, whoever is killed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostguard.agent.budgets import LEAST, SLICES, Budgets, Exhausted
from hostguard.agent.clearance_messages import Lease, Owed
from hostguard.agent.metering import Account
from hostguard.agent.restraint import STEPS
from hostguard.agent.store import Store
from hostguard.policy.decide import Decider, Policy
from hostguard.policy.document import of_texts

CONFIGURATION = """
[agents.bot]
owner = "ann"
[agents.other]
owner = "ann"
[users.ann]
[budgets.all]
window_s = 320
operations = 40
[budgets.reads]
agents = ["bot"]
window_s = 3200
rows = 1000
over = "hold"
"""
WIDTH_S = 320 / SLICES


class Clock:
    """The wall, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def time(self) -> float:
        return self.now

    def monotonic_ns(self) -> int:
        return int(self.now * 1e9)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr("hostguard.agent.budgets.time", found)
    return found


async def opened(folder: Path, workers: int = 1) -> Budgets:
    decider = Decider(Policy(of_texts("hostguard.toml", CONFIGURATION, [])))
    return Budgets(await Store.open(folder / "restraint.sqlite", STEPS), decider, workers)


async def lend(budgets: Budgets, agent: str = "other", *owed: Owed) -> int | str:
    """How many operations are lent, or why none."""
    found = await budgets.draw(agent, owed)
    return found.reason if isinstance(found, Exhausted) else sum(lease.operations or 0 for lease in found)


def test_all_is_lent_once_and_comes_back_when_its_window_is_over(tmp_path: Path, clock: Clock) -> None:
    async def play() -> None:
        budgets = await opened(tmp_path)
        lent = 0
        while isinstance(more := await lend(budgets), int):
            lent += more
        assert lent == 40
        assert more == 'budget "all" of agent other is used up: 40 of 40 operations within 320 s'
        # Another agent has its own; what a kill leaves behind is what was lent.
        budgets = await opened(tmp_path)
        assert isinstance(await lend(budgets, "bot"), int)
        found = await budgets.draw("other", ())
        assert isinstance(found, Exhausted)
        assert (found.policies, found.hold) == (("budget all",), False)
        clock.now += int(found.hint.rpartition("in ")[2].removesuffix(" s.")) - 2 * WIDTH_S - 1
        assert isinstance(await lend(budgets), str)
        clock.now += 2 * WIDTH_S + 1
        assert isinstance(await lend(budgets), int)

    asyncio.run(play())


def test_a_clock_that_goes_back_gives_nothing_back(tmp_path: Path, clock: Clock) -> None:
    async def play() -> None:
        budgets = await opened(tmp_path)
        while isinstance(await lend(budgets), int):
            pass
        clock.now -= 1000
        assert isinstance(await lend(budgets), str)

    asyncio.run(play())


@pytest.mark.usefixtures("clock")
def test_what_is_owed_counts_and_one_budget_closes_all(tmp_path: Path) -> None:
    async def play() -> None:
        budgets = await opened(tmp_path)
        found = await budgets.draw("bot", (Owed("reads", 0, 999, 5),))
        assert not isinstance(found, Exhausted)
        assert [(lease.budget, lease.operations, lease.rows, lease.bytes) for lease in found] == [
            ("all", 5, None, None),
            ("reads", None, 1, None),
        ]
        shut = await budgets.draw("bot", ())
        assert isinstance(shut, Exhausted)
        assert (shut.policies, shut.hold) == (("budget reads",), True)
        facts = {(each["budget"], each["agent"]): each for each in await budgets.facts()}
        assert facts["all", "bot"]["operations"] == {"used": 5, "limit": 40}
        assert facts["reads", "bot"]["rows"] == {"used": 1000, "limit": 1000}
        assert facts["all", "other"]["operations"]["used"] == 0

    asyncio.run(play())


@pytest.mark.usefixtures("clock")
def test_workers_that_race_get_no_more_than_there_is(tmp_path: Path) -> None:
    async def play() -> list[int | str]:
        budgets = await opened(tmp_path, workers=4)
        return list(await asyncio.gather(*(lend(budgets) for _ in range(80))))

    assert sum(each for each in asyncio.run(play()) if isinstance(each, int)) == 40


STEPS_OF_TIME = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 3)), max_size=60)


@settings(max_examples=15, deadline=None)
@given(STEPS_OF_TIME)
def test_no_window_holds_more_than_the_budget(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int]]) -> None:
    clock = Clock()

    async def play() -> list[float]:
        budgets = await opened(tmp_path_factory.mktemp("budgets"))
        account, used = Account(operations=0, rows=None, bytes=None), []
        for wait_s, wanted in steps:
            clock.now += wait_s
            for _ in range(wanted):
                account.expire(clock.monotonic_ns())
                if account.short:
                    found = await budgets.draw("other", (account.owed("all"),))
                    if isinstance(found, Exhausted):
                        continue
                    account.add(found[0])
                account.spend(1, 0, 0)
                used.append(clock.now)
        return used

    with mock.patch("hostguard.agent.budgets.time", clock):
        used = asyncio.run(play())
    for begin in used:
        assert sum(begin <= each < begin + 320 for each in used) <= 40


def test_an_account_spends_owes_and_expires() -> None:
    account = Account(operations=0, rows=0, bytes=None)
    assert account.short
    account.add(Lease("b", 2, LEAST[1], None, 100))
    account.expire(100)
    assert not account.short
    account.spend(1, LEAST[1] + 7, 10**9)
    assert account.overdrawn
    assert account.owed("b") == Owed("b", 0, 7, 0)
    assert not account.overdrawn
    assert account.short
    # What is left of the older lease does not live longer by the new one.
    account.add(Lease("b", 5, 5, None, 200))
    assert account.expires_ns == 100
    account.expire(101)
    assert (account.operations, account.rows, account.bytes) == (0, 0, None)
