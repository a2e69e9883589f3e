"""Stops: in force at once, kept over whatever comes, lifted only once that is on disk; who may."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from hostguard.agent.ledger import Ledger, LedgerUnavailable
from hostguard.agent.restraint import STEPS
from hostguard.agent.stops import ALL, Stop, Stops
from hostguard.agent.store import Store, T
from hostguard.policy.decide import Policy
from hostguard.policy.document import of_texts
from hostguard.policy.operators import ROOT, may
from hostguard.policy.rules import Source, base_source

STOP = Stop("bot", "carol", 1_764_500_000.0, "it went mad")


class FullDisk(Store):
    """A store whose disk takes nothing any more once `full`."""

    full = False

    async def do(self, work: Callable[[Ledger], T]) -> T:
        await asyncio.sleep(0)
        if self.full:
            raise LedgerUnavailable("the disk is full")
        return await super().do(work)


async def opened(folder: Path) -> tuple[FullDisk, Stops]:
    store = await FullDisk.open(folder / "restraint.sqlite", STEPS)
    assert isinstance(store, FullDisk)
    stops = Stops(store)
    await stops.load()
    return store, stops


def test_the_first_stop_stays_and_is_there_after_whatever_comes(tmp_path: Path) -> None:
    async def play() -> None:
        _, stops = await opened(tmp_path)
        assert stops.of("bot") is None
        assert await stops.add(STOP) == STOP
        assert await stops.add(Stop("bot", "dave", 2.0, "")) == STOP
        # Not closed: as after a kill.
        _, again = await opened(tmp_path)
        assert again.of("bot") == STOP
        said = "agent bot was stopped by carol at 2025-11-30 10:53:20 UTC: it went mad; `hostguard resume bot` lifts that"
        assert again.why("bot") == said
        assert again.why("other") == ""
        await again.add(Stop(ALL, "dave", 3.0, ""))
        assert again.why("other").startswith(
            "all agents of this host were stopped by dave at 1970-01-01 00:00:03 UTC; `hostguard"
        )
        await again.lift("bot")
        _, third = await opened(tmp_path)
        assert third.exactly("bot") is None
        assert third.of("bot") == Stop(ALL, "dave", 3.0, "")
        assert [stop["agent"] for stop in third.facts()] == [ALL]

    asyncio.run(play())


def test_where_the_disk_takes_nothing_a_stop_holds_and_a_resume_does_not(tmp_path: Path) -> None:
    async def play() -> None:
        store, stops = await opened(tmp_path)
        store.full = True
        adding = asyncio.ensure_future(stops.add(STOP))
        await asyncio.sleep(0)
        assert stops.of("bot") == STOP
        with pytest.raises(LedgerUnavailable):
            await adding
        assert stops.of("bot") == STOP
        with pytest.raises(LedgerUnavailable):
            await stops.lift("bot")
        assert stops.of("bot") == STOP

    asyncio.run(play())


POLICIES = """
@id("ops stop and resume workers")
permit (principal in Group::"ops", action == Action::"operate", resource in Role::"worker");
@id("ops stop all") permit (principal in Group::"ops", action == Action::"operate", resource == Host::"this")
when { context.verb == "stop" };
@id("owners leave theirs alone")
forbid (principal, action == Action::"operate", resource is Agent)
when { resource.owner == principal && context.verb == "resume" };
"""
CONFIGURATION = """
[agents.bot]
owner = "alice"
roles = ["worker"]
[agents.other]
owner = "alice"
[users.alice]
groups = ["ops"]
[users.carol]
groups = ["ops"]
"""


@pytest.mark.parametrize(
    ("user", "groups", "agent", "verb", "policies"),
    [
        ("carol", ("ops",), "bot", "stop", "ops stop and resume workers"),
        ("carol", ("ops",), "bot", "resume", "ops stop and resume workers"),
        ("carol", ("ops",), "other", "stop", None),
        ("carol", ("ops",), None, "stop", "ops stop all"),
        ("carol", ("ops",), None, "resume", None),
        ("carol", ("ops",), "forgotten", "resume", None),
        ("carol", (), "bot", "stop", None),
        ("alice", ("ops",), "bot", "stop", "ops stop and resume workers"),
        ("alice", ("ops",), "bot", "resume", None),
        ("root", (ROOT,), None, "resume", "hostguard: root operates"),
        ("root", (ROOT,), "forgotten", "resume", "hostguard: root operates"),
        ("root", (), "bot", "stop", None),
    ],
)
def test_who_may_is_policys_to_say(
    user: str, groups: tuple[str, ...], agent: str | None, verb: str, policies: str | None
) -> None:
    policy = Policy(of_texts("hostguard.toml", CONFIGURATION, [base_source(), Source("p.cedar", POLICIES)]))
    answer = may(policy, user, groups, "operate", agent, {"verb": verb})
    assert answer.allowed == (policies is not None), answer
    if policies is not None:
        assert answer.policies == (policies,)
