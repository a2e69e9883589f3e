"""Approvals, grants and tickets in any order, with crashes, and a model that counts them: a machine that hypothesis drives."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import holding
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hostguard.agent.flows import OpenFlow
from hostguard.agent.granting import Wanted
from hostguard.agent.hold_messages import Approved, Granted, Refuse
from hostguard.agent.waiting import By
from hostguard.policy.requests import Request, RequestError
from hostguard.recorder import entry

DELETE, TRUNCATE = "DELETE FROM public.notes WHERE id = 1", "TRUNCATE public.notes"
UPDATE = "UPDATE public.notes SET text = 'x' WHERE id = 1"
TEXTS = st.sampled_from([DELETE, UPDATE, TRUNCATE])
"""What takes one yes, what takes two, what is refused with a ticket."""
ANY = st.integers(0, 1000)
WHO = st.sampled_from(["bob", "bert", "bob", "bert", "alice", "carol"])
"""Mostly those who may; alice owns the agent, carol is in no group."""
SECONDS = st.sampled_from([1, 10, 50, 100, 300])
"""So few that ends fall together, and that Cedar's answers are known."""
MAX_GRANTS = 3
"""Usable at once: with more, hardly anything would have to wait for an answer."""
FOLDER = "/dev/shm"
"""In memory: a sync to a disk each step would be all that takes time."""
ENDS = (
    "Granted",
    "Approved",
    "Refuse",
    "approved",
    "collected",
    "denied",
    "expired",
    "withdrawn",
    "died in a grant",
    "died in an answer",
)
"""What comes of them."""
KINDS = ("hold", "judge", "judge all", "answer", "issue", "revoke", "leave", "take back", "wait", "crash", "die")
"""The steps of `Races`."""


