"""Approvals, grants and tickets in any order, with crashes: whatever happens, nothing is released twice for one permission."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test
from racing import DELETE, ENDS, KINDS, Races

from hostguard.agent.flows import OpenFlow
from hostguard.agent.grants import Grants
from hostguard.agent.holds import Holds
from hostguard.policy.approvals import RequestBook

STEPS = int(os.environ.get("HOSTGUARD_RACE_STEPS", "100000"))
AT_ONCE = 100
"""Examples of one run of hypothesis, which remembers them all."""
FAST = (Phase.generate, Phase.shrink)
"""Without ``explain``, for which every line would be traced."""


def run(machine: type[RuleBasedStateMachine], examples: int, steps: int, phases: Collection[Phase] = FAST) -> None:
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large]
    wanted = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=checks,
        database=None,
        phases=phases,
    )
    run_state_machine_as_test(machine, settings=wanted)


def steps() -> int:
    return sum(Races.counts[kind] for kind in KINDS)


def test_nothing_is_released_twice() -> None:
    run(Races, examples=12, steps=40)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_nothing_is_released_twice_in_a_hundred_thousand_steps(capsys: pytest.CaptureFixture[str]) -> None:
    Races.counts.clear()
    began = time.process_time()
    while steps() < STEPS:
        run(Races, examples=AT_ONCE, steps=100)
    with capsys.disabled():
        print(f"\n{steps()} steps in {time.process_time() - began:.0f} s of processor time: {dict(Races.counts.most_common())}")
    # Whatever is to be raced has happened, and often.
    assert min(Races.counts[kind] for kind in (*KINDS, *ENDS)) > STEPS // 10_000


def found(race: Callable[[Races], None], match: str, spoil: Callable[[], object]) -> None:
    """The steps that matter, which the machine comes to by chance, fail once something is spoilt, and only then."""

    def play() -> None:
        machine = Races()
        try:
            race(machine)
            machine.the_store_has_counted_every_use()
        finally:
            machine.teardown()

    play()
    spoil()
    with pytest.raises(AssertionError, match=match):
        play()


def test_a_use_that_is_not_compared_when_it_is_counted_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the count that was read before the worker was asked were believed."""

    def use(self: Grants, name: str, now: float) -> int:  # noqa: ARG001
        with self._ledger.change() as connection:
            connection.execute("UPDATE grants SET uses_left = max(uses_left - 1, 0) WHERE id = ?", (name,))
        return 0

    def race(machine: Races) -> None:
        """Two operations, one use, both judged before one has it."""
        machine.issue(DELETE, "bob", uses=1, seconds=100, shape=False)
        machine.hold(DELETE, 2)
        machine.judge_all()

    found(race, r"was used 2 times of 1", lambda: monkeypatch.setattr(Grants, "use", use))


def test_a_use_that_a_crash_gives_back_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if it were counted only once the worker was told: the next thing that is counted takes what is owed with it."""
    owed: dict[Grants, str] = {}

    def use(self: Grants, name: str, now: float) -> int | None:
        before = owed.get(self)
        owed[self] = name
        return count(self, before, now) if before else 0

    def race(machine: Races) -> None:
        machine.issue(DELETE, "bob", uses=1, seconds=100, shape=False)
        for _ in range(2):
            machine.hold(DELETE)
            machine.judge_all()
            machine.restart()

    count = Grants.use
    found(race, r"was used 2 times of 1", lambda: monkeypatch.setattr(Grants, "use", use))


def test_a_yes_that_counts_beside_an_expiry_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if nothing were compared when a request expires while a worker is asked about a yes to it."""

    def over(self: Holds, name: str) -> OpenFlow:
        return self._waiting[name].flow

    def tick(self: Holds, now: float) -> None:
        with monkeypatch.context() as then:
            then.setattr(Holds, "_over", over)
            then.setattr(RequestBook, "expire", lambda book, at: [each for each in book.pending() if each.expires_at <= at])
            real(self, now)

    def spoil() -> None:
        monkeypatch.setattr(Holds, "_tick", tick)
        monkeypatch.setattr(RequestBook, "_pending", lambda self, name, now: self.get(name))  # noqa: ARG005

    def race(machine: Races) -> None:
        machine.hold(DELETE)
        request = next(request for request in machine.pending() if request.mode == "wait")
        machine.answers.append(machine.house.begin(request.id))
        machine.wait(100, late=False)
        machine.judge_all()

    real = Holds._tick
    found(race, "was over, and counted all the same", spoil)
