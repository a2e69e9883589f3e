"""Held operations, grants and tickets without a daemon: the supervisor's real parts, whose workers are the test.

A worker here is a policy for its flow (`decide.FlowPolicy`), asked when the test delivers the question, so whatever else happens
meanwhile happens in between. The store is real; the clock is the test's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from hostguard.agent import hold_messages, waiting
from hostguard.agent.approving import open_holds
from hostguard.agent.asks import Asks
from hostguard.agent.faults import Faults
from hostguard.agent.flow import Flow
from hostguard.agent.flows import OpenFlow
from hostguard.agent.paths import Paths
from hostguard.agent.restraint import Restraint
from hostguard.agent.waiting import By
from hostguard.identity.paths import Pattern
from hostguard.identity.process import Process
from hostguard.identity.users import UserRule, Users
from hostguard.identity.workload import WorkloadRule
from hostguard.kernel.layouts import Origin
from hostguard.policy.approval_sections import Approvals
from hostguard.policy.asks import Approval
from hostguard.policy.decide import Decider, Policy
from hostguard.policy.document import Document, load
from hostguard.policy.rules import Source, base_source
from hostguard.policy.sections import Limits
from hostguard.policy.web_sections import User
from hostguard.protocols.events import Operation, OperationKind, Session, Verdict
from hostguard.recorder import entry

SHOP = Path(__file__).parents[1] / "examples" / "shop" / "hostguard.toml"
SESSION = Session("shop", "app", search_path=("pg_catalog", "public"))
AGENT, RESOURCE, OWNER = "support-bot", "shop", "alice"
POLICY = """
@id("deletes")
permit (principal, action == Action::"delete", resource) when { context has approval && context.approval.count >= 1 };
@id("two")
permit (principal, action == Action::"update", resource) when { context has approval && context.approval.count >= 2 };
@id("tickets") @hold("ticket")
permit (principal, action == Action::"truncate", resource) when { context has approval && context.approval.count >= 1 };
@id("dba") permit (principal in Group::"dba", action in [Action::"approve", Action::"issue"], resource);
"""
USERS = {"alice": ("dba",), "bob": ("dba",), "bert": ("dba",), "carol": ()}
UIDS = {name: 1000 + number for number, name in enumerate(USERS)}


def document(**sections: object) -> Document:
    """The shop's with these policies, and no tags: its catalog is not known here, so nothing closes for what would be hidden."""
    return msgspec.structs.replace(
        _shop(),
        tags={},
        users={name: User(groups=groups) for name, groups in USERS.items()},
        sources=(base_source(), Source("policies.cedar", POLICY)),
        **sections,
    )


@cache
def _shop() -> Document:
    return load(SHOP)


def policy_of(wanted: Document) -> Policy:
    """Parsed once for all houses of the same configuration: a policy is immutable but for its memory."""
    for known in _policies:
        if known.document == wanted:
            return known
    made = Policy(wanted)
    _policies.append(made)
    return made


_policies: list[Policy] = []
REAL_TIME = time.time
"""The clock of every other test, which a house that ends gives back, whatever happened in it."""
REAL_JUDGE_S = waiting.JUDGE_S
ENDS_S = 2.0
"""How long a cancelled task may take to end; none has anything to wait for."""


class Died(BaseException):
    """Where the supervisor was killed: nothing after it has happened."""


class Worker:
    """What a berth is to the supervisor: told things, which the test looks at."""

    pid = 1

    def __init__(self) -> None:
        self.unreached = False
        """Whether the supervisor dies before it can say anything."""
        self.said: list[hold_messages.Filed | hold_messages.Granted | hold_messages.Approved | hold_messages.Refuse] = []
        self.asked: list[hold_messages.Judge] = []

    def say(self, message: Any, passed: object = None) -> None:
        if self.unreached:
            raise Died
        if isinstance(message, hold_messages.Judge):
            self.asked.append(message)
        else:
            self.said.append(message)


class Book:
    """What the supervisor puts on record."""

    failure = ""

    def __init__(self) -> None:
        self.entries: list[entry.Entry] = []
        self.full = False
        self.unreached = False
        """Whether the supervisor dies before it can write anything."""

    def note(self, flow: int, *entries: entry.Entry) -> bool:
        if self.unreached:
            raise Died
        if not self.full:
            self.entries += entries
        self.failure = "the disk is full" if self.full else ""
        return not self.full


