"""The conversation of a flow that is TLS between its two ends: who is called is asked about, all else passes unread.

Theory of operation
-------------------
The client's hello becomes one operation. Nothing reaches the server, which is not even dialled, before its decision. Then the
hello goes out as it came, and what the client sends behind it waits until the server has answered: a server may ask for another
hello (HelloRetryRequest, RFC 8446 §4.1.4), and a second hello that calls somebody else would be a way around the decision.
With the ServerHello the conversation is over (`Settled`): from there on both directions pass as they come, encrypted by keys that
hostguard has no part in, so an agent that pins its server's certificate sees that very certificate.

Whatever either side sends, a call returns effects; it raises only on misuse by the owner (AssertionError).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterator
from typing import Final

from ..events import (
    Ask,
    Close,
    Decision,
    Effect,
    Opaque,
    Operation,
    OperationKind,
    Reach,
    Replied,
    ReplySummary,
    Session,
    Settled,
    ToClient,
    ToServer,
    Verdict,
    Withdrawn,
)
from ..opaque import Wordless
from . import alerts, client_hello, server_hello
from .client_hello import VERSIONS, ClientHello
from .records import ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE, Malformed, Records
from .wording import connect

SESSION: Final = Session(database="", user="")
"""TLS has no facts of a session; one object, so that decisions are found again."""
OPERATION: Final = 1
"""There is one in a flow."""


class _Phase(enum.Enum):
    HELLO = enum.auto()
    """Waits for the client's hello."""
    ASKED = enum.auto()
    REACHING = enum.auto()
    """The server is being dialled."""
    GREETED = enum.auto()
    """The hello is out, and the server's answer is awaited."""
    AGAIN = enum.auto()
    """The server has asked for another hello."""
    CLOSED = enum.auto()


