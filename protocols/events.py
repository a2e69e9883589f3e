"""The vocabulary of what is said on a flow: operations, decisions, reply plans, a conversation's effects.

``policy`` and every conversation share these types and nothing else. They are `msgspec.Struct` rather than dataclasses because
one is made for each message on the data path and a frozen dataclass costs ten times as much to make. All are immutable plain
data: ints, bytes, text, tuples. Nothing in here may grow behaviour that needs a protocol or a policy.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Protocol

import msgspec

from .disclosure import ReplyPlan


class OperationKind(enum.Enum):
    """How the agent asked; the same statement can come in several ways."""

    QUERY = "query"
    """A whole text to run at once (PostgreSQL ``Query``); may hold several statements."""
    PREPARE = "prepare"
    """A text to prepare, not to run yet (PostgreSQL ``Parse``)."""
    EXECUTE = "execute"
    """A prepared text to run with its parameters (PostgreSQL ``Execute`` of a portal)."""
    FUNCTION_CALL = "function_call"
    """A function called by number, without any text (PostgreSQL ``FunctionCall``)."""
    CONNECT = "connect"
    """A session with a server of a certain name, of which no more is seen (TLS ``ClientHello``)."""


class Verdict(enum.Enum):
    """What policy says of an operation."""

    ALLOW = "allow"
    DENY = "deny"
    HOLD = "hold"


class Session(msgspec.Struct, frozen=True):
    """The session facts that give a statement its meaning. Hashable; a new one is made whenever a fact changes."""

    database: str
    user: str
    client_encoding: str = "UTF8"
    standard_conforming_strings: bool = True
    search_path: tuple[str, ...] | None = None
    """Schemas that exist, in look-up order, as ``current_schemas(true)`` tells; None while not certain."""
    server_version: str = ""


class Operation(msgspec.Struct, frozen=True, gc=False):
    """One thing that the agent asks for."""

    id: int
    """Number of the operation in its flow, from 1."""
    kind: OperationKind
    text: str | None
    """The statement as the server will read it; None when it was prepared out of sight."""
    session: Session
    statement: str = ""
    """Name of the prepared statement; empty for the unnamed one."""
    parameters: tuple[bytes | None, ...] = ()
    """Bound values as sent; None is SQL NULL."""
    formats: tuple[int, ...] = ()
    """Format codes of the parameters as sent (0 text, 1 binary): none, one for all, or one each."""
    types: tuple[int, ...] = ()
    """Parameter type OIDs that the client declared, 0 for unspecified."""
    function: int = 0
    """OID of the function of a FUNCTION_CALL."""


class Decision(msgspec.Struct, frozen=True):
    """What policy says of one operation, in a form the conversation can carry out."""

    verdict: Verdict
    reason: str = ""
    """A sentence for the person refused, naming the policy."""
    hint: str = ""
    """What that person can do about it."""
    policies: tuple[str, ...] = ()
    """Ids of the policies that determined the verdict."""
    plan: ReplyPlan | None = None
    """None: the reply passes byte for byte."""
    ends_portals: bool = False
    """The statement ends or rolls back a transaction: portals bound before it are gone."""
    checks_deferred: bool = False
    """What earlier statements of the transaction put off to its end may be checked, or run, by this one."""
    refusal: bytes = b""
    """Code of the refusal in the protocol's terms (PostgreSQL: SQLSTATE); empty for the protocol's default."""
    position: int = 0
    """Character of the text that the refusal points to, from 1; 0 for none."""
    observed: bool = False
    """ALLOW: the flow is only observed, so `plan` tells what would be masked, and nothing is; the rest is what policy said."""


class ReplySummary(msgspec.Struct, frozen=True):
    """What came back for one operation; never the values."""

    status: str
    """``ok``, ``error``, ``suspended``, ``skipped`` (the server never ran it) or ``lost`` (the connection ended first)."""
    tag: str = ""
    """The server's completion tag (``SELECT 3``) or, on an error, its code (``42P01``)."""
    rows: int = 0
    bytes: int = 0
    """Payload bytes of rows and COPY data, both directions."""
    columns: tuple[str, ...] = ()
    masked: tuple[str, ...] = ()
    """Names of the columns that were masked."""
    tags: tuple[str, ...] = ()
    """Tags that asked for these masks; a computed column is masked without one."""
    would_mask: tuple[str, ...] = ()
    """Of an observed operation: names of the columns that would have been masked, ``*`` for values that have no columns."""


