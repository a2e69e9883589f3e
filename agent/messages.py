"""What is said between the supervisor, which has root, on one side, the workers on the other.

Structs in msgpack, one a message, over a `Channel`. A worker parses hostile bytes, so it may be somebody else's by the time it
speaks: everything in `FromWorker` has a length here, is about a flow that the supervisor gave to this very worker (`Berth` sees
to that), and is never more than a wish. What breaks a rule ends the worker.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any

import msgspec

from ..policy.bearers import UNVERIFIED, Bearer
from ..policy.credential_sections import ServerTls
from ..policy.document import Document
from .clearance_messages import ClearanceAnswer, ClearanceQuestion
from .hold_messages import Approved, Filed, Granted, Hold, Judge, Judged, Refuse, Touched, Withdraw
from .leaves import Leaf, Roots
from .sandbox.cage import Applied, Cage
from .wording import Bytes, Count, Message, Text, decoded

SPARE_BYTES = 1 << 20
"""Of a message, beside what an agent may make long: the text and the parameters of a held operation."""

LATENCIES = 41
"""Buckets of `Latency`."""


def max_from_worker(document: Document) -> int:
    """Bytes of a worker's longest message: a held operation, whose text and parameters may each be as long as may be sent."""
    return 2 * document.limits.max_message_bytes + SPARE_BYTES


# Supervisor to worker.


