"""Whose a request for approval is, as the book of requests sees it (`policy.approvals.Held`): a flow that waits, or a ticket."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from ..policy.approvals import Kept
from ..policy.asks import Answer, Approval, Ask
from ..policy.decide import Decider
from ..policy.judge import Finding, find
from ..policy.judgement import Judgement
from ..policy.requests import NotAllowed, Request
from ..protocols.events import Decision, Operation, Verdict
from ..recorder import entry
from . import hold_messages
from .flows import OpenFlow
from .history import History, Items
from .ledger import LedgerUnavailable

JUDGE_S = 10.0
"""How long a worker may take to say what an approval comes to."""


class By(msgspec.Struct, frozen=True):
    """Who answers."""

    user: str = ""
    uid: int = -1
    """As the kernel tells it; -1 for who has signed in on the page."""
    provider: str = ""
    """Where they have signed in; empty for a UNIX user."""
    groups: tuple[str, ...] = ()
    """Those that the sign-in gives them beside the configuration's."""


def approval_entry(request: Request, verdict: str, operation: int, by: By) -> entry.Approval:
    """What goes on record of an answer, or of an end without one (`by` is nobody)."""
    return entry.Approval(
        request=request.id,
        verdict=verdict,
        user=by.user,
        uid=by.uid,
        operation=operation,
        reason=request.reason,
        provider=by.provider,
        groups=by.groups,
    )


class HoldLeft(msgspec.Struct, frozen=True):
    """A request as one supervisor leaves it to the next."""

    kept: Kept
    flow: int
    """The flow that waits for it; 0 when none does."""
    operation: int
    duties: tuple[tuple[str, str], ...] = ()


async def keep_apart(user: str, duties: Items, history: History) -> None:
    """Raises NotAllowed for a user who has taken part in what must be apart from `duties`."""
    if not duties:
        return
    try:
        why = await history.objection(user, duties)
    except LedgerUnavailable as error:
        raise NotAllowed(f"whether duties are apart can't be told: {error}") from None
    if why:
        raise NotAllowed(f"{user} may not approve it: {why}")


class Waiting:
    """A flow that waits for users. What an approval comes to is asked of its worker, which has the statement."""

    def __init__(self, flow: OpenFlow, operation: int, decider: Decider) -> None:
        """Raises KeyError for an agent or a resource that the policy does not know any more."""
        self.flow = flow
        self.operation = operation
        """Number of the held operation in its flow."""
        self.answering = asyncio.Lock()
        """Held while one user's answer is carried out: the next one counts with it."""
        self.answer: asyncio.Future[hold_messages.Judged] | None = None
        """What the worker is being asked for."""
        self.duties: Items = ()
        """What it exercises if it runs."""
        self.judgement = judgement_of(Verdict.DENY, "nobody has judged it yet", (), ())
        """What the worker said last."""
        self._policy = decider.open(flow.agent, flow.resource)

    @property
    def agent(self) -> str:
        return self.flow.agent

    @property
    def resource(self) -> str:
        return self.flow.resource

    @property
    def owner(self) -> str:
        return self._policy.owner

    def decide(self, operation: Operation, approval: Approval | None = None) -> Judgement:
        """What the worker said of it with these approvals."""
        return self.judgement

    def may_approve(self, user: str, groups: Sequence[str], actions: Sequence[str], escalation: int = 0) -> Answer:
        return self._policy.may_approve(user, groups, actions, escalation)

    async def judge(self, by: tuple[str, ...]) -> None:
        """Have the worker judge the operation with the approval of these users. Raises NotAllowed when it does not."""
        self.answer = asyncio.get_running_loop().create_future()
        self.flow.berth.say(hold_messages.Judge(self.flow.id, self.operation, by))
        try:
            async with asyncio.timeout(JUDGE_S):
                told = await self.answer
        except (TimeoutError, asyncio.CancelledError):
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                # Not the question was called off, but whoever asks: they must not go on to the next.
                raise
            raise NotAllowed("The statement could not be judged with this approval; try again.") from None
        finally:
            self.answer = None
        self.judgement = judgement_of(told.verdict, told.reason, told.policies, told.helped_by)

    def leave(self, kept: Kept) -> HoldLeft:
        """Its request, for the next supervisor."""
        return HoldLeft(kept, self.flow.id, self.operation, tuple(self.duties))


class Ticket(msgspec.Struct, frozen=True):
    """What has to be known of a ticket's operation to ask policy about it without its statement."""

    asks: tuple[Ask, ...]
    flags: tuple[str, ...]
    duties: tuple[tuple[str, str], ...] = ()
    """What it exercises if it runs."""


class OnTicket:
    """An operation that was refused with a ticket.

    Its flow may be gone, so policy is asked here, about the accesses that its worker found in it; when it comes again a worker
    judges it as a whole.
    """

    def __init__(self, agent: str, resource: str, ticket: Ticket, decider: Decider) -> None:
        self.agent = agent
        self.resource = resource
        self.ticket = ticket
        self._decider = decider

    @property
    def owner(self) -> str:
        found = self._decider.policy.document.agents.get(self.agent)
        return found.owner if found is not None else ""

    def decide(self, operation: Operation, approval: Approval | None = None) -> Judgement:
        """What policy says of the accesses with these approvals."""
        policy = self._decider.policy
        if self.agent not in policy.document.agents or self.resource not in policy.document.resources:
            return judgement_of(Verdict.DENY, f"the policy no longer knows agent {self.agent} on {self.resource}", (), ())
        found: Finding = find(
            policy.asker(self.agent),
            self.ticket.asks,
            self.ticket.flags,
            approval,
            lambda actions: policy.approvers.helps(self.agent, self.resource, actions),
        )
        return judgement_of(found.verdict, found.reason, found.policies, found.helped_by)

    def may_approve(self, user: str, groups: Sequence[str], actions: Sequence[str], escalation: int = 0) -> Answer:
        approvers = self._decider.policy.approvers
        return approvers.may_approve(user, groups, self.agent, self.resource, actions, escalation)


def judgement_by(hold: hold_messages.Hold) -> Judgement:
    """What its worker found of a held operation."""
    return Judgement(
        Decision(Verdict.HOLD, policies=hold.policies),
        None,
        accesses=hold.accesses,
        verdicts=(),
        flags=hold.flags,
        summary=hold.summary,
        helped_by=hold.helped_by,
        needs=hold.needs,
        depends=hold.depends,
    )


def judgement_of(verdict: Verdict, reason: str, policies: tuple[str, ...], helped_by: tuple[str, ...]) -> Judgement:
    """A judgement of which only this much is known."""
    decision = Decision(verdict, reason=reason, policies=policies)
    return Judgement(decision, None, accesses=(), verdicts=(), flags=(), summary="", helped_by=helped_by)
