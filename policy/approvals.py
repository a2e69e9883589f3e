"""Held operations that wait for a user's yes or no.

Theory of operation: a request is a state machine (`TRANSITIONS`), and every change goes through `RequestBook._move`. An approval
is bound to one exact operation by its digest and is used up by the one call of `use` that finds it approved. The book does no
I/O and knows no clock: `now` is seconds on any clock that never goes back, the same for all calls.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping
from typing import Protocol

import msgspec

from ..protocols.events import Operation, Verdict
from .asks import Answer, Approval
from .judgement import Judgement

SHOWN_CHARACTERS = 4096
"""Of the statement, once its request is over."""


class State(enum.Enum):
    """Where a request stands."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    USED = "used"


class Event(enum.Enum):
    """What may happen to a request."""

    COLLECT = "collect"
    """A yes that does not suffice alone."""
    APPROVE = "approve"
    DENY = "deny"
    EXPIRE = "expire"
    WITHDRAW = "withdraw"
    USE = "use"


TRANSITIONS: Mapping[tuple[State, Event], State] = {
    (State.PENDING, Event.COLLECT): State.PENDING,
    (State.PENDING, Event.APPROVE): State.APPROVED,
    (State.PENDING, Event.DENY): State.DENIED,
    (State.PENDING, Event.EXPIRE): State.EXPIRED,
    (State.PENDING, Event.WITHDRAW): State.WITHDRAWN,
    (State.APPROVED, Event.USE): State.USED,
    (State.APPROVED, Event.EXPIRE): State.EXPIRED,
    (State.APPROVED, Event.WITHDRAW): State.WITHDRAWN,
}


class RequestError(Exception):
    """A request could not be handled; the text is a sentence for the user."""


class NotAllowed(RequestError):
    """This user's answer does not count, by policy."""


class UnknownRequest(RequestError):
    """There is no such request."""


class AlreadyDecided(RequestError):
    """The request is past this."""


class BookFull(RequestError):
    """As many operations wait as may."""


class Request(msgspec.Struct, frozen=True):
    """One held operation, as the users who decide see it."""

    id: str
    """Short enough to say: ``R-7F3K``."""
    state: State
    agent: str
    owner: str
    process: Mapping[str, object]
    """Facts about the process that opened the flow."""
    resource: str
    session: Mapping[str, object]
    """Database, user, search_path and the other facts that give the statement its meaning."""
    text: str
    """The exact statement while it waits; its beginning afterwards."""
    parameters: tuple[bytes | None, ...]
    """Bound values as sent while it waits; none afterwards."""
    formats: tuple[int, ...]
    """Format codes of the parameters; with `types` what it takes to show them."""
    types: tuple[int, ...]
    prepared: tuple[str, ...]
    """Texts prepared earlier, of which the statement may run any; see `operation_digest`."""
    digest: str
    """SHA-256 in hex of everything that makes the operation this very one."""
    accesses: tuple[str, ...]
    """The accesses that it amounts to."""
    flags: tuple[str, ...]
    policies: tuple[str, ...]
    """Ids of the policies that would permit it once approved."""
    helped_by: tuple[str, ...]
    """Whose approval suffices."""
    summary: str
    filed_at: float
    expires_at: float
    approved_by: tuple[str, ...] = ()
    """Users who said yes, in order."""
    decided_by: str = ""
    """The user whose answer decided it."""
    reason: str = ""
    """What the user said, or why it was withdrawn."""
    rules: tuple[str, ...] = ()
    """Ids of the policies by which the users may answer."""


class Held(Protocol):
    """The flow of a held operation, as the book needs it; see `decide.FlowPolicy`."""

    @property
    def agent(self) -> str: ...

    @property
    def owner(self) -> str: ...

    @property
    def resource(self) -> str: ...

    def decide(self, operation: Operation, approval: Approval | None = None) -> Judgement: ...

    def may_approve(self, user: str, groups: tuple[str, ...], actions: tuple[str, ...]) -> Answer: ...


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


