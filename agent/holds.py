"""Held operations: from the request for approval to its end, whichever it is."""

from __future__ import annotations

import asyncio
import pwd
import time
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from ..identity.users import Users
from ..policy.approvals import AlreadyDecided, BookFull, NotAllowed, Request, RequestBook, State, UnknownRequest
from ..policy.decide import Decider
from ..policy.judgement import Judgement
from ..protocols.events import Decision, Operation, Verdict
from ..recorder import entry
from ..recorder.log import Log
from .requestview import request_facts

if TYPE_CHECKING:
    from .relay import Relay

INSUFFICIENT_PRIVILEGE = b"42501"
TICK_S = 0.5
"""How late an expiry may be noticed."""
MAX_WATCHERS = 64
WATCHER_EVENTS = 256
"""Events that wait for a slow watcher; after that it is dropped, and sees so by the end of its stream."""


class Holds:
    """Ties the book of requests to the flows that wait and to the log."""

    def __init__(self, book: RequestBook, log: Log, users: Users, decider: Decider) -> None:
        self._book = book
        self._log = log
        self.users = users
        self._decider = decider
        self._waiting: dict[str, Relay] = {}
        """Request id to the flow that waits for it."""
        self._watchers: set[asyncio.Queue[dict[str, Any] | None]] = set()

    # -- the flow's side ------------------------------------------------------------------------------------------------------

    def file(self, relay: Relay, operation: Operation, judgement: Judgement) -> Decision | None:
        """Open a request for approval and put it on record. None when it waits, else the refusal to carry out."""
        flow = relay.flow
        try:
            request = self._book.file(relay.policy, operation, judgement, flow.process_facts(), time.time())
        except BookFull as error:
            return Decision(Verdict.DENY, reason=str(error), hint="Try again once open requests are decided.")
        refusal = relay.loop.gate.hold(flow, operation, judgement, request)
        if refusal is not None:
            self._book.withdraw(request.id, refusal.reason)
            return refusal
        flow.holding = request.id
        self._waiting[request.id] = relay
        self._tell(request)
        return None

    def withdraw(self, relay: Relay, reason: str) -> None:
        """The flow no longer waits; nothing happens when it did not."""
        request_id, relay.flow.holding = relay.flow.holding, ""
        if self._waiting.pop(request_id, None) is None:
            return
        try:
            request = self._book.withdraw(request_id, reason)
        except (AlreadyDecided, UnknownRequest):
            return
        self._record(relay, request, "withdrawn")
        self._tell(request)

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

    def decide(self, request_id: str, *, uid: int, approve: bool, reason: str, digest: str) -> dict[str, Any]:
        """A user's answer, carried out at once. Raises NotAllowed, UnknownRequest, AlreadyDecided."""
        user = self.users.user_of(uid)
        if user is None:
            raise NotAllowed(f"UNIX user {_unix_name(uid)} is no user of hostguard, so it can't decide anything.")
        request = self._book.get(request_id)
        if not request.digest.startswith(digest.lower()):
            raise NotAllowed(f"{request_id} is not the operation that you were shown: its digest is {request.digest}.")
        groups = self._decider.policy.document.users[user].groups
        request = self._book.decide(request_id, user, groups, approve, reason, request.digest, now=time.time())
        relay = self._waiting.get(request_id)
        if relay is not None:
            self._carry_out(relay, request, user, uid)
        self._tell(self._book.get(request_id))
        return self.show(request_id)

    def _carry_out(self, relay: Relay, request: Request, user: str, uid: int) -> None:
        verdict = {State.APPROVED: "approved", State.DENIED: "denied"}.get(request.state, "collected")
        self._record(relay, request, verdict, user, uid)
        if request.state is State.PENDING:
            return
        del self._waiting[request.id]
        relay.flow.holding = ""
        if request.state is State.DENIED:
            reason = f"{user} denied request {request.id}" + (f": {request.reason}" if request.reason else "")
            relay.refuse(reason, "Ask the approver before trying again.", INSUFFICIENT_PRIVILEGE, request.id)
            return
        approval = self._book.use(request.id, request.digest, time.time())
        relay.approved(approval, request.id)

    # -- time -----------------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """End requests whose time is over; runs until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            for request in self._book.expire(time.time()):
                relay = self._waiting.pop(request.id, None)
                self._tell(request)
                if relay is not None:
                    relay.flow.holding = ""
                    self._record(relay, request, "expired")
                    waited = f"request {request.id} was not decided within {self._book.timeout_s:.0f} s"
                    relay.refuse(waited, "Ask an approver to watch `hostguard requests`.", INSUFFICIENT_PRIVILEGE, request.id)

    def _record(self, relay: Relay, request: Request, verdict: str, user: str = "", uid: int = -1) -> None:
        operation = relay.operation.id if relay.operation is not None else 0
        approval = entry.Approval(
            request=request.id, verdict=verdict, user=user, uid=uid, operation=operation, reason=request.reason
        )
        relay.loop.gate.record(relay.flow, approval)

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