class TlsConversation(Wordless):
    """Implements `events.Conversation` for TLS 1.0 to 1.3, from the first byte on.

    `names`: for which name servers gave the agent the address that it connected to.
    """

    def __init__(self, names: Collection[str] = ()) -> None:
        self._names = names
        self._observed = False
        self._phase = _Phase.HELLO
        self._client = Records()
        self._server = Records()
        self._hello: ClientHello | None = None
        self._first = b""
        """The hello as it came, until it is passed on."""

    # Bytes in

    def from_client(self, data: bytes) -> list[Effect]:
        if self._phase is _Phase.CLOSED:
            return []
        self._client.feed(data)
        return self._run(self._read_client, "client")

    def from_server(self, data: bytes) -> list[Effect]:
        if self._phase is _Phase.CLOSED:
            return []
        self._server.feed(data)
        return self._run(self._read_server, "server")

    def client_closed(self) -> list[Effect]:
        return self._end(Close("the client closed the connection"))

    def server_closed(self) -> list[Effect]:
        return self._end(Close("the server closed the connection"))

    # Decisions and requests of the owner

    def observe(self, observed: bool) -> None:
        self._observed = observed

    def resume(self, operation_id: int, decision: Decision) -> list[Effect]:
        """Have the server dialled, or refuse by the alert that TLS has for it. A decision that comes too late is nobody's."""
        if self._phase is not _Phase.ASKED:
            return []
        assert operation_id == OPERATION
        assert decision.verdict is not Verdict.HOLD
        if decision.verdict is Verdict.ALLOW:
            self._phase = _Phase.REACHING
            return [Reach()]
        self._phase = _Phase.CLOSED
        return [ToClient(alerts.fatal(alerts.ACCESS_DENIED)), Close(decision.reason)]

    def reached(self) -> list[Effect]:
        """The server is there: pass the hello on."""
        if self._phase is not _Phase.REACHING:
            return []
        self._phase = _Phase.GREETED
        first, self._first = self._first, b""
        return [ToServer(first), *self._run(self._read_server, "server")]

    def start(self) -> list[Effect]:
        """There is no start-up packet."""
        return []

    def withdraw(self, reason: str, code: bytes) -> list[Effect]:
        return self.resume(OPERATION, Decision(Verdict.DENY, reason))

    def terminate(self, reason: str, code: bytes) -> list[Effect]:
        return self._refuse(Close(reason), alerts.INTERNAL_ERROR)

    @property
    def begun(self) -> bool:
        """The hello is here."""
        return self._phase is not _Phase.HELLO

    @property
    def idle(self) -> bool:
        """The client has said nothing yet."""
        return self._phase is _Phase.HELLO and not len(self._client)

    @property
    def underway(self) -> tuple[int, int]:
        return 0, 0

    @property
    def client_backlog(self) -> int:
        """Bytes of the client that wait for us or the server; 0 while only the rest of a hello is missing."""
        return 0 if self._phase in (_Phase.HELLO, _Phase.AGAIN) else len(self._client)

    # Inside

    def _run(self, work: Callable[[], Iterator[Effect]], side: str) -> list[Effect]:
        """Do `work`; what can't be read ends the flow, or is read no further where it is only observed."""
        effects: list[Effect] = []
        try:
            for effect in work():
                effects.append(effect)  # what came before a fault counts
        except Malformed as broken:
            alert = broken.alert if side == "client" else alerts.INTERNAL_ERROR
            effects += self._fault(Close(f"{side}: {broken}", side), alert)
        return effects

    def _read_client(self) -> Iterator[Effect]:
        if self._phase is _Phase.HELLO:
            yield from self._greet()
        elif self._phase is _Phase.AGAIN:
            yield from self._greet_again()

    def _greet(self) -> Iterator[Effect]:
        while (record := self._client.next()) is not None:
            kind, fragment = record
            if kind != HANDSHAKE:
                raise Malformed(f"it began with a record of type {kind}, no handshake", 10)
            message = self._client.collect(fragment)
            if message is not None:
                self._hello = client_hello.parse(message)
                self._first = self._client.take()
                self._phase = _Phase.ASKED
                text = connect(self._hello, self._names)
                yield Ask(Operation(OPERATION, OperationKind.CONNECT, text, SESSION))
                return

    def _greet_again(self) -> Iterator[Effect]:
        """The second hello must call whom the first one called. Early data before it is for the server to skip."""
        while (record := self._client.next()) is not None:
            kind, fragment = record
            if kind in (CHANGE_CIPHER_SPEC, APPLICATION_DATA):
                yield ToServer(self._client.take())
                continue
            if kind != HANDSHAKE:
                raise Malformed(f"a record of type {kind} in the place of the second hello", 10)
            message = self._client.collect(fragment)
            if message is not None:
                if _called(client_hello.parse(message)) != self._called:
                    close = Close("the second ClientHello does not call whom the first one called", "unsafe")
                    yield from self._fault(close, alerts.ILLEGAL_PARAMETER)
                    return
                self._phase = _Phase.GREETED
                yield ToServer(self._client.take())
                return

    @property
    def _called(self) -> tuple[str, tuple[bytes, ...], bool]:
        assert self._hello is not None
        return _called(self._hello)

    def _read_server(self) -> Iterator[Effect]:
        if self._phase not in (_Phase.GREETED, _Phase.AGAIN):
            return  # It speaks before it was greeted; read once it is.
        # Once it is over nothing is left to read.
        while (record := self._server.next()) is not None:
            kind, fragment = record
            if kind == ALERT:
                yield from self._alerted(fragment)
            elif kind == CHANGE_CIPHER_SPEC:
                yield ToClient(self._server.take())
            elif kind == HANDSHAKE:
                yield from self._answered(fragment)
            else:
                raise Malformed("the server sent data before its hello")

    def _alerted(self, fragment: bytes) -> list[Effect]:
        """A warning may come before the server's hello (``unrecognized_name``); anything else is its last word."""
        if len(fragment) != 2:
            raise Malformed("an alert that is none")
        level, code = fragment
        if level == alerts.WARNING:
            return [ToClient(self._server.take())]
        return self._settle("error", alerts.name(code))

    def _answered(self, fragment: bytes) -> list[Effect]:
        message = self._server.collect(fragment)
        if message is None:
            return []
        hello = server_hello.parse(message)
        if not hello.retry:
            chosen = hello.protocol.decode("latin-1") if hello.protocol else ""
            return self._settle("ok", f"TLS {VERSIONS.get(hello.version, hex(hello.version))} {chosen}".rstrip())
        if self._phase is _Phase.AGAIN or self._hello is None:
            raise Malformed("the server asked for another hello twice")
        self._phase = _Phase.AGAIN
        return [ToClient(self._server.take()), *self._run(self._greet_again, "client")]

    def _settle(self, status: str, tag: str) -> list[Effect]:
        self._phase = _Phase.CLOSED
        settled = Settled(to_server=self._client.take_all(), to_client=self._server.take_all())
        return [Replied(OPERATION, ReplySummary(status, tag)), settled]

    def _fault(self, close: Close, alert: int) -> list[Effect]:
        if not self._observed:
            return self._refuse(close, alert)
        self._phase = _Phase.CLOSED
        to_server, self._first = self._first + self._client.take_all(), b""
        return [Opaque(close.reason, close.fault, to_server, self._server.take_all())]

    def _refuse(self, close: Close, alert: int) -> list[Effect]:
        ended = self._end(close)
        return [ToClient(alerts.fatal(alert)), *ended] if ended else []

    def _end(self, close: Close) -> list[Effect]:
        phase, self._phase = self._phase, _Phase.CLOSED
        self._client, self._server, self._first = Records(), Records(), b""
        match phase:
            case _Phase.CLOSED:
                return []
            case _Phase.HELLO:
                return [close]
            case _Phase.ASKED:
                return [Withdrawn(OPERATION, close.reason), close]
        return [Replied(OPERATION, ReplySummary("lost")), close]


def _called(hello: ClientHello) -> tuple[str, tuple[bytes, ...], bool]:
    """What was asked about, of what a second hello could change."""
    return hello.server_name, hello.protocols, hello.hides_name
