"""What is said between the supervisor, which has root, on one side, the resolver's process on the other.

As between the supervisor and its workers (`agent.messages`): everything that the resolver says has a length here, and is never
more than a wish. It refers to who asked by the number that the supervisor gave, so that it can't speak in another agent's name.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated

import msgspec

from ...policy.document import Document
from ...recorder.entry import NameAnswered, NameAsked
from ..sandbox.cage import Applied
from ..wording import Message, Text, decoded
from .asker import Asker

MAX_MESSAGE_BYTES = 4 << 20
"""The longest is the record of an answer: a thousand records as text."""
MAX_ADDRESSES = 4096

Number = Annotated[int, msgspec.Meta(ge=0)]
Counts = Annotated[dict[Annotated[str, msgspec.Meta(max_length=64)], Number], msgspec.Meta(max_length=64)]
Addresses = Annotated[tuple[Annotated[str, msgspec.Meta(max_length=64)], ...], msgspec.Meta(max_length=MAX_ADDRESSES)]
Short = Annotated[tuple[Text, ...], msgspec.Meta(max_length=64)]


class AlarmFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A domain below which an agent's questions looked like a tunnel, and were refused."""

    agent: Text
    domain: Text
    flags: Short
    questions: Number
    at: float
    """Wall time of the latest."""


class Figures(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What ``status`` shows of the resolver."""

    upstreams: Short
    failure: Text
    """Why no name server answered the last question; empty when one did."""
    questions: Counts
    upstream: Counts
    cached: Number
    hits: Number
    alarms: Annotated[tuple[AlarmFacts, ...], msgspec.Meta(max_length=64)]


# Supervisor to resolver.


class Begin(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The first message after the cage, and again for a policy that was reloaded."""

    document: Document
    epoch: int


class Told(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The answer to `Who`; no asker for somebody who is not guarded."""

    id: int
    asker: Asker | None


class Recorded(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The answer to `Put`, why the entries are not on record (empty when they are), or to `Learnt`.

    `barred`: why the question must not be answered whatever policy says: its agent is stopped.
    """

    id: int
    failure: str
    barred: str = ""


class Opened(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """A connection to port 53; its socket comes along."""

    asker: Asker


class LookUp(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """Have a resource's name looked up for hostguard itself."""

    id: int
    name: str


class Answer(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """Answer the questions that come to one more UDP socket, which comes along; `Who` calls it by this number."""

    socket: int


class Leave(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """Close that socket: its network namespace is to end."""

    socket: int


class Ping(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """Are you there, and how is it?"""

    id: int


# Resolver to supervisor.


class Ready(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The cage is closed, the resolver answers."""

    applied: Applied


class Who(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """Who sent the datagram that came from there to this socket (0 for IPv4, 1 for IPv6, then as `Answer` says)?"""

    id: int
    socket: Number
    host: Annotated[str, msgspec.Meta(max_length=64)]
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)]


class Put(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """Put these on record; who asked is the one with the number `ref`."""

    id: int
    ref: int
    entries: Annotated[tuple[NameAsked | NameAnswered, ...], msgspec.Meta(min_length=1, max_length=2)]


class Learnt(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """Addresses that the asker with the number `ref` is about to be told for the name; it waits for `Recorded`."""

    id: int
    ref: int
    name: Text
    addresses: Addresses
    ttl_s: Annotated[int, msgspec.Meta(ge=0, le=86_400)]


class Found(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The answer to `LookUp`."""

    id: int
    addresses: Addresses
    failure: Text


class Pong(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The answer to `Ping`."""

    id: int
    figures: Figures


class Crashed(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """A question met a bug of ours."""

    error: Text


ToResolver = Begin | Told | Recorded | Opened | LookUp | Answer | Leave | Ping
FromResolver = Ready | Who | Put | Learnt | Found | Pong | Crashed

_encoder = msgspec.msgpack.Encoder()
_from_resolver: msgspec.msgpack.Decoder[FromResolver] = msgspec.msgpack.Decoder(FromResolver)


@cache
def _to_resolver() -> msgspec.msgpack.Decoder[ToResolver]:
    """Made by those who are told: a whole configuration is in it, whose types take tens of milliseconds to read."""
    return msgspec.msgpack.Decoder(ToResolver)


def encode(message: msgspec.Struct) -> bytes:
    """The message as it is sent."""
    return _encoder.encode(message)


def to_resolver(data: bytes) -> ToResolver:
    """What the supervisor said. Raises msgspec.MsgspecError."""
    return decoded(_to_resolver(), data)


def from_resolver(data: bytes) -> FromResolver:
    """What the resolver said. Raises msgspec.MsgspecError: then it is not to be trusted any more."""
    return decoded(_from_resolver, data)