# What a conversation asks its owner to do, in order. The owner does each at once, or queues it behind backpressure.


class ToServer(msgspec.Struct, frozen=True, gc=False):
    data: bytes


class ToClient(msgspec.Struct, frozen=True, gc=False):
    data: bytes


class Ask(msgspec.Struct, frozen=True, gc=False):
    """Judge this operation, put it on record, and call `Conversation.resume`. Later client bytes wait meanwhile."""

    operation: Operation


class Replied(msgspec.Struct, frozen=True, gc=False):
    """The operation's reply is complete."""

    operation_id: int
    summary: ReplySummary
    captured: bytes = b""
    """The reply's rows as the client got them, in whole messages of the protocol; empty when they are not to be kept."""
    left_out: int = 0
    """Bytes of further messages that went to the client: the reply was longer than what is to be kept."""


class Withdrawn(msgspec.Struct, frozen=True, gc=False):
    """The client no longer wants the operation that was asked about; no decision is expected any more."""

    operation_id: int
    reason: str


class Started(msgspec.Struct, frozen=True, gc=False):
    """Start-up parameters are known; nothing was forwarded yet (the record comes first)."""

    session: Session
    parameters: Mapping[str, str]
    """Start-up parameters as sent (user, database, application_name, …); never a secret."""


class Ready(msgspec.Struct, frozen=True, gc=False):
    """The server has authenticated the session; a first probe may run now, before the client is told."""

    session: Session


class Terms(msgspec.Struct, frozen=True, gc=False):
    """A query of our own that takes a statement's bound values; it may write nothing, and has only so long."""

    limit_ms: int
    parameters: tuple[bytes | None, ...] = ()
    formats: tuple[int, ...] = ()
    """As in `Operation`, and so are `types`."""
    types: tuple[int, ...] = ()


class Probed(msgspec.Struct, frozen=True, gc=False):
    """The answer to `Conversation.probe`."""

    name: str
    rows: list[tuple[bytes | None, ...]]
    error: str = ""


class CancelKey(msgspec.Struct, frozen=True, gc=False):
    """The server gave this flow its cancel key (process id and secret as they stand in BackendKeyData)."""

    key: bytes


class CancelRequested(msgspec.Struct, frozen=True, gc=False):
    """This flow is a request to cancel the query of the flow that holds `key`; nothing was forwarded.

    The owner ends the flow once the request has reached the server: a client waits for that before its next statement.
    """

    key: bytes
    request: bytes
    """The whole packet, to send to that flow's server if the key is known."""


class Authenticate(msgspec.Struct, frozen=True, gc=False):
    """The server asks for a login, which is hostguard's to give. Have it answered by who has the secret, and call
    `Conversation.authenticated`; what the server says meanwhile waits."""

    request: bytes
    """As the server put it (PostgreSQL: the body of an Authentication message)."""


class CredentialRefused(msgspec.Struct, frozen=True, gc=False):
    """The server would not take hostguard's credential. If not `again`, the flow ends by itself. Else let go of that connection,
    then call `Conversation.start` with another if the secret has changed meanwhile, or `Conversation.terminate` with this."""

    reason: str
    """A sentence for the agent."""
    code: bytes
    """The server's code for it."""
    words: str
    """The server's own, for the record."""
    again: bool
    """Another secret could help. Once in a flow at most."""


class Encrypt(msgspec.Struct, frozen=True, gc=False):
    """The client speaks TLS from here on: begin it, and call `Conversation.client_encrypted` when it is there. What the
    conversation hears after this is what was inside of it."""

    answer: bytes
    """What the client is to hear first, in the clear; empty for one that began by itself and must say which protocol it means."""
    data: bytes
    """What came of it already."""


class Reach(msgspec.Struct, frozen=True, gc=False):
    """Connect to the server already, then call `Conversation.reached`: what the client asks first only the server can answer."""


class Opaque(msgspec.Struct, frozen=True, gc=False):
    """An observed flow can't be read from here on. Put that on record, then let these bytes and all others pass as they come.

    The conversation is over with this; the owner has another (`opaque.Passage`) in its place.
    """

    reason: str
    fault: str = ""
    """As of `Close`: what would have ended the flow."""
    to_server: bytes = b""
    """What the client sent and the server has not got yet."""
    to_client: bytes = b""


