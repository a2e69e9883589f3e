"""Held operations that wait for a user's yes or no.

Theory of operation: a request is a state machine (`TRANSITIONS`), and every change goes through `RequestBook._move`. An approval
is bound to one exact operation by its digest and is used up by the one call of `use` that finds it approved. The book does no
I/O and knows no clock: `now` is seconds on any clock that never goes back, the same for all calls.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from ..protocols.events import Operation, Verdict
from .asks import Answer, Approval
from .judgement import Judgement
from .requests import (
    LETTERS,
    SHOWN_CHARACTERS,
    TRANSITIONS,
    AlreadyDecided,
    BookFull,
    Event,
    NotAllowed,
    Request,
    State,
    UnknownRequest,
    not_allowed,
    operation_digest,
)


class Held(Protocol):
    """The flow of a held operation, as the book needs it; see `decide.FlowPolicy`."""

    @property
    def agent(self) -> str: ...

    @property
    def owner(self) -> str: ...

    @property
    def resource(self) -> str: ...

    def decide(self, operation: Operation, approval: Approval | None = None) -> Judgement: ...

    def may_approve(self, user: str, groups: tuple[str, ...], actions: tuple[str, ...], escalation: int = 0) -> Answer: ...


class _Live(msgspec.Struct):
    """What the book keeps of a request that is not over."""

    flow: Held
    operation: Operation
    actions: tuple[str, ...]


class Kept(msgspec.Struct, frozen=True):
    """A request as one book leaves it to the next."""

    request: Request
    operation: Operation | None
    """The held operation; None when it is over."""
    actions: tuple[str, ...]


class Times(msgspec.Struct, frozen=True):
    """How long requests live, in seconds."""

    timeout_s: float
    """One whose flow waits."""
    ticket_s: float = 86_400
    use_s: float = 3600
    """A ticket, from its approval on."""
    escalate_s: tuple[float, ...] = ()
    """After its filing, when it escalates."""


class RequestBook:
    """All requests of this host, bounded: at most `max_held` that wait, as many tickets of each agent, `max_over` that are over.

    Of these the oldest are dropped first.
    """

    def __init__(self, times: Times, *, max_held: int, seed: bytes, max_over: int = 500) -> None:
        """`seed`: any bytes that differ from start to start, for the ids."""
        self.times = times
        self.max_held = max_held
        self._max_over = max_over
        self._seed = seed
        self._filed = 0
        self._requests: dict[str, Request] = {}
        self._live: dict[str, _Live] = {}
        self.reserved: set[str] = set()
        """Ids that requests of earlier books have."""

    def file(
        self,
        flow: Held,
        operation: Operation,
        judgement: Judgement,
        process: Mapping[str, object],
        now: float,
        *,
        number: int = 0,
        ticket: bool = False,
    ) -> Request:
        """A new pending request for a HOLD judgement. `number`: of the flow. Raises `BookFull`."""
        assert judgement.decision.verdict is Verdict.HOLD
        mode = "ticket" if ticket else "wait"
        alike = [r for r in self._live_requests() if r.mode == mode and (not ticket or r.agent == flow.agent)]
        if len(alike) >= self.max_held:
            raise BookFull(
                f"{flow.agent} has {self.max_held} tickets open already; this one can't join them."
                if ticket
                else f"{self.max_held} operations wait for an approval already; this one can't join them."
            )
        digest = operation_digest(flow.agent, flow.resource, operation, judgement.depends)
        request = Request(
            id=self._new_id(digest),
            state=State.PENDING,
            agent=flow.agent,
            owner=flow.owner,
            process=dict(process),
            resource=flow.resource,
            session=msgspec.structs.asdict(operation.session),
            text=operation.text or "",
            parameters=operation.parameters,
            formats=operation.formats,
            types=operation.types,
            prepared=judgement.depends,
            digest=digest,
            accesses=tuple(f"{action} on {place}" for action, place in judgement.accesses),
            flags=judgement.flags,
            policies=judgement.decision.policies,
            helped_by=judgement.helped_by,
            summary=judgement.summary,
            filed_at=now,
            expires_at=now + (self.times.ticket_s if ticket else self.times.timeout_s),
            mode=mode,
            flow=number,
            operation=operation.id,
            asked_at=now,
        )
        self._requests[request.id] = request
        self._live[request.id] = _Live(flow, operation, judgement.needs)
        return request

    def leave(self) -> list[Kept]:
        """All requests, for a book that is to go on with them; oldest first."""
        live = self._live
        return [
            Kept(request, live[name].operation, live[name].actions) if name in live else Kept(request, None, ())
            for name, request in self._requests.items()
        ]

    def take_up(self, kept: Kept, flow: Held | None, reason: str = "") -> Request:
        """Go on with a request of an earlier book; a live one for which no flow waits is withdrawn for this reason."""
        request = self._requests[kept.request.id] = kept.request
        if kept.operation is None:
            return request
        if flow is None:
            return self._move(request, Event.WITHDRAW, reason=reason)
        self._live[request.id] = _Live(flow, kept.operation, kept.actions)
        return request

    def decide(
        self,
        request_id: str,
        user: str,
        groups: tuple[str, ...],
        approve: bool,
        reason: str = "",
        digest: str | None = None,
        *,
        now: float,
        until: float = 0,
        vouched: tuple[str, ...] = (),
    ) -> Request:
        """Record a user's answer; the request comes back approved, denied, or still pending when more approvals are needed.

        `groups`: the user's, as verified. `digest`: of the request as the user saw it. `until`: how long an approved ticket may
        be used, if not for the usual time. `vouched`: those of the groups that a sign-in gave.
        Raises `UnknownRequest`, `AlreadyDecided`, `NotAllowed`.
        """
        request = self._pending(request_id, now)
        if digest is not None and digest != request.digest:
            raise NotAllowed(f"{request_id} is not the operation that was shown: its digest is {request.digest}.")
        live = self._live[request_id]
        answer = live.flow.may_approve(user, groups, live.actions, self.escalation(request, now))
        if not answer.allowed:
            raise NotAllowed(not_allowed(request, user, answer))
        rules = tuple(sorted({*request.rules, *answer.policies}))
        if not approve:
            return self._move(request, Event.DENY, decided_by=user, reason=reason, rules=rules)
        if user in request.approved_by:
            raise AlreadyDecided(f"{user} has approved {request_id} already; it needs another user's approval as well.")
        approved_by = (*request.approved_by, user)
        given = (*request.vouched, (user, vouched)) if vouched else request.vouched
        judgement = live.flow.decide(live.operation, Approval(frozenset(approved_by)))
        if judgement.decision.verdict is not Verdict.ALLOW:
            if not judgement.helped_by:
                raise NotAllowed(f"{request_id} is not permitted any more, with or without approval: {judgement.decision.reason}")
            lives_s = self.times.ticket_s if request.mode == "ticket" else self.times.timeout_s
            times = {"asked_at": now, "expires_at": now + lives_s}
            return self._move(request, Event.COLLECT, approved_by=approved_by, vouched=given, reason=reason, rules=rules, **times)
        return self._move(
            request,
            Event.APPROVE,
            approved_by=approved_by,
            vouched=given,
            decided_by=user,
            reason=reason,
            rules=rules,
            policies=judgement.decision.policies,
            asked_at=now,
            expires_at=until or now + (self.times.use_s if request.mode == "ticket" else self.times.timeout_s),
        )

    def objection(self, request_id: str, user: str, groups: tuple[str, ...], now: float) -> str:
        """Why the user's answer would not count, in a sentence; empty when it would. Raises `UnknownRequest`."""
        request = self.get(request_id)
        if request.state is not State.PENDING:
            return f"{request_id} is {request.state.value} already."
        live = self._live[request_id]
        answer = live.flow.may_approve(user, groups, live.actions, self.escalation(request, now))
        if not answer.allowed:
            return not_allowed(request, user, answer)
        return f"{user} has approved it already; it needs another user's approval as well." if user in request.approved_by else ""

    def escalation(self, request: Request, now: float) -> int:
        """How often it has escalated."""
        return sum(now >= request.filed_at + after_s for after_s in self.times.escalate_s)

    def snapshot(self, request_id: str) -> tuple[Request, object]:
        """How a request stands, to `restore` it. Raises `UnknownRequest`."""
        return self.get(request_id), self._live.get(request_id)

    def restore(self, snapshot: tuple[Request, object]) -> None:
        """What has happened since could not be kept, so it has not happened."""
        request, live = snapshot
        self._requests[request.id] = request
        if isinstance(live, _Live):
            self._live[request.id] = live

    def discard(self, request_id: str) -> None:
        """The request could not be kept, so there never was one."""
        self._requests.pop(request_id, None)
        self._live.pop(request_id, None)

    def needs(self, request_id: str) -> tuple[str, ...]:
        """The actions of a live request that need the approval; none of one that is over."""
        live = self._live.get(request_id)
        return live.actions if live is not None else ()

    def reopen(self, request_id: str, approved_by: tuple[str, ...], reason: str, now: float) -> Request:
        """An approved ticket does not suffice as it is: users are asked again. `approved_by`: whose yes still counts.

        Raises `UnknownRequest`, `AlreadyDecided`.
        """
        times = {"asked_at": now, "expires_at": now + self.times.ticket_s}
        request = self.get(request_id)
        return self._move(request, Event.REOPEN, approved_by=approved_by, decided_by="", reason=reason, **times)

    def note(self, request_id: str, **changes: object) -> Request:
        """Add to what is known of a request, or let go of what is kept elsewhere; its state stays. Raises `UnknownRequest`."""
        changed = self._requests[request_id] = msgspec.structs.replace(self.get(request_id), **changes)
        live = self._live.get(request_id)
        if live is not None:
            live.operation = msgspec.structs.replace(live.operation, text=changed.text, parameters=changed.parameters)
        return changed

    def use(self, request_id: str, digest: str, now: float) -> Approval:
        """The approval, for the one caller that gets it; the operation is then judged with it once more.

        Raises `AlreadyDecided` unless the request is approved and unused, `NotAllowed` for another operation's digest.
        """
        request = self.get(request_id)
        if digest != request.digest:
            raise NotAllowed(f"{request_id} was approved for another operation.")
        if request.expires_at <= now and (request.state, Event.EXPIRE) in TRANSITIONS:
            request = self._move(request, Event.EXPIRE)
        return Approval(frozenset(self._move(request, Event.USE).approved_by))

    def withdraw(self, request_id: str, reason: str) -> Request:
        """The client no longer waits. Raises `UnknownRequest`, `AlreadyDecided`."""
        return self._move(self.get(request_id), Event.WITHDRAW, reason=reason)

    def expire(self, now: float) -> list[Request]:
        """End the requests whose time is over; those, in the order they were filed."""
        late = [self._requests[name] for name in self._live if self._requests[name].expires_at <= now]
        return [self._move(request, Event.EXPIRE) for request in late]

    def get(self, request_id: str) -> Request:
        """The request, live or over. Raises `UnknownRequest`."""
        found = self._requests.get(request_id)
        if found is None:
            raise UnknownRequest(f"There is no request {request_id}.")
        return found

    def requests(self) -> list[Request]:
        """All that the book holds, oldest first."""
        return list(self._requests.values())

    def pending(self) -> list[Request]:
        """Those that wait for an answer, oldest first."""
        return [r for r in self._live_requests() if r.state is State.PENDING]

    def waits(self, request_id: str) -> bool:
        """Whether it is there, and waits for an answer."""
        request = self._requests.get(request_id)
        return request is not None and request.state is State.PENDING

    def _live_requests(self) -> Sequence[Request]:
        return [self._requests[name] for name in self._live]

    def _pending(self, request_id: str, now: float) -> Request:
        request = self.get(request_id)
        if request.state is State.PENDING and request.expires_at <= now:
            request = self._move(request, Event.EXPIRE)
        if request.state is not State.PENDING:
            by = f" by {request.decided_by}" if request.decided_by else ""
            raise AlreadyDecided(f"{request_id} is {request.state.value}{by} already.")
        return request

    def _move(self, request: Request, event: Event, **changes: object) -> Request:
        """The one place where a state changes: look up, compare, set."""
        assert self._requests[request.id] is request
        state = TRANSITIONS.get((request.state, event))
        if state is None:
            raise AlreadyDecided(f"{request.id} is {request.state.value}: it can't {event.value} any more.")
        moved = msgspec.structs.replace(request, state=state, **changes)
        if not any(before is state for before, _ in TRANSITIONS):
            moved = msgspec.structs.replace(moved, text=request.text[:SHOWN_CHARACTERS], parameters=())
            self._live.pop(request.id, None)
        self._requests[request.id] = moved
        self._drop_oldest()
        return moved

    def _drop_oldest(self) -> None:
        over = len(self._requests) - len(self._live) - self._max_over
        if over > 0:
            for name in [name for name in self._requests if name not in self._live][:over]:
                del self._requests[name]

    def _new_id(self, digest: str) -> str:
        """Of `LETTERS`; longer until it is unique here."""
        self._filed += 1
        number = int.from_bytes(hashlib.sha256(b"%s/%d/%s" % (self._seed, self._filed, digest.encode())).digest())
        name = "R-"
        while len(name) < 6 or name in self._requests or name in self.reserved:
            number, digit = divmod(number, 32)
            name += LETTERS[digit]
        return name
