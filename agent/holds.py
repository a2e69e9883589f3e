"""Held operations: from the request for approval to its end, whichever it is.

The book of requests is the supervisor's, the operation is its worker's. Who may decide is answered here, by Cedar. Whether an
approval suffices takes the statement, which only a worker reads: it is asked (`Judge`), and judges once more when it carries
the approval out.
"""

from __future__ import annotations

import asyncio
import pwd
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import msgspec

from ..identity.users import Users
from ..policy.approvals import AlreadyDecided, BookFull, Kept, NotAllowed, Request, RequestBook, State, UnknownRequest
from ..policy.asks import Answer, Approval
from ..policy.decide import Decider
from ..policy.judgement import Judgement
from ..protocols.events import Decision, Operation, Verdict
from ..recorder import entry
from . import messages
from .flows import OpenFlow
from .messages import BadMessage
from .records import Records
from .requestview import request_brief, request_facts, request_texts

INSUFFICIENT_PRIVILEGE = b"42501"
TICK_S = 0.5
"""How late an expiry may be noticed."""
JUDGE_S = 10.0
"""How long a worker may take to say what an approval comes to."""
MAX_WATCHERS = 64
WATCHER_EVENTS = 256
"""Events that wait for a slow watcher; after that it is dropped, and sees so by the end of its stream."""


class Waiting:
    """A flow that waits for users, as the book of requests sees it (`policy.approvals.Held`)."""

    def __init__(self, flow: OpenFlow, operation: int, decider: Decider) -> None:
        self.flow = flow
        self.operation = operation
        """Number of the held operation in its flow."""
        self.answering = asyncio.Lock()
        """Held while one user's answer is carried out: the next one counts with it."""
        self.answer: asyncio.Future[messages.Judged] | None = None
        """What the worker is being asked for."""
        self.judgement = _judgement(Verdict.DENY, "nobody has judged it yet", (), ())
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

    def may_approve(self, user: str, groups: Sequence[str], actions: Sequence[str]) -> Answer:
        return self._policy.may_approve(user, groups, actions)

    async def judge(self, by: tuple[str, ...]) -> None:
        """Have the worker judge the operation with the approval of these users."""
        self.answer = asyncio.get_running_loop().create_future()
        self.flow.berth.say(messages.Judge(self.flow.id, self.operation, by))
        try:
            async with asyncio.timeout(JUDGE_S):
                told = await self.answer
        except (TimeoutError, asyncio.CancelledError):
            raise NotAllowed("The statement could not be judged with this approval; try again.") from None
        finally:
            self.answer = None
        self.judgement = _judgement(told.verdict, told.reason, told.policies, told.helped_by)


def _judgement(verdict: Verdict, reason: str, policies: tuple[str, ...], helped_by: tuple[str, ...]) -> Judgement:
    decision = Decision(verdict, reason=reason, policies=policies)
    return Judgement(decision, None, accesses=(), verdicts=(), flags=(), summary="", helped_by=helped_by)


class _By(msgspec.Struct, frozen=True):
    """Who answers."""

    user: str = ""
    uid: int = -1
    """As the kernel tells it; -1 for who has signed in instead."""
    provider: str = ""
    """Where."""


class HoldLeft(msgspec.Struct, frozen=True):
    """A request as one supervisor leaves it to the next."""

    kept: Kept
    flow: int
    """The flow that waits for it; 0 when none does."""
    operation: int


