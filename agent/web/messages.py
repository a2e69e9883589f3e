"""What is said between the supervisor, which has root, on one side, the web page's process on the other.

As between the supervisor and its workers (`agent.messages`): everything that the page's process says has a length here. Who may
do what is the supervisor's to say. A person is known to it by the key of a session, which is the hash of a secret that only the
browser has; that somebody is who they say is the one thing in which the page's process is believed.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from ...policy.grants import Uses, When
from ...policy.issuer_sections import MAX_GROUPS, Issuer
from ...policy.web_sections import SignIn
from ..sandbox.cage import Applied
from ..wording import Message, Text, decoded

MAX_FROM_WEB_BYTES = 256 * 1024
MAX_TO_WEB_BYTES = 256 << 20
MAX_ADDRESSES = 64

Key = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
"""SHA-256 in hex of the session's secret."""
Number = Annotated[int, msgspec.Meta(ge=0)]
Name = Annotated[str, msgspec.Meta(max_length=64)]
Groups = Annotated[tuple[Name, ...], msgspec.Meta(max_length=MAX_GROUPS)]
Host = Annotated[str, msgspec.Meta(max_length=255)]


class Provider(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where users may sign in."""

    name: str
    issuer: Issuer
    sign_in: SignIn
    secret: str
    """The client's; empty for a public one."""
    roots: str
    """PEM: who may vouch for its server."""
    certificates: str = ""
    """PEM: what a SAML provider signs with."""


# Supervisor to the page's process.


class Begin(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The first message after the cage."""

    public_url: str
    session_s: int
    providers: tuple[Provider, ...]
    serves: bool
    """Whether a listening socket came along."""


class Certificate(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """What new connections are shown from now on, PEM: key, certificate, those between it and its root."""

    pem: bytes


class Entered(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The answer to `Enter`: the session is open, or why not."""

    id: int
    refusal: str = ""


class Told(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The answer to what a session asked."""

    id: int
    status: int
    """As HTTP has it: 200; 401 for no session (any more); 403, 404, 409, 503 with a sentence in `error`."""
    user: str = ""
    provider: str = ""
    until: float = 0.0
    """Wall time at which the session ends."""
    body: bytes = b""
    """JSON."""
    error: str = ""


class Changed(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """A request was filed, or has another state now."""

    request: str
    state: str


class Renewed(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """What one of the other pages lists has changed."""

    page: str


class Found(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The answer to `LookUp`."""

    id: int
    addresses: tuple[str, ...]
    failure: str


class BeginDevice(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """Somebody on the command line wants to sign in at this provider."""

    id: int
    provider: str


class AskDevice(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """Have they?"""

    id: int
    handle: str


class Ping(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """Are you there, and how is it?"""

    id: int


# The page's process to the supervisor.


class Ready(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The cage is closed, the page is served."""

    applied: Applied


class Enter(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The provider vouches for this user: open a session; or, with `fault`, it is on record that somebody was not let in."""

    id: Number
    key: Key
    provider: Name
    user: Name
    subject: Text
    """What the provider calls them."""
    address: Name
    """Where the browser is."""
    fault: Text = ""
    groups: Groups = ()
    """What claims give them."""


class Leave(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The user signs out."""

    key: Key


class Ask(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """What waits, or all that the book holds (`everything`), or one request; grants, or one; who may exercise which duties.

    With ``session`` only who that is.
    """

    id: Number
    key: Key
    what: Annotated[str, msgspec.Meta(pattern=r"^(session|waiting|everything|request|grants|grant|duties)\Z")]
    which: Name = ""
    """Id of the request or the grant."""


class Answer(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The user says yes or no to the request with that digest."""

    id: Number
    key: Key
    request: Name
    approve: bool
    digest: Key
    reason: Text
    uses: Uses = 1
    until: When = 0
    """With `uses`: more than this once, which takes a grant; see `holds.Holds.decide`."""


class OnGrant(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The user ends a grant, or stands for it as well."""

    id: Number
    key: Key
    grant: Name
    verb: Annotated[str, msgspec.Meta(pattern=r"^(revoke|endorse)\Z")]
    reason: Text


class DeviceBegun(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The answer to `BeginDevice`: as `device.Begun`, or why not."""

    id: Number
    handle: Name = ""
    code: Text = ""
    place: Text = ""
    direct: Text = ""
    interval_s: float = 0.0
    until: float = 0.0
    failure: Text = ""


class DeviceAsked(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The answer to `AskDevice`: the user for whom the provider vouches, nobody yet (no `user`), or why it is over."""

    id: Number
    provider: Name = ""
    user: Name = ""
    subject: Text = ""
    failure: Text = ""
    groups: Groups = ()


class LookUp(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """Which addresses a provider's host has."""

    id: Number
    name: Host


class Figures(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What ``status`` shows of the page."""

    watching: Number
    """Browsers that are told of changes."""
    refused: Number
    """Calls that came too often."""
    failures: Annotated[dict[Name, Text], msgspec.Meta(max_length=64)]
    """Providers to why nobody could sign in there last."""


class Pong(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The answer to `Ping`."""

    id: Number
    figures: Figures


class Crashed(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """A call met a bug of ours."""

    error: Text


ToWeb = Begin | Certificate | Entered | Told | Changed | Renewed | Found | BeginDevice | AskDevice | Ping
FromWeb = Ready | Enter | Leave | Ask | Answer | OnGrant | DeviceBegun | DeviceAsked | LookUp | Pong | Crashed

_encoder = msgspec.msgpack.Encoder()
_to_web: msgspec.msgpack.Decoder[ToWeb] = msgspec.msgpack.Decoder(ToWeb)
_from_web: msgspec.msgpack.Decoder[FromWeb] = msgspec.msgpack.Decoder(FromWeb)


def encode(message: msgspec.Struct) -> bytes:
    """The message as it is sent."""
    return _encoder.encode(message)


def to_web(data: bytes) -> ToWeb:
    """What the supervisor said. Raises msgspec.MsgspecError."""
    return decoded(_to_web, data)


def from_web(data: bytes) -> FromWeb:
    """What the page's process said. Raises msgspec.MsgspecError: then it is not to be trusted any more."""
    return decoded(_from_web, data)
