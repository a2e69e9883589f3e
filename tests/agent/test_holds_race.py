"""Approvals, grants and tickets in any order, with crashes: whatever happens, nothing is released twice for one permission."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import holding
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from hostguard.agent.flows import OpenFlow
from hostguard.agent.granting import Wanted
from hostguard.agent.grants import Grants
from hostguard.agent.hold_messages import Approved, Granted
from hostguard.policy.grants import Grant
from hostguard.policy.requests import Request, RequestError
from hostguard.recorder import entry

ROWS = st.sampled_from(["DELETE FROM public.notes WHERE id = 1", "TRUNCATE public.notes"])
ANY = st.integers(0, 1000)
WHO = st.sampled_from(["alice", "bob", "bert", "carol"])
FOLDER = "/dev/shm"
"""In memory: a sync to a disk each step would be all that takes time."""
STEPS = int(os.environ.get("HOSTGUARD_RACE_STEPS", "100000"))


class Races(RuleBasedStateMachine):
    """The supervisor's real parts on a real store; the model counts what users allowed against what workers were told."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(dir=FOLDER if Path(FOLDER).is_dir() else None)
        self.house = holding.House(Path(self._folder.name))
        self.texts: dict[int, str] = {}
        self.answers: list[asyncio.Task[Any]] = []
        self.yes: dict[str, set[str]] = {}
        """Requests to the users who said yes, as far as they were told that it counts."""
        self.revoked: set[str] = set()
        self.heard: dict[int, int] = {}
        self.seen = 0
        self.spent: dict[str, int] = {}
        self.uses: dict[str, int] = {}
        self.released: list[int] = []
        self.carried: list[str] = []

    @initialize()
    def begin(self) -> None:
        self.hold("TRUNCATE public.notes")

    @rule(text=ROWS, count=st.integers(1, 3))
    def hold(self, text: str, count: int = 1) -> None:
        for _ in range(count):
            flow = self.house.hold(text)
            self.texts[flow.id] = text
        self.look()

    @precondition(lambda self: any(self.house.worker(flow).asked for flow in self.house.flows.values()))
    @rule(which=ANY)
    def judge(self, which: int) -> None:
        asked = [flow for flow in self.house.flows.values() if self.house.worker(flow).asked]
        self.house.judge(asked[which % len(asked)])
        self.look()

    @precondition(lambda self: self.pending())
    @rule(which=ANY, user=WHO, approve=st.booleans(), uses=st.integers(1, 3), seconds=st.integers(0, 60))
    def answer(self, which: int, user: str, approve: bool, uses: int, seconds: int) -> None:
        request = self.pending()[which % len(self.pending())]
        terms = {"uses": uses, "until": self.house.now + seconds} if approve and seconds > 30 else {}
        task = self.house.begin(request.id, user, approve=approve, **terms)
        self.answers.append(task)
        self.look()

    @rule(text=ROWS, user=WHO, uses=st.integers(1, 2), seconds=st.integers(20, 300), shape=st.booleans())
    def issue(self, text: str, user: str, uses: int, seconds: int, shape: bool) -> None:
        wanted = Wanted(
            agent=holding.AGENT,
            resource=holding.RESOURCE,
            database="shop",
            statement=text,
            uses=uses,
            until=self.house.now + seconds,
            shape=shape,
        )
        try:
            self.house.holds.granting.issue(wanted, user, holding.UIDS[user])
        except RequestError:
            assert user in ("alice", "carol")
        else:
            assert user in ("bob", "bert")

    @precondition(lambda self: self.left())
    @rule(which=ANY)
    def revoke(self, which: int) -> None:
        grant = self.grants()[which % len(self.grants())]
        try:
            self.house.holds.granting.revoke(grant.id, "bob", holding.UIDS["bob"], "")
        except RequestError:
            return
        self.revoked.add(grant.id)

    @precondition(lambda self: self.house.flows)
    @rule(which=ANY)
    def leave(self, which: int) -> None:
        flow = list(self.house.flows.values())[which % len(self.house.flows)]
        self.house.holds.withdraw(flow, "the flow ended")
        self.house.settle()
        self.look()
        del self.house.flows[flow.id]

    @precondition(lambda self: self.pending())
    @rule(which=ANY)
    def take_back(self, which: int) -> None:
        request = self.pending()[which % len(self.pending())]
        try:
            self.house.holds.withdraw_ticket(request.id, user="alice", uid=holding.UIDS["alice"], reason="")
        except RequestError:
            assert request.mode == "wait"

    @rule(seconds=st.sampled_from([1, 3, 10, 60]))
    def wait(self, seconds: int) -> None:
        self.house.now += seconds
        self.house.holds._tick(self.house.now)
        self.look()

    @rule()
    def crash(self) -> None:
        for task in self.answers:
            task.cancel()
        self.look()
        self.house.crash()

    # -- the model --------------------------------------------------------------------------------------------------------------

    def grants(self) -> list[Grant]:
        return self.house.holds.granting.grants.list(self.house.now, everything=True)

    def left(self) -> dict[str, int]:
        """Grants to the uses that the store has left for them."""
        return dict(self.house.holds.granting.grants._ledger.rows("SELECT id, uses_left FROM grants"))

    def pending(self) -> list[Request]:
        return self.house.holds._book.pending()

    def look(self) -> None:
        """Judge what workers were told since the last look, at the time at which they were told it."""
        self.house.settle()
        for task in [task for task in self.answers if task.done()]:
            self.answers.remove(task)
            if not task.cancelled():
                assert task.exception() is None or isinstance(task.exception(), RequestError), task.exception()
        entries = self.house.records.entries
        fresh, self.seen = entries[self.seen :], len(entries)
        for approval in fresh:
            if isinstance(approval, entry.Approval) and approval.verdict in ("approved", "collected"):
                self.yes.setdefault(approval.request, set()).add(approval.user)
        for flow in self.house.flows.values():
            said = self.house.worker(flow).said
            for message in said[self.heard.get(flow.id, 0) :]:
                self.judge_release(flow, message)
            self.heard[flow.id] = len(said)

    def judge_release(self, flow: OpenFlow, message: object) -> None:
        if isinstance(message, Granted):
            grant = next(grant for grant in self.grants() if grant.id == message.grant)
            self.uses[grant.id] = grant.uses
            self.spent[grant.id] = self.spent.get(grant.id, 0) + 1
            assert self.spent[grant.id] <= grant.uses, f"{grant.id} was used {self.spent[grant.id]} times of {grant.uses}"
            assert grant.id not in self.revoked
            assert grant.not_before <= self.house.now < grant.until
            assert set(message.by) <= set(grant.issuers)
            assert grant.statement == self.texts[flow.id] or grant.kind.value == "shape"
        elif isinstance(message, Approved):
            assert message.request not in self.carried
            self.carried.append(message.request)
            assert set(message.by) == self.yes[message.request]
        else:
            return
        assert not {"alice", "carol"} & set(message.by)
        assert flow.id not in self.released, "one operation was released twice"
        self.released.append(flow.id)

    @invariant()
    def the_store_has_counted_every_use(self) -> None:
        left = self.left()
        for name, spent in self.spent.items():
            assert spent <= self.uses[name] - left[name]

    def teardown(self) -> None:
        """Nothing is judged any more: a step that failed would fail again, and leave the house open."""
        try:
            self.house.close()
        finally:
            self._folder.cleanup()


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


def test_nothing_is_released_twice() -> None:
    run(Races, examples=12, steps=40)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_nothing_is_released_twice_in_a_hundred_thousand_steps() -> None:
    run(Races, examples=STEPS // 100, steps=100)


def test_a_use_that_is_not_compared_when_it_is_counted_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the count that was read before the worker was asked were believed."""

    def use(self: Grants, name: str, now: float) -> int:  # noqa: ARG001
        with self._ledger.change() as connection:
            connection.execute("UPDATE grants SET uses_left = max(uses_left - 1, 0) WHERE id = ?", (name,))
        return 0

    def race() -> None:
        """The steps that matter, which the machine comes to by chance: two operations, one use, both judged before one has it."""
        machine = Races()
        try:
            machine.issue("DELETE FROM public.notes WHERE id = 1", "bob", uses=1, seconds=100, shape=False)
            machine.hold("DELETE FROM public.notes WHERE id = 1", 2)
            machine.judge(0)
            machine.judge(0)
            machine.the_store_has_counted_every_use()
        finally:
            machine.teardown()

    race()
    monkeypatch.setattr(Grants, "use", use)
    with pytest.raises(AssertionError, match=r"was used \d times of 1"):
        race()