class Settled(msgspec.Struct, frozen=True, gc=False):
    """All that can be asked about this flow was asked, allowed, put on record: let these bytes and all others pass as they come.

    The conversation is over with this; the owner has another (`opaque.Passage`) in its place.
    """

    to_server: bytes = b""
    """What the client sent and the server has not got yet."""
    to_client: bytes = b""


class Close(msgspec.Struct, frozen=True, gc=False):
    """End both sides once the bytes before this are out."""

    reason: str
    fault: str = ""
    """Empty for an ordinary end; ``client`` or ``server`` when that peer broke the protocol; ``unsafe`` when what was
    asked would take the flow out of sight."""


Logins = Authenticate | CredentialRefused
Openings = Encrypt | Reach
Ends = Opaque | Settled | Close
Effect = (
    ToServer
    | ToClient
    | Ask
    | Replied
    | Withdrawn
    | Started
    | Ready
    | Probed
    | CancelKey
    | CancelRequested
    | Openings
    | Logins
    | Ends
)


class Conversation(Protocol):
    """The protocol state machine of one flow: bytes and decisions in, effects out; no I/O, no clock."""

    def from_client(self, data: bytes) -> list[Effect]: ...

    def from_server(self, data: bytes) -> list[Effect]: ...

    def client_closed(self) -> list[Effect]: ...

    def server_closed(self) -> list[Effect]: ...

    def resume(self, operation_id: int, decision: Decision) -> list[Effect]:
        """Carry out ALLOW or DENY for the operation that was asked about; HOLD is the owner's to wait out."""
        ...

    def observe(self, observed: bool) -> None:
        """Whether the flow is only observed: then what can't be read ends in `Opaque`, not in a refusal."""
        ...

    def client_encrypted(self, binding: bytes | None) -> None:
        """The client's bytes came through TLS. `binding`: ``tls-server-end-point`` of the certificate that it was shown."""
        ...

    def server_encrypted(self) -> None:
        """The server's bytes come through TLS."""
        ...

    def reached(self) -> list[Effect]:
        """The answer to `Reach`: the server is there. Nothing when that was not asked for."""
        ...

    def start(self) -> list[Effect]:
        """Forward the start-up packet that `Started` told of, once it is on record."""
        ...

    def authenticated(self, say: bytes, *, done: bool) -> list[Effect]:
        """The answer to `Authenticate`: what to say to the server; `done`: it may take the login for complete."""
        ...

    def probe(self, name: str, text: str, terms: Terms | None = None) -> list[Effect]:
        """Run a query of our own at the next idle moment, unseen by the client; answered by `Probed`."""
        ...

    def proceed(self) -> list[Effect]:
        """After `Ready`: let the client hear that the session is ready, once the probes asked for are answered."""
        ...

    def notice(self, text: str, hint: str) -> list[Effect]:
        """Tell the client something that it may show while it waits; not an answer to anything."""
        ...

    def set_search_path(self, path: tuple[str, ...] | None) -> None:
        """Tell what a probe found; it becomes part of the session facts."""
        ...

    def withdraw(self, reason: str, code: bytes) -> list[Effect]:
        """Refuse the operation that is being asked about (a cancel, a time-out) with this code."""
        ...

    def terminate(self, reason: str, code: bytes) -> list[Effect]:
        """Tell the client in the protocol's own words that the flow ends, and end it."""
        ...

    @property
    def begun(self) -> bool:
        """The client has said whole what it begins with: nobody waits for its first words any more."""
        ...

    @property
    def session(self) -> Session | None:
        """What gives texts their meaning now; None where none is read."""
        ...

    @property
    def quiet(self) -> bool:
        """A probe would run at once: nothing is in flight, no transaction is open; an operation may be asked about."""
        ...

    @property
    def idle(self) -> bool:
        """Nothing is in flight and no transaction is open: the flow could end now without breaking anything."""
        ...

    @property
    def underway(self) -> tuple[int, int]:
        """Rows and bytes of the reply that is coming in, so far; of what passes unread all bytes. (0, 0) while none does."""
        ...

    @property
    def client_backlog(self) -> int:
        """Bytes of the client that wait inside; the owner stops reading above its limit."""
        ...
