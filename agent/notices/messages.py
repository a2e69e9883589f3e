"""What is said between the supervisor on one side, the messenger's process on the other."""

from __future__ import annotations

from typing import Annotated

import msgspec

from ..sandbox.cage import Applied, Cage
from ..wording import Count, Message, Text, decoded

MAX_MESSAGE_BYTES = 64 * 1024
"""Of what the messenger says; it has little to say."""


class Begin(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The first message behind the cage: go to work."""


class Post(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """POST this, once; what comes back is worth its status alone."""

    number: int
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    timeout_s: float


class Ping(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """Give a sign of life."""

    number: int


ToMessenger = Begin | Post | Ping


class Ready(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The messenger is caged."""

    cage: Applied


class Posted(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The answer to `Post`: the status, or 0 with the reason why there is none."""

    number: Count
    status: Annotated[int, msgspec.Meta(ge=0, le=999)]
    failure: Text


class Pong(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The answer to `Ping`."""

    number: int


FromMessenger = Ready | Posted | Pong

_encode = msgspec.msgpack.Encoder().encode
_to_messenger: msgspec.msgpack.Decoder[ToMessenger] = msgspec.msgpack.Decoder(ToMessenger)
_from_messenger: msgspec.msgpack.Decoder[FromMessenger] = msgspec.msgpack.Decoder(FromMessenger)


def encode(message: Message | Cage) -> bytes:
    """Its bytes."""
    return _encode(message)


def to_messenger(data: bytes) -> ToMessenger:
    """What the supervisor said. Raises msgspec.MsgspecError."""
    return decoded(_to_messenger, data)


def from_messenger(data: bytes) -> FromMessenger:
    """What the messenger said. Raises msgspec.MsgspecError: then it is not to be trusted any more."""
    return decoded(_from_messenger, data)