class Holds:
    """Ties the book of requests to the flows that wait and to the log."""

    def __init__(self, book: RequestBook, records: Records, users: Users, decider: Decider) -> None:
        """`decider`: with the policy in force; of it only who may approve is asked."""
        self._book = book
        self._records = records
        self.users = users
        self._decider = decider
        self._waiting: dict[str, Waiting] = {}
        """By request id."""
        self._watchers: set[asyncio.Queue[dict[str, Any] | None]] = set()

    # -- the flow's side ------------------------------------------------------------------------------------------------------

    def file(self, flow: OpenFlow, hold: messages.Hold) -> None:
        """Open a request for approval, and tell the worker. Raises BadMessage for a flow that waits already."""
        if flow.holding:
            raise BadMessage(f"it held two operations of flow {flow.id}")
        operation = hold.operation
        judgement = Judgement(
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
        try:
            waiting = Waiting(flow, operation.id, self._decider)
            request = self._book.file(waiting, operation, judgement, flow.process_facts(), time.time())
        except BookFull as error:
            flow.berth.say(messages.Filed(flow.id, operation.id, refusal=str(error)))
            return
        except KeyError:
            refusal = f"the policy no longer knows agent {flow.agent} on {flow.resource}"
            flow.berth.say(messages.Filed(flow.id, operation.id, refusal=refusal))
            return
        flow.holding = request.id
        self._waiting[request.id] = waiting
        digest, expires_ns = bytes.fromhex(request.digest), int(request.expires_at * 1e9)
        flow.berth.say(messages.Filed(flow.id, operation.id, request.id, digest, expires_ns))
        self._tell(request)

    def withdraw(self, flow: OpenFlow, reason: str) -> None:
        """The flow no longer waits; nothing happens when it did not."""
        request_id, flow.holding = flow.holding, ""
        waiting = self._waiting.pop(request_id, None)
        if waiting is None:
            return
        if waiting.answer is not None:
            waiting.answer.cancel()
        try:
            request = self._book.withdraw(request_id, reason)
        except (AlreadyDecided, UnknownRequest):
            return
        self._record(waiting.flow, waiting.operation, request, "withdrawn")
        self._tell(request)

    def judged(self, flow: OpenFlow, judged: messages.Judged) -> None:
        """The worker's answer to `Judge`."""
        waiting = self._waiting.get(flow.holding)
        if waiting is None or waiting.answer is None or waiting.answer.done() or waiting.operation != judged.operation:
            return
        waiting.answer.set_result(judged)

    # -- the next supervisor ----------------------------------------------------------------------------------------------------

    def leave(self) -> list[HoldLeft]:
        """All requests, for the next supervisor."""
        found = ((kept, self._waiting.get(kept.request.id)) for kept in self._book.leave())
        return [
            HoldLeft(kept, waiting.flow.id, waiting.operation) if waiting else HoldLeft(kept, 0, 0) for kept, waiting in found
        ]

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
            self._record(flow, left.operation, request, "withdrawn")
            self._refuse(flow, left.operation, request, f"request {request.id} was withdrawn: {reason}", "Ask for it anew.")
            return
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
        """Requests as the API shows them, oldest first."""
        return [request_facts(r) for r in (self._book.requests() if everything else self._book.pending())]

    def show(self, request_id: str) -> dict[str, Any]:
        """One request. Raises UnknownRequest."""
        return request_facts(self._book.get(request_id))

    def briefly(self, *, everything: bool) -> Sequence[dict[str, Any]]:
        """As `list`, of each as much as fits on a line."""
        return [request_brief(r) for r in (self._book.requests() if everything else self._book.pending())]

    def show_to(self, request_id: str, user: str) -> dict[str, Any]:
        """One request with its exact texts, and why this user's answer would not count (`objection`). Raises UnknownRequest."""
        request = self._book.get(request_id)
        objection = self._book.objection(request_id, user, self._groups(user))
        return {**request_facts(request), **request_texts(request), "objection": objection}

    async def decide(self, request_id: str, *, uid: int, approve: bool, reason: str, digest: str) -> dict[str, Any]:
        """As `decide_as`, by a UNIX user."""
        user = self.users.user_of(uid)
        if user is None:
            raise NotAllowed(f"UNIX user {_unix_name(uid)} is no user of hostguard, so it can't decide anything.")
        return await self.decide_as(request_id, user=user, uid=uid, approve=approve, reason=reason, digest=digest)

    async def decide_as(
        self, request_id: str, *, user: str, approve: bool, reason: str, digest: str, uid: int = -1, provider: str = ""
    ) -> dict[str, Any]:
        """A user's answer, carried out at once. `provider`: who vouches for the user, where it is not the kernel by their `uid`.

        Raises NotAllowed, UnknownRequest, AlreadyDecided.
        """
        by = _By(user, uid, provider)
        request = self._book.get(request_id)
        if not request.digest.startswith(digest.lower()):
            raise NotAllowed(f"{request_id} is not the operation that you were shown: its digest is {request.digest}.")
        waiting = self._waiting.get(request_id)
        if waiting is None:
            self._decide(request, user, approve, reason)
            return self.show(request_id)
        async with waiting.answering:
            if approve and self._waiting.get(request_id) is waiting:
                await waiting.judge((*self._book.get(request_id).approved_by, user))
            request = self._decide(request, user, approve, reason)
            if self._waiting.get(request_id) is waiting:
                self._carry_out(waiting, request, by)
        self._tell(self._book.get(request_id))
        return self.show(request_id)

    def _decide(self, request: Request, user: str, approve: bool, reason: str) -> Request:
        return self._book.decide(request.id, user, self._groups(user), approve, reason, request.digest, now=time.time())

    def _groups(self, user: str) -> tuple[str, ...]:
        """Those of the configuration in force; none for a user who is no longer in it."""
        found = self._decider.policy.document.users.get(user)
        return found.groups if found is not None else ()

    def _carry_out(self, waiting: Waiting, request: Request, by: _By) -> None:
        verdict = {State.APPROVED: "approved", State.DENIED: "denied"}.get(request.state, "collected")
        self._record(waiting.flow, waiting.operation, request, verdict, by)
        if request.state is State.PENDING:
            return
        flow = self._over(request.id)
        if request.state is State.DENIED:
            reason = f"{by.user} denied request {request.id}" + (f": {request.reason}" if request.reason else "")
            self._refuse(waiting.flow, waiting.operation, request, reason, "Ask the approver before trying again.")
            return
        approval = self._book.use(request.id, request.digest, time.time())
        flow.berth.say(messages.Approved(flow.id, waiting.operation, request.id, tuple(sorted(approval.by))))

    def _over(self, request_id: str) -> OpenFlow:
        flow = self._waiting.pop(request_id).flow
        flow.holding = ""
        return flow

    def _refuse(self, flow: OpenFlow, operation: int, request: Request, reason: str, hint: str) -> None:
        flow.berth.say(messages.Refuse(flow.id, operation, request.id, reason, hint, INSUFFICIENT_PRIVILEGE))

    # -- time -----------------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """End requests whose time is over; runs until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            for request in self._book.expire(time.time()):
                waiting = self._waiting.get(request.id)
                self._tell(request)
                if waiting is not None:
                    self._over(request.id)
                    self._record(waiting.flow, waiting.operation, request, "expired")
                    waited = f"request {request.id} was not decided within {self._book.timeout_s:.0f} s"
                    self._refuse(
                        waiting.flow, waiting.operation, request, waited, "Ask an approver to watch `hostguard requests`."
                    )

    def _record(self, flow: OpenFlow, operation: int, request: Request, verdict: str, by: _By | None = None) -> None:
        by = by or _By()
        approval = entry.Approval(
            request=request.id,
            verdict=verdict,
            user=by.user,
            uid=by.uid,
            provider=by.provider,
            operation=operation,
            reason=request.reason,
        )
        self._records.note(flow.id, approval)

    # -- watching -------------------------------------------------------------------------------------------------------------

    async def watch(self, ping_s: float) -> AsyncGenerator[dict[str, Any] | None, None]:
        """Open requests, then every request as it changes; None when nothing did for `ping_s` seconds."""
        if len(self._watchers) >= MAX_WATCHERS:
            raise NotAllowed(f"{MAX_WATCHERS} watchers are connected already.")
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue(WATCHER_EVENTS)
        self._watchers.add(queue)
        try:
            for request in self.list(everything=False):
                yield request
            while queue in self._watchers:
                try:
                    yield await asyncio.wait_for(queue.get(), ping_s)
                except TimeoutError:
                    yield None
        finally:
            self._watchers.discard(queue)

    def _tell(self, request: Request) -> None:
        facts = request_facts(request)
        for queue in list(self._watchers):
            try:
                queue.put_nowait(facts)
            except asyncio.QueueFull:
                self._watchers.discard(queue)


def _unix_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