class House:
    """A supervisor's holds with all that is behind them, in an event loop of its own."""

    def __init__(self, folder: Path, approvals: Approvals | None = None, max_held: int = 1000) -> None:
        self.folder = folder
        self.now = 1_000_000.0
        self.document = document(
            approvals=approvals or Approvals(timeout_s=100, ticket_s=200, use_s=50), limits=Limits(max_held=max_held)
        )
        self.decider = Decider(policy_of(self.document))
        self.records, self.faults = Book(), Faults()
        self.flows: dict[int, OpenFlow] = {}
        self._policies: dict[int, Any] = {}
        self._operations: dict[int, Operation] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._answers: list[asyncio.Task[Any]] = []
        self._flow = 0
        self._undo = AsyncExitStack()
        self.loop = asyncio.new_event_loop()
        time.time = lambda: self.now
        waiting.JUDGE_S = 1e9  # of the real clock, which must not matter here
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> House:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        time.time, waiting.JUDGE_S = REAL_TIME, REAL_JUDGE_S
        try:
            self._shut()
        finally:
            self.loop.close()

    def _open(self) -> None:
        users = Users(UserRule(name, (uid,)) for name, uid in UIDS.items())
        paths = Paths(self.folder, self.folder, self.folder)

        async def play() -> None:
            history = (await Restraint.open(paths, self.decider, 1, self._undo)).history
            self.holds = open_holds(
                self.document, paths, self.records, users, self.decider, history, self.faults, None, self._undo, taken_over=False  # type: ignore[arg-type]
            )  # fmt: skip

        self.loop.run_until_complete(play())

    def _shut(self) -> None:
        """End all that runs, at once; what would not end now would go on beside the next supervisor."""

        async def end() -> None:
            running = [task for task in (*self._tasks, *self._answers) if not task.done()]
            self._tasks, self._answers = [], []
            for task in running:
                task.cancel()
            if running:
                await asyncio.wait(running, timeout=ENDS_S)
            await self._undo.aclose()
            assert all(task.done() for task in running), f"cancelled, it goes on: {running}"

        self.run(end())

    def crash(self) -> None:
        """The supervisor ends at this moment; its workers, with their flows, with it. Another starts."""
        self._shut()
        self.flows.clear()
        self.records.unreached = False
        self._open()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    # -- workers ----------------------------------------------------------------------------------------------------------------

    def hold(self, text: str, operation: int = 1) -> OpenFlow:
        """A new flow whose worker finds that this needs an approval."""
        self._flow += 1
        worker = Worker()
        origin = Origin("127.0.0.1", 40000, "127.0.0.1", 1, False, 1, 1, 0, 0, "psql", 1, 1, 1, 1, 1, 1, 1)
        rule, process = WorkloadRule(AGENT, AGENT, Pattern("x")), Process(1, 1, 0, 0, "psql")
        flow = self.flows[self._flow] = OpenFlow(self._flow, origin, process, rule, RESOURCE, worker)  # type: ignore[arg-type]
        asked = Operation(operation, OperationKind.QUERY, text, SESSION)
        policy = self._policies[flow.id] = self.decider.open(AGENT, RESOURCE)
        self._operations[flow.id] = asked
        judgement = policy.decide(asked)
        assert judgement.decision.verdict is Verdict.HOLD, judgement.decision
        said: list[Any] = []
        assert Asks(said.append, 1 << 24).file(Flow(flow.id, AGENT, AGENT, RESOURCE), asked, judgement) is None
        trying = self.holds.file(flow, said[0])
        if trying is not None:
            self._tasks.append(self.loop.create_task(trying))
            self.run(asyncio.sleep(0))
        return flow

    def judge(self, flow: OpenFlow, *, settle: bool = True) -> bool:
        """The worker answers what it was asked last; whether it was asked. `settle`: and the supervisor goes on with that."""
        worker = self.worker(flow)
        if not worker.asked:
            return False
        asked = worker.asked.pop(0)
        said = self._policies[flow.id].decide(self._operations[flow.id], Approval(frozenset(asked.by)))
        decision = said.decision
        told = hold_messages.Judged(flow.id, asked.operation, decision.verdict, "", decision.policies, said.helped_by)
        self.holds.judged(flow, told)
        if settle:
            self.settle()
        return True

    def settle(self) -> None:
        """Let go on what can."""

        async def turn() -> None:
            for _ in range(4):
                await asyncio.sleep(0)

        self.run(turn())
        for task in [task for task in self._tasks if task.done()]:
            self._tasks.remove(task)
            task.result()

    def worker(self, flow: OpenFlow) -> Worker:
        assert isinstance(flow.berth, Worker)
        return flow.berth

    def ask(self, text: str) -> Any:
        """What becomes of an operation that a worker held, questions to it answered."""
        flow = self.hold(text)
        while self.judge(flow):
            pass
        return self.worker(flow).said[-1]

    # -- users ------------------------------------------------------------------------------------------------------------------

    def begin(self, request: str, user: str = "bob", *, approve: bool = True, **terms: Any) -> asyncio.Task[Any]:
        """A user's answer, as far as it goes without a worker's."""
        said = self.holds.decide(request, By(user, UIDS[user]), approve=approve, reason="", digest="", **terms)
        task = self.loop.create_task(said)
        self._answers = [*(answer for answer in self._answers if not answer.done()), task]
        self.settle()
        return task

    def answer(self, request: str, user: str = "bob", *, approve: bool = True, **terms: Any) -> Any:
        """A user's answer, with what a worker has to say of it. Raises what it raises."""
        task = self.begin(request, user, approve=approve, **terms)
        while not task.done():
            asked = [self.judge(flow) for flow in list(self.flows.values())]
            assert any(asked)
        return task.result()
