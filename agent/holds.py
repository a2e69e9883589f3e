"""Held operations: from the request for approval to its end, whichever it is.

The book of requests is the supervisor's, the operation is its worker's. Who may decide is answered here, by Cedar. Whether an
approval suffices takes the statement, which only a worker reads: it is asked (`Judge`), and judges once more when it carries
the approval out.

A held operation that a grant covers is released by that, and no request is filed. Else it waits, or is refused with a ticket
(`ticketing`), as the policies that would permit it say.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Coroutine, Sequence
from typing import Any

from ..identity.users import Users
from ..policy.approvals import RequestBook
from ..policy.decide import Decider
from ..policy.grants import Grant
from ..policy.issuers import groups_of
from ..policy.requests import AlreadyDecided, BookFull, NotAllowed, Request, Rows, State, UnknownRequest, verdict_of
from ..protocols.events import Verdict
from . import hold_messages
from .announcing import Announcer
from .flows import OpenFlow
from .granting import Granting
from .history import History
from .messages import BadMessage
from .offers import offered
from .records import Records
from .requestview import request_brief, request_facts, request_texts
from .spool import Spool
from .ticketing import Ticketing
from .waiting import By, HoldLeft, Waiting, approval_entry, judgement_by, keep_apart
from .watchers import Watchers

INSUFFICIENT_PRIVILEGE = b"42501"
TICK_S = 0.5
"""How late an expiry may be noticed."""


class Holds:
    """Ties the book of requests to the flows that wait, to grants and tickets, to the log."""

    def __init__(
        self,
        book: RequestBook,
        records: Records,
        decider: Decider,
        history: History,
        granting: Granting,
        ticketing: Ticketing,
        spool: Spool,
        announcer: Announcer,
    ) -> None:
        """`decider`: with the policy in force; of it only who may approve is asked."""
        self._history = history
        self._book = book
        self._records = records
        self._decider = decider
        self.granting = granting
        self._ticketing = ticketing
        self._spool = spool
        self.announcer = announcer
        self._waiting: dict[str, Waiting] = {}
        """By request id."""
        self._trying: dict[str, tuple[OpenFlow, hold_messages.Hold]] = {}
        """Flows for which it is being found out whether a grant covers their operation, by what they hold meanwhile."""
        self._escalated: dict[str, int] = {}
        self._watchers = Watchers()

    @property
    def users(self) -> Users:
        """The configured users."""
        return self.granting.users

    @users.setter
    def users(self, users: Users) -> None:
        self.granting.users = users

    # -- the flow's side ------------------------------------------------------------------------------------------------------

    def file(self, flow: OpenFlow, hold: hold_messages.Hold) -> Coroutine[None, None, None] | None:
        """Have a grant release it, or open a request for approval, and tell the worker.

        Returns what takes time of that, to be run. Raises BadMessage for a flow that waits already.
        """
        if flow.holding:
            raise BadMessage(f"it held two operations of flow {flow.id}")
        try:
            waiting = Waiting(flow, hold.operation.id, self._decider)
        except KeyError:
            refusal = f"the policy no longer knows agent {flow.agent} on {flow.resource}"
            flow.berth.say(hold_messages.Filed(flow.id, hold.operation.id, refusal=refusal))
            return None
        covering = self.granting.covering(flow.agent, flow.resource, hold)
        if not covering:
            self._open(waiting, hold)
            return None
        key = f"flow {flow.id}"
        flow.holding = key
        self._waiting[key] = waiting
        self._trying[key] = flow, hold
        return self._try(key, waiting, hold, covering)

    async def _try(
        self, key: str, waiting: Waiting, hold: hold_messages.Hold, covering: list[tuple[Grant, tuple[str, ...]]]
    ) -> None:
        """Release the operation by the first grant that suffices; without one, open a request."""
        flow = waiting.flow
        for grant, by in covering:
            try:
                await waiting.judge(by)
                enough = waiting.judgement.decision.verdict is Verdict.ALLOW
            except NotAllowed:
                enough = False
            if self._waiting.get(key) is not waiting:
                return
            if not enough or not self.granting.spend(grant, by, flow.id, hold):
                continue
            self._over(key)
            flow.berth.say(hold_messages.Granted(flow.id, hold.operation.id, grant.id, by))
            if grant.request and (used := self._ticketing.used(grant.request)) is not None:
                self._tell(used)
            return
        self._over(key)
        self._open(waiting, hold)

    def stop_trying(self) -> None:
        """Open requests for all operations of which it is not known yet whether a grant covers them."""
        for key, (_, hold) in list(self._trying.items()):
            waiting = self._waiting[key]
            self._over(key)
            self._open(waiting, hold)

    def _open(self, waiting: Waiting, hold: hold_messages.Hold) -> None:
        flow, operation = waiting.flow, hold.operation
        judgement = judgement_by(hold)
        if self._ticketing.wanted(hold.policies):
            filed = self._ticketing.file(flow, hold, judgement)
            flow.berth.say(filed.answer)
            if filed.fresh is not None:
                self._tell(filed.fresh, "filed")
            return
        try:
            request = self._book.file(waiting, operation, judgement, flow.process_facts(), time.time(), number=flow.id)
            self._spool.lighten(self._book, request)
        except (BookFull, OSError) as error:
            flow.berth.say(hold_messages.Filed(flow.id, operation.id, refusal=str(error)))
            return
        flow.holding = request.id
        self._waiting[request.id] = waiting
        waiting.duties = hold.duties
        digest, expires_ns = bytes.fromhex(request.digest), int(request.expires_at * 1e9)
        flow.berth.say(hold_messages.Filed(flow.id, operation.id, request.id, digest, expires_ns))
        self._tell(request, "filed")

    def withdraw(self, flow: OpenFlow, reason: str) -> None:
        """The flow no longer waits; nothing happens when it did not."""
        request_id = flow.holding
        waiting = self._waiting.get(request_id)
        if waiting is None:
            flow.holding = ""
            return
        self._over(request_id)
        if waiting.answer is not None:
            waiting.answer.cancel()
        try:
            request = self._book.withdraw(request_id, reason)
        except (AlreadyDecided, UnknownRequest):
            return
        self._record(waiting.flow.id, waiting.operation, request, "withdrawn")
        self._tell(request, "withdrawn")

    def judged(self, flow: OpenFlow, judged: hold_messages.Judged) -> None:
        """The worker's answer to `Judge`."""
        waiting = self._waiting.get(flow.holding)
        if waiting is None or waiting.answer is None or waiting.answer.done() or waiting.operation != judged.operation:
            return
        waiting.answer.set_result(judged)

    def touched(self, flow: OpenFlow, told: hold_messages.Touched) -> None:
        """How many rows it would touch, for who looks at it from now on."""
        waiting = self._waiting.get(flow.holding)
        if waiting is not None and waiting.operation == told.operation and flow.holding not in self._trying:
            self._book.note(flow.holding, rows=Rows(told.rows, told.counted))

    # -- the next supervisor ----------------------------------------------------------------------------------------------------

    def leave(self) -> list[HoldLeft]:
        """All requests but tickets, which are in their store, for the next supervisor."""
        found = ((kept, self._waiting.get(kept.request.id)) for kept in self._book.leave() if kept.request.mode != "ticket")
        return [waiting.leave(kept) if waiting else HoldLeft(kept, 0, 0) for kept, waiting in found]

    def take_up(self, left: HoldLeft, flow: OpenFlow | None) -> None:
        """Go on with a request of an earlier supervisor's; `flow`: the one that waits for it."""
        kept = left.kept
        if flow is None:
            self._book.take_up(kept, None, "the flow ended")
            return
        try:
            waiting = Waiting(flow, left.operation, self._decider)
        except KeyError:
            reason = f"the policy no longer knows agent {flow.agent} on {flow.resource}"
            request = self._book.take_up(kept, None, reason)
            self._record(flow.id, left.operation, request, "withdrawn")
            self._refuse(flow, left.operation, request, f"request {request.id} was withdrawn: {reason}", "Ask for it anew.")
            return
        waiting.duties = left.duties
        flow.holding = kept.request.id
        self._waiting[flow.holding] = waiting
        self._book.take_up(kept, waiting)

    # -- the users' side ------------------------------------------------------------------------------------------------------

    def user_of(self, uid: int) -> str | None:
        """The configured user of a UNIX uid."""
        return self.users.user_of(uid)

    @property
    def pending(self) -> int:
        """How many requests wait for an answer."""
        return len(self._book.pending())

    def list(self, *, everything: bool) -> list[dict[str, Any]]:
        """Requests as the API shows them, oldest first; of long ones their beginnings."""
        return [request_facts(r) for r in (self._book.requests() if everything else self._book.pending())]

    def show(self, request_id: str) -> dict[str, Any]:
        """One request, whole. Raises UnknownRequest."""
        return request_facts(self._whole(self._book.get(request_id)))

    def briefly(self, *, everything: bool) -> Sequence[dict[str, Any]]:
        """As `list`, of each as much as fits on a line."""
        return [request_brief(r) for r in (self._book.requests() if everything else self._book.pending())]

    def show_to(self, request_id: str, by: By) -> dict[str, Any]:
        """One request with its exact texts, and why this user's answer would not count (`objection`). Raises UnknownRequest.

        `may_issue`: whether their yes may come with a grant.
        """
        request = self._book.get(request_id)
        whole = self._whole(request)
        groups = groups_of(self._decider.policy.document, by.user, by.groups)
        objection = self._book.objection(request_id, by.user, groups, time.time())
        if whole is request and request.mode == "ticket":
            objection = objection or "What it would run can't be read now."
        may_issue = not objection and self.granting.may_offer(request, self._book.needs(request_id), by)
        return {**request_facts(whole), **request_texts(whole), "objection": objection, "may_issue": may_issue}

    def _whole(self, request: Request) -> Request:
        if request.mode == "ticket":
            return self._ticketing.whole(request)
        try:
            return self._spool.whole(request)
        except OSError:
            return request

    def agent_of(self, request_id: str) -> str:
        """Whose it is. Raises UnknownRequest."""
        return self._book.get(request_id).agent

    def may_decide(self, request_id: str, by: By) -> bool:
        """Whether the user may decide the request, now or once it has escalated. Raises UnknownRequest."""
        request, last = self._book.get(request_id), len(self._book.times.escalate_s)
        given = ((by.user, by.groups),)
        return bool(self.granting.who_may((by.user,), request.agent, request.resource, self._book.needs(request_id), last, given))

    async def decide(
        self,
        request_id: str,
        by: By,
        *,
        approve: bool,
        reason: str,
        digest: str,
        uses: int = 1,
        until: float = 0,
    ) -> dict[str, Any]:
        """A user's answer, carried out at once. `uses`, `until` (wall time): more than this once, which takes a grant.

        Raises NotAllowed, UnknownRequest, AlreadyDecided, BookFull, LedgerUnavailable.
        """
        user, request = by.user, self._book.get(request_id)
        if not request.digest.startswith(digest.lower()):
            raise NotAllowed(f"{request_id} is not the operation that you were shown: its digest is {request.digest}.")
        offer = None
        if approve and (uses != 1 or until):
            offer = offered(self.granting, self._whole(request), self._book.needs(request_id), by, uses, until)
        if request.mode == "ticket":
            if approve:
                await keep_apart(user, self._ticketing.duties(request), self._history)
            decided = self._ticketing.decide(request, by, approve, reason, offer)
            self._tell(decided, verdict_of(decided))
            return self._with(decided, offer)
        waiting = self._waiting.get(request_id)
        if waiting is None:
            self._decide(request, by, approve, reason)
            return self.show(request_id)
        async with waiting.answering:
            if approve and self._waiting.get(request_id) is waiting:
                await keep_apart(user, waiting.duties, self._history)
                await waiting.judge((*self._book.get(request_id).approved_by, user))
            request = self._decide(request, by, approve, reason)
            if self._waiting.get(request_id) is waiting:
                self._carry_out(waiting, request, by, offer)
        self._tell(self._book.get(request_id), verdict_of(request))
        return self._with(request, offer)

    def _with(self, decided: Request, offer: Grant | None) -> dict[str, Any]:
        """The request, with the grant that its yes came with."""
        granted = offer.id if offer is not None and decided.state is State.APPROVED else ""
        return {**self.show(decided.id), "grant": granted}

    def owner_of(self, agent: str) -> str:
        """The user who answers for the agent; empty once the policy no longer knows it."""
        facts = self._decider.policy.document.agents.get(agent)
        return facts.owner if facts is not None else ""

    def _decide(self, request: Request, by: By, approve: bool, reason: str) -> Request:
        groups = groups_of(self._decider.policy.document, by.user, by.groups)
        said = (by.user, groups, approve, reason, request.digest)
        return self._book.decide(request.id, *said, now=time.time(), vouched=by.groups)

    def _carry_out(self, waiting: Waiting, request: Request, by: By, offer: Grant | None) -> None:
        self._record(waiting.flow.id, waiting.operation, request, verdict_of(request), by)
        if request.state is State.PENDING:
            return
        flow = self._over(request.id)
        if request.state is State.DENIED:
            reason = f"{by.user} denied request {request.id}" + (f": {request.reason}" if request.reason else "")
            self._refuse(waiting.flow, waiting.operation, request, reason, "Ask the approver before trying again.")
            return
        approval = self._book.use(request.id, request.digest, time.time())
        flow.berth.say(hold_messages.Approved(flow.id, waiting.operation, request.id, tuple(sorted(approval.by))))
        if offer is not None:
            self.granting.put(offer, by)

    def withdraw_ticket(self, request_id: str, by: By, reason: str) -> dict[str, Any]:
        """Take a ticket back. Raises NotAllowed, UnknownRequest, AlreadyDecided, LedgerUnavailable."""
        request = self._book.get(request_id)
        if request.mode != "ticket":
            raise NotAllowed(f"{request_id} is no ticket: it ends with its statement, which its agent can cancel; or deny it.")
        self._tell(self._ticketing.withdraw(request, by, reason), "withdrawn")
        return self.show(request_id)

    def _over(self, request_id: str) -> OpenFlow:
        flow = self._waiting.pop(request_id).flow
        self._trying.pop(request_id, None)
        flow.holding = ""
        return flow

    def _refuse(self, flow: OpenFlow, operation: int, request: Request, reason: str, hint: str) -> None:
        flow.berth.say(hold_messages.Refuse(flow.id, operation, request.id, reason, hint, INSUFFICIENT_PRIVILEGE))

    # -- time -----------------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """End requests whose time is over, tell of those that escalate; runs until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            self._tick(time.time())

    def _tick(self, now: float) -> None:
        for request in self._book.expire(now):
            self._tell(request, "expired")
            waiting = self._waiting.get(request.id)
            if request.mode == "ticket":
                self._ticketing.expired(request)
            elif waiting is not None:
                self._over(request.id)
                self._record(waiting.flow.id, waiting.operation, request, "expired")
                waited = f"request {request.id} was not decided within {request.expires_at - request.asked_at:.0f} s"
                self._refuse(waiting.flow, waiting.operation, request, waited, "Ask an approver to watch `hostguard requests`.")
        levels = {request.id: self._book.escalation(request, now) for request in self._book.pending()}
        for name, level in levels.items():
            if level > self._escalated.get(name, 0):
                self.announcer.tell("escalated", request_facts(self._book.get(name), level))
        self._escalated = levels

    def _record(self, flow: int, operation: int, request: Request, verdict: str, by: By | None = None) -> None:
        self._records.note(flow, approval_entry(request, verdict, operation, by or By()))

    # -- watching -------------------------------------------------------------------------------------------------------------

    def watch(self, ping_s: float) -> AsyncGenerator[dict[str, Any] | None, None]:
        """Open requests, then every request as it changes; None when nothing did for `ping_s` seconds. Raises NotAllowed."""
        return self._watchers.watch(lambda: self.list(everything=False), ping_s)

    def _tell(self, request: Request, what: str = "") -> None:
        """Watchers hear of every change; others of `what` happened."""
        facts = request_facts(request)
        self._watchers.tell(facts)
        if what:
            self.announcer.tell(what, facts)
        if request.state not in (State.PENDING, State.APPROVED):
            self._spool.forget(request.id)