class RequestBook:
    """All requests of this host, bounded: at most `max_held` live ones and `max_over` that are over, oldest dropped first."""

    def __init__(self, *, timeout_s: float, max_held: int, seed: bytes, max_over: int = 500) -> None:
        """`timeout_s`: how long a request lives. `seed`: any bytes that differ from start to start, for the ids."""
        self.timeout_s = timeout_s
        self.max_held = max_held
        self._max_over = max_over
        self._seed = seed
        self._filed = 0
        self._requests: dict[str, Request] = {}
        self._live: dict[str, _Live] = {}

    def file(self, flow: Held, operation: Operation, judgement: Judgement, process: Mapping[str, object], now: float) -> Request:
        """A new pending request for a HOLD judgement. Raises `BookFull`."""
        assert judgement.decision.verdict is Verdict.HOLD
        if len(self._live) >= self.max_held:
            raise BookFull(f"{self.max_held} operations wait for an approval already; this one can't join them.")
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
            expires_at=now + self.timeout_s,
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
    ) -> Request:
        """Record a user's answer; the request comes back approved, denied, or still pending when more approvals are needed.

        `groups`: the user's, as verified. `digest`: of the request as the user saw it. Raises `UnknownRequest`,
        `AlreadyDecided`, `NotAllowed`.
        """
        request = self._pending(request_id, now)
        if digest is not None and digest != request.digest:
            raise NotAllowed(f"{request_id} is not the operation that was shown: its digest is {request.digest}.")
        live = self._live[request_id]
        answer = live.flow.may_approve(user, groups, live.actions)
        if not answer.allowed:
            raise NotAllowed(_not_allowed(request, user, answer))
        rules = tuple(sorted({*request.rules, *answer.policies}))
        if not approve:
            return self._move(request, Event.DENY, decided_by=user, reason=reason, rules=rules)
        if user in request.approved_by:
            raise AlreadyDecided(f"{user} has approved {request_id} already; it needs another user's approval as well.")
        approved_by = (*request.approved_by, user)
        judgement = live.flow.decide(live.operation, Approval(frozenset(approved_by)))
        if judgement.decision.verdict is not Verdict.ALLOW:
            if not judgement.helped_by:
                raise NotAllowed(f"{request_id} is not permitted any more, with or without approval: {judgement.decision.reason}")
            return self._move(request, Event.COLLECT, approved_by=approved_by, reason=reason, rules=rules)
        policies = judgement.decision.policies
        return self._move(
            request, Event.APPROVE, approved_by=approved_by, decided_by=user, reason=reason, rules=rules, policies=policies
        )

    def objection(self, request_id: str, user: str, groups: tuple[str, ...]) -> str:
        """Why the user's answer would not count, in a sentence; empty when it would. Raises `UnknownRequest`."""
        request = self.get(request_id)
        if request.state is not State.PENDING:
            return f"{request_id} is {request.state.value} already."
        live = self._live[request_id]
        answer = live.flow.may_approve(user, groups, live.actions)
        if not answer.allowed:
            return _not_allowed(request, user, answer)
        return f"{user} has approved it already; it needs another user's approval as well." if user in request.approved_by else ""

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
        return [r for r in map(self._requests.__getitem__, self._live) if r.state is State.PENDING]

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
        """Of Crockford's base 32, which has no letters that sound or look alike; longer until it is unique here."""
        self._filed += 1
        number = int.from_bytes(hashlib.sha256(b"%s/%d/%s" % (self._seed, self._filed, digest.encode())).digest())
        letters, name = "0123456789ABCDEFGHJKMNPQRSTVWXYZ", "R-"
        while len(name) < 6 or name in self._requests:
            number, digit = divmod(number, 32)
            name += letters[digit]
        return name


def operation_digest(agent: str, resource: str, operation: Operation, depends: tuple[str, ...] = ()) -> str:
    """SHA-256 over everything that makes the operation this very one, in hex.

    `depends`: texts that give it its meaning beside its own, such as the body of a statement that it executes.
    """
    session = operation.session
    facts = (
        agent,
        resource,
        (session.database, session.user, session.client_encoding, session.standard_conforming_strings, session.search_path),
        (operation.text or "").encode("utf-8", "surrogateescape"),
        operation.parameters,
        operation.formats,
        operation.types,
        depends,
    )
    return hashlib.sha256(msgspec.msgpack.encode(facts)).hexdigest()


def _not_allowed(request: Request, user: str, answer: Answer) -> str:
    if answer.policies:
        named = ", ".join(f'"{policy}"' for policy in answer.policies)
        return f"{user} may not decide {request.id}: forbidden by {named}."
    suffices = f"; {', '.join(request.helped_by)} may" if request.helped_by else ""
    return f"{user} may not decide {request.id}: no policy permits it{suffices}."
