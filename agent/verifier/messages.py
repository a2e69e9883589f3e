"""What is said between the supervisor, which has root, on one side, the process that verifies tokens on the other.

As between the supervisor and its workers (`agent.messages`): everything that the verifier says has a length here. That a token is
good it says, and is believed. Whose it is it can't say: that is the supervisor's, who knows the process by the kernel.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from ...identity.verified import MAX_TEXT, MAX_TOKEN_BYTES
from ...policy.issuer_sections import Issuer
from ..sandbox.cage import Applied
from ..wording import Message, Text, decoded

MAX_MESSAGE_BYTES = 1 << 20
MAX_KEYS = 256

Number = Annotated[int, msgspec.Meta(ge=0)]
Claim = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
Time = Annotated[float, msgspec.Meta(ge=0, le=1e11)]
Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
Name = Annotated[str, msgspec.Meta(max_length=64)]


class Site(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An issuer, with what the verifier can't read by itself."""

    issuer: Issuer
    ca: bytes
    """PEM: who may vouch for its server; empty for the system's."""
    certificates: bytes
    """PEM: what it signs assertions with; empty for none."""


class Vouched(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an issuer says of the bearer of a token."""

    issuer: Claim
    subject: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT)]
    expires_at: Time
    token_id: Claim
    key: Annotated[str, msgspec.Meta(max_length=128)]
    roles: Annotated[tuple[Name, ...], msgspec.Meta(max_length=1024)]


class Verdict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be said of one token."""

    digest: Digest
    """SHA-256 of it; of a JWT, of what its signature is over."""
    vouched: Vouched | None = None
    fault: Annotated[str, msgspec.Meta(max_length=32)] = ""
    """As `identity.verified.Fault`; empty when somebody vouches."""
    reason: Text = ""


class Published(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of an issuer."""

    issuer: Name
    keys: Annotated[tuple[Annotated[str, msgspec.Meta(max_length=128)], ...], msgspec.Meta(max_length=MAX_KEYS)]
    """Thumbprints of those that something is verified by now; none when they are not known."""
    fetched_at: Time
    """0 when they never were."""
    fault: Text
    """Why they could not be fetched the last time; empty when they could."""


# Supervisor to verifier.


class Begin(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The first message after the cage."""

    sites: dict[str, Site]


class Verify(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """Is this token a good one of that issuer?"""

    id: int
    issuer: str
    token: Annotated[bytes, msgspec.Meta(max_length=MAX_TOKEN_BYTES + 1)]


class Take(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """An agent wants to present a token of one of these issuers; its connection comes along."""

    id: int
    issuers: tuple[str, ...]


class Settled(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The answer to `Presented`: what to say to the agent; empty for yes."""

    id: int
    error: str


class Ping(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """Are you there?"""

    id: int


# Verifier to supervisor.


class Ready(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The cage is closed."""

    applied: Applied


class Answered(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The answer to `Verify`."""

    id: Number
    verdict: Verdict


class Presented(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """What came over the connection of `Take`."""

    id: Number
    issuer: Name
    verdict: Verdict


class Left(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """Nothing came over it."""

    id: Number


class Keys(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """Whenever they were fetched, or could not be."""

    published: Published


class Pong(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The answer to `Ping`."""

    id: Number


ToVerifier = Begin | Verify | Take | Settled | Ping
FromVerifier = Ready | Answered | Presented | Left | Keys | Pong

_encoder = msgspec.msgpack.Encoder()
_to_verifier: msgspec.msgpack.Decoder[ToVerifier] = msgspec.msgpack.Decoder(ToVerifier)
_from_verifier: msgspec.msgpack.Decoder[FromVerifier] = msgspec.msgpack.Decoder(FromVerifier)


def encode(message: msgspec.Struct) -> bytes:
    """The message as it is sent."""
    return _encoder.encode(message)


def to_verifier(data: bytes) -> ToVerifier:
    """What the supervisor said. Raises msgspec.MsgspecError."""
    return decoded(_to_verifier, data)


def from_verifier(data: bytes) -> FromVerifier:
    """What the verifier said. Raises msgspec.MsgspecError: then it is not to be trusted any more."""
    return decoded(_from_verifier, data)
