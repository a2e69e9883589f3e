"""Requests for approval: what one holds, the states that it goes through, what can go wrong with it."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping

import msgspec

from ..protocols.events import Operation
from .asks import Answer

SHOWN_CHARACTERS = 4096
"""Of the statement, once its request is over."""
LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Of ids that people say to each other: Crockford's base 32, in which none sound or look alike."""

Vouched = tuple[tuple[str, tuple[str, ...]], ...]
"""Users with the groups that their sign-in gave them, beside those of the configuration, when they said yes."""


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
    REOPEN = "reopen"
    """What was approved does not suffice any more, as was found when it was to be used; it had not been."""


TRANSITIONS: Mapping[tuple[State, Event], State] = {
    (State.PENDING, Event.COLLECT): State.PENDING,
    (State.PENDING, Event.APPROVE): State.APPROVED,
    (State.PENDING, Event.DENY): State.DENIED,
    (State.PENDING, Event.EXPIRE): State.EXPIRED,
    (State.PENDING, Event.WITHDRAW): State.WITHDRAWN,
    (State.APPROVED, Event.USE): State.USED,
    (State.APPROVED, Event.EXPIRE): State.EXPIRED,
    (State.APPROVED, Event.WITHDRAW): State.WITHDRAWN,
    (State.APPROVED, Event.REOPEN): State.PENDING,
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


class Rows(msgspec.Struct, frozen=True):
    """How many rows a held statement would touch, as the server said when it was held."""

    number: int
    counted: bool
    """False: an estimate."""

    def __str__(self) -> str:
        said = f"{self.number} {'row' if self.number == 1 else 'rows'}"
        return said if self.counted else f"about {said} by the server's estimate"


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
    mode: str = "wait"
    """``wait``: its flow waits; ``ticket``: it was refused, and may be asked for again once this is approved."""
    flow: int = 0
    """The flow that asked, with its operation's number."""
    operation: int = 0
    vouched: Vouched = ()
    """The groups that their sign-ins gave those who said yes."""
    asked_at: float = 0.0
    """When the time that it has began: at its filing, anew at each yes. `expires_at` is its end."""
    rows: Rows | None = None
    """None where nobody has asked the server."""


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


def verdict_of(request: Request) -> str:
    """What a user's answer made of it, in the words of its entry."""
    return {State.APPROVED: "approved", State.DENIED: "denied"}.get(request.state, "collected")


def not_allowed(request: Request, user: str, answer: Answer) -> str:
    """Why the user's answer does not count."""
    if answer.policies:
        named = ", ".join(f'"{policy}"' for policy in answer.policies)
        return f"{user} may not decide {request.id}: forbidden by {named}."
    suffices = f"; {', '.join(request.helped_by)} may" if request.helped_by else ""
    return f"{user} may not decide {request.id}: no policy permits it{suffices}."
