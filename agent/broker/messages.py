"""What is said between the supervisor on one side, the broker's process on the other.

No message holds a secret in either direction: the broker reads secrets by itself. It is sent what servers say to workers, and so
reads hostile bytes, though few; everything that it says has a length here.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from ...policy.credential_sections import Aws, Credential, ServerTls, Vault
from ..leaves import Leaf
from ..sandbox.cage import Applied
from ..wording import Message, Text, decoded

MAX_MESSAGE_BYTES = 4 << 20
"""The longest is all leaves: some kilobytes for each resource."""
MAX_SAID = 1 << 16
"""Bytes that the broker may have a server hear at once; a password is at most a kilobyte."""

Number = Annotated[int, msgspec.Meta(ge=0)]
Said = Annotated[bytes, msgspec.Meta(max_length=MAX_SAID)]
Pem = Annotated[bytes, msgspec.Meta(max_length=1 << 16)]


class Authority(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One that vouches for hostguard."""

    pem: Pem
    signs: bool
    """Whether leaves come from it now."""
    ends_at: float
    """Seconds since 1970."""


class SecretFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What ``status`` shows of one secret."""

    variant: Text
    source: Annotated[str, msgspec.Meta(max_length=16)]
    """``file``, ``env``, …"""
    read_at: float
    """Seconds since 1970; 0 while it could not be read."""
    failure: Text
    """Why the last attempt failed; empty when it did not."""


# Supervisor to broker.


class Subject(msgspec.Struct, frozen=True):
    """A resource that takes a certificate."""

    resource: str
    dns: tuple[str, ...]
    ips: tuple[str, ...]


class Begin(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The first message after the cage."""

    host: str
    """Name of this host."""
    folder: str
    """Where the authorities are."""
    ca_days: int
    leaf_hours: int
    overlap_hours: int
    subjects: tuple[Subject, ...]
    credentials: dict[str, Credential]
    vault: Vault
    aws: Aws


class LogIn(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """What the server of flow `id` asked; `variant` is the credential that the flow has.

    `begins`: the first thing that it asked. `binding`: the end point of its certificate (RFC 5929 §4.1), or nothing.
    """

    id: int
    variant: str
    begins: bool
    request: bytes
    binding: bytes


class Refused(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The server did not take what was said for flow `id`."""

    id: int


class Forget(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """Flow `id` has ended."""

    id: int


class Carry(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """Speak TLS over the socket that comes along, log in as far as it takes a secret, hand back a socket that takes none."""

    id: int
    variant: str
    mode: ServerTls
    name: str
    """That the server's certificate must be for; empty where no name is verified."""
    roots: str
    """PEM."""


class Running(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The answer to `Run`: what the command says comes through the socket that comes along; none with `failure`."""

    id: int
    failure: str


class Ended(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The command has ended with this code."""

    id: int
    code: int


class Ping(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """Are you there, and how is it?"""

    id: int


# Broker to supervisor.


class Ready(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The cage is closed; secrets were tried to read once, leaves were sent."""

    applied: Applied


class Leaves(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """All certificates, in place of those before."""

    leaves: Annotated[tuple[Leaf, ...], msgspec.Meta(max_length=4096)]
    authorities: Annotated[tuple[Authority, ...], msgspec.Meta(max_length=64)]


class Answered(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """What to say to the server of flow `id`; `done`: it may say now that the login is done."""

    id: int
    say: Said
    done: bool


class Failed(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The login of flow `id` is over, or its link can't be carried: why, in a sentence."""

    id: int
    reason: Text


class Reread(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The answer to `Refused`: whether the secret is another one now."""

    id: int
    changed: bool


class Carried(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The answer to `Carry`; the socket comes along. `how`: the TLS that there is."""

    id: int
    how: Text


class Run(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """Run one of the configured commands, by its place among them (`commands`)."""

    id: int
    command: Number


class Pong(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The answer to `Ping`."""

    id: int
    secrets: Annotated[tuple[SecretFacts, ...], msgspec.Meta(max_length=65_536)]
    failure: Text
    """Why certificates can't be made; empty when they can."""


ToBroker = Begin | LogIn | Refused | Forget | Carry | Running | Ended | Ping
FromBroker = Ready | Leaves | Answered | Failed | Reread | Carried | Run | Pong

_encoder = msgspec.msgpack.Encoder()
_to_broker: msgspec.msgpack.Decoder[ToBroker] = msgspec.msgpack.Decoder(ToBroker)
_from_broker: msgspec.msgpack.Decoder[FromBroker] = msgspec.msgpack.Decoder(FromBroker)


def encode(message: msgspec.Struct) -> bytes:
    """The message as it is sent."""
    return _encoder.encode(message)


def to_broker(data: bytes) -> ToBroker:
    """What the supervisor said. Raises msgspec.MsgspecError."""
    return decoded(_to_broker, data)


def from_broker(data: bytes) -> FromBroker:
    """What the broker said. Raises msgspec.MsgspecError: then it is not to be trusted any more."""
    return decoded(_from_broker, data)