class Begin(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The first message: what the worker works by."""

    document: Document
    epoch: int
    hash_key: bytes


class Tls(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """What TLS takes, in place of all before: right behind `Begin`, again when a certificate is renewed or roots change.

    A resource without a leaf can't be spoken to by TLS: whoever asks for it is refused.
    """

    leaves: tuple[Leaf, ...]
    roots: tuple[Roots, ...]


class NewFlow(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """A connection of an agent's, on record; its socket comes along. `names`: for which the agent was given its address."""

    flow: int
    agent: str
    workload: str
    resource: str
    user: str = ""
    """Of the server, as whom hostguard logs in by the `credential`; empty where the agent's own login passes through."""
    credential: str = ""
    carried: bool = False
    """The broker speaks with the server."""
    unread: str = ""
    """Where it goes is no resource, and its workload is only observed: why it would have been refused."""
    names: tuple[str, ...] = ()
    bearer: Bearer = UNVERIFIED


class Link(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a worker protects its link to a server."""

    tls: ServerTls
    name: str
    """That the server's certificate must be for (``verify-full``); empty where none is known."""
    direct: bool
    """TLS from the first byte on."""


class Dialled(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The answer to `Dial`; the connected socket comes along when `error` is empty."""

    flow: int
    error: str
    carried: str = ""
    """The TLS that the broker speaks with the server behind this socket; empty where the socket is the server's own."""
    link: Link | None = None
    """The TLS that the worker speaks; None for none."""


class Deliver(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """Say this to the server whose socket comes along, by TLS, and end the flow: its request to cancel another's."""

    flow: int
    request: bytes
    link: Link


class Authenticated(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The answer to `Authenticate`: what to say to the server, and whether it may say now that the login is done."""

    flow: int
    say: bytes
    done: bool


class LoginFailed(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The other answer: why there is no login, in a sentence for the agent."""

    flow: int
    reason: str


class CredentialRead(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The answer to `CredentialRefused`; `changed`: the secret is another one now, so dial again, log in again."""

    flow: int
    changed: bool


class Recall(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """Withdraw what the flow has held, because its client cancelled it over another connection."""

    flow: int
    reason: str
    code: bytes


class End(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """Close the flow. `code`: SQLSTATE, where the agent is to be told the reason."""

    flow: int
    reason: str
    code: bytes = b""


class NewPolicy(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """Another policy is in force from the next operation on."""

    document: Document
    epoch: int


class CatalogChanged(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """A database's catalog is not what it was. Goes both ways: what one worker finds the others hear."""

    resource: Text
    database: Text
    seen: bool
    """True: it was read, and is another. False: a statement that may change it goes out; who begins after this must read it."""


class Ping(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """Report. `flows`: how many of them to describe."""

    number: int
    flows: int = 0


class Stop(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """Withdraw what is held, end what is idle, give the rest this long, then end."""

    grace_s: float


HeldAnswer = Filed | Granted | Approved | Refuse
ToRelay = HeldAnswer | ClearanceAnswer | Recall | Authenticated | LoginFailed | CredentialRead | End
ToWorker = Begin | Tls | NewFlow | Dialled | Deliver | Judge | NewPolicy | CatalogChanged | Ping | Stop | ToRelay

# Worker to supervisor.


class Ready(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The worker is caged and waits for flows."""

    cage: Applied


class Dial(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """Connect the flow to where it was going; once for each flow."""

    flow: int


class Authenticate(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The flow's server asks for a login: the body of its message; the first begins, others go on.

    `binding`: end point of its certificate (RFC 5929 §4.1); nothing without TLS.
    """

    flow: int
    request: Annotated[bytes, msgspec.Meta(max_length=1 << 16)]
    binding: Annotated[bytes, msgspec.Meta(max_length=64)]


class CredentialRefused(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The flow's server did not take the login; once for each flow."""

    flow: int
    code: Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Z]{5}\Z")]
    """SQLSTATE."""


class CancelKey(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The server gave this flow its cancel key."""

    flow: int
    key: Bytes


class Cancel(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """This flow asks to cancel what the flow with that key is doing."""

    flow: int
    key: Bytes
    request: Bytes


class Closed(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The flow has ended, and its record is complete; it gets no message any more."""

    flow: int


class Fault(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """Something unexpected happened in a flow, by whose fault."""

    flow: int
    fault: Annotated[str, msgspec.Meta(pattern=r"^(client|server|unsafe|internal)\Z")]
    reason: Text


class PolicyTaken(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The policy of this epoch is in force here."""

    epoch: int


class FlowFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What only the worker knows of a flow."""

    flow: int
    database: Text
    user: Text
    allowed: Count
    denied: Count
    held: Count
    would_deny: Count = 0
    would_hold: Count = 0


class Report(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The answer to `Ping`: counts since the worker's start."""

    number: int
    allowed: Count
    denied: Count
    held: Count
    added: Annotated[tuple[Count, ...], msgspec.Meta(min_length=LATENCIES, max_length=LATENCIES)]
    """Buckets of the added latency."""
    added_ns: Count
    log_failure: Text
    flows: tuple[FlowFacts, ...]
    would_deny: Count = 0
    would_hold: Count = 0


FromWorker = (
    Ready
    | Dial
    | Authenticate
    | CredentialRefused
    | Hold
    | Withdraw
    | Judged
    | Touched
    | ClearanceQuestion
    | CancelKey
    | Cancel
    | Closed
    | Fault
    | PolicyTaken
    | CatalogChanged
    | Report
)

_encode = msgspec.msgpack.Encoder().encode
_from_worker: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)


@cache
def _to_worker() -> Any:
    """Made by those who are told: a whole configuration is in it, whose types take tens of milliseconds to read."""
    return msgspec.msgpack.Decoder(ToWorker)


class BadMessage(Exception):
    """Bytes that are no message; says why."""


def encode(message: Message | Cage) -> bytes:
    """Its bytes. Raises UnicodeEncodeError for text that is none."""
    return _encode(message)


def to_worker(data: bytes) -> ToWorker:
    """What the supervisor said."""
    message: ToWorker = _to_worker().decode(data)
    return message


def from_worker(data: bytes) -> FromWorker:
    """What a worker said. Raises BadMessage."""
    try:
        return decoded(_from_worker, data)
    except msgspec.DecodeError as error:
        raise BadMessage(f"it sent what is no message: {error}") from None