class Races(RuleBasedStateMachine):
    """The supervisor's real parts on a real store; the model counts what users allowed against what workers were told."""

    counts: ClassVar[Counter[str]] = Counter()
    """Steps of each kind, and what workers were told."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(dir=FOLDER if Path(FOLDER).is_dir() else None)
        self.house = holding.House(Path(self._folder.name))
        self.texts: dict[int, str] = {}
        self.answers: list[asyncio.Task[Any]] = []
        self.yes: dict[str, set[str]] = {}
        """Requests to the users who said yes, as far as they were told that it counts."""
        self.over: set[str] = set()
        """Requests of which it is on record that nobody can say yes to them any more."""
        self.revoked: set[str] = set()
        self.heard: dict[int, int] = {}
        self.seen = 0
        self.spent: dict[str, int] = {}
        self.uses: dict[str, int] = {}
        self.ended: dict[int, object] = {}
        """Flows to what their workers were told of the operation that waited, which is said once."""
        self.carried: list[str] = []

    @initialize()
    def begin(self) -> None:
        self.hold(TRUNCATE)

    @rule(text=TEXTS, count=st.integers(1, 3))
    def hold(self, text: str, count: int = 1) -> None:
        for _ in range(count):
            flow = self.house.hold(text)
            self.texts[flow.id] = text
        self.look("hold")

    @precondition(lambda self: self.asked())
    @rule(which=ANY)
    def judge(self, which: int) -> None:
        asked = self.asked()
        self.house.judge(asked[which % len(asked)])
        self.look("judge")

    @precondition(lambda self: self.asked())
    @rule()
    def judge_all(self) -> None:
        """All workers answer before the supervisor does anything of it."""
        for flow in self.asked():
            self.house.judge(flow, settle=False)
        self.look("judge all")

    @precondition(lambda self: self.pending())
    @rule(which=ANY, user=WHO, approve=st.sampled_from([True, True, False]), uses=st.integers(1, 3), seconds=SECONDS)
    def answer(self, which: int, user: str, approve: bool, uses: int, seconds: int) -> None:
        request = self.pending()[which % len(self.pending())]
        terms = {"uses": uses, "until": self.house.now + seconds} if approve and seconds >= 50 else {}
        task = self.house.begin(request.id, user, approve=approve, **terms)
        self.answers.append(task)
        self.look("answer")

    @precondition(lambda self: self.usable() < MAX_GRANTS)
    @rule(text=TEXTS, user=WHO, uses=st.integers(1, 2), seconds=SECONDS, shape=st.booleans())
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
            self.house.holds.granting.issue(wanted, By(user, holding.UIDS[user]), lambda: [holding.AGENT])
        except RequestError:
            assert user in ("alice", "carol")
        else:
            assert user in ("bob", "bert")
        self.look("issue")

    @precondition(lambda self: self.usable())
    @rule(which=ANY)
    def revoke(self, which: int) -> None:
        grants = self.house.holds.granting.grants.list(self.house.now, everything=False)
        grant = grants[which % len(grants)]
        self.house.holds.granting.revoke(grant.id, By("bob", holding.UIDS["bob"]), "")
        self.revoked.add(grant.id)
        self.look("revoke")

    @precondition(lambda self: self.waits())
    @rule(which=ANY)
    def leave(self, which: int) -> None:
        flow = self.waits()[which % len(self.waits())]
        self.house.holds.withdraw(flow, "the flow ended")
        self.look("leave")
        assert flow.id not in self.ended
        self.ended[flow.id] = "it left"

    @precondition(lambda self: self.pending())
    @rule(which=ANY)
    def take_back(self, which: int) -> None:
        request = self.pending()[which % len(self.pending())]
        try:
            self.house.holds.withdraw_ticket(request.id, By("alice", holding.UIDS["alice"]), "")
        except RequestError:
            assert request.mode == "wait"
        self.look("take back")

    @rule(seconds=st.sampled_from([1, 3, 10, 60]), late=st.booleans())
    def wait(self, seconds: int, late: bool) -> None:
        """`late`: nobody has noticed yet what has expired by then."""
        self.house.now += seconds
        if not late:
            self.house.holds._tick(self.house.now)
        self.look("wait")

    @precondition(lambda self: self.waits())
    @rule()
    def crash(self) -> None:
        self.look("crash")
        self.restart()

    @precondition(lambda self: self.asked())
    @rule(which=ANY, recorded=st.booleans())
    def die(self, which: int, recorded: bool) -> None:
        """The supervisor is killed with what a worker answered: before it puts that on record, or before it tells the worker."""
        flow = self.asked()[which % len(self.asked())]
        self.house.worker(flow).unreached, self.house.records.unreached = recorded, not recorded
        try:
            self.house.judge(flow)
        except holding.Died:
            self.counts["died in a grant"] += 1
        self.look("die")
        self.restart()

    def restart(self) -> None:
        self.house.crash()
        self.answers = []
        # Requests that waited are gone, and others may get their names; tickets stay, with theirs.
        self.yes, self.carried = {}, []
        self.over &= self.house.holds._book.reserved

    # -- the model --------------------------------------------------------------------------------------------------------------

    def asked(self) -> list[OpenFlow]:
        return [flow for flow in self.house.flows.values() if self.house.worker(flow).asked]

    def waits(self) -> list[OpenFlow]:
        return [flow for flow in self.house.flows.values() if flow.holding]

    def usable(self) -> int:
        """How many grants are open."""
        return self.house.holds.granting.grants.count(self.house.now)

    def left(self) -> dict[str, int]:
        """Grants to the uses that the store has left for them."""
        return dict(self.house.holds.granting.grants._ledger.rows("SELECT id, uses_left FROM grants"))

    def pending(self) -> list[Request]:
        return self.house.holds._book.pending()

    def look(self, step: str) -> None:
        """Judge what workers were told since the last look, at the time at which they were told it."""
        self.counts[step] += 1
        self.house.settle()
        for task in [task for task in self.answers if task.done()]:
            self.answers.remove(task)
            self.judge_answer(task.exception())
        entries = self.house.records.entries
        fresh, self.seen = entries[self.seen :], len(entries)
        for approval in fresh:
            if isinstance(approval, entry.Approval):
                self.judge_record(approval)
        for flow in self.house.flows.values():
            said = self.house.worker(flow).said
            for message in said[self.heard.get(flow.id, 0) :]:
                self.judge_release(flow, message)
            self.heard[flow.id] = len(said)

    def judge_answer(self, error: BaseException | None) -> None:
        if isinstance(error, holding.Died):
            self.counts["died in an answer"] += 1
        else:
            assert error is None or isinstance(error, RequestError), error

    def judge_record(self, approval: entry.Approval) -> None:
        self.counts[approval.verdict] += 1
        if approval.verdict in ("approved", "collected"):
            assert approval.request not in self.over, f"{approval.request} was over, and counted all the same"
            self.yes.setdefault(approval.request, set()).add(approval.user)
        else:
            self.over.add(approval.request)

    def judge_release(self, flow: OpenFlow, message: object) -> None:
        if not isinstance(message, Granted | Approved | Refuse):
            return
        assert flow.id not in self.ended, f"it was told {message} after {self.ended[flow.id]}"
        self.ended[flow.id] = message
        self.counts[type(message).__name__] += 1
        if isinstance(message, Refuse):
            return
        if isinstance(message, Granted):
            grant = self.house.holds.granting.grants.get(message.grant)
            self.uses[grant.id] = grant.uses
            self.spent[grant.id] = self.spent.get(grant.id, 0) + 1
            assert self.spent[grant.id] <= grant.uses, f"{grant.id} was used {self.spent[grant.id]} times of {grant.uses}"
            assert grant.id not in self.revoked
            assert grant.not_before <= self.house.now < grant.until
            assert set(message.by) <= set(grant.issuers)
            assert grant.statement == self.texts[flow.id]
        else:
            assert message.request not in self.carried
            self.carried.append(message.request)
            assert set(message.by) == self.yes[message.request]
        assert not {"alice", "carol"} & set(message.by)
        assert len(message.by) >= 1 + (self.texts[flow.id] == UPDATE)

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
