"""The PostgreSQL conversation: one flow's bytes in, decisions in, effects out.

The parts, in the order bytes pass them: `startup` (packets without a tag), `frontend` (the client's messages: which are
operations, which text a portal stands for), `pipeline` (what is in flight), `backend` (the server's messages: masked, scrubbed,
passed on), `refuse` (poison and rewritten errors). They share a `link`. This module ties them, and owns the two ends of a flow's
life.

Invariants, each with tests:
- No byte of the client reaches the server that was not read as part of a whole, legal message (CopyData: of a legal header).
- Nothing behind an operation passes before its decision.
- What the server answers is matched with what was forwarded, message for message, or the flow ends.
- Whatever either side sends, a call returns effects; it raises only on misuse by the owner (AssertionError).
"""

from __future__ import annotations

from collections.abc import Callable

from ...reassembly.frames import FrameFault
from ..events import CancelRequested, Close, Decision, Effect, Opaque, Session, Started, Terms, Verdict, Withdrawn
from . import messages, refuse, startup
from .backend import Backend
from .encryption import TLS_HANDSHAKE, Encryption
from .frontend import Frontend
from .limits import Limits
from .link import AUTHENTICATING, CLOSED, ENCRYPTING, HELD, OPEN, RECEIVING, SETTLING, STARTED, STARTUP, Link, PeerFault, Probe
from .logins import Logins
from .standin import Credential, Refused

_HOLD = Verdict.HOLD


class PostgresConversation:
    """Implements `events.Conversation` for the frontend/backend protocol 3.0 to 3.2 (PostgreSQL 15 to 18).

    `token`: at least 8 random bytes that nobody else knows, made anew for each flow. `credential`: hostguard's own login takes
    the place of the client's; None: that passes through. `client_tls`: as of `Encryption`.
    """

    def __init__(self, limits: Limits, token: bytes, credential: Credential | None = None, client_tls: str = "off") -> None:
        assert len(token) >= 8
        self._link = Link(limits, token)
        self._frontend = Frontend(self._link)
        self._backend = Backend(self._link)
        self._logins = Logins(self._link, credential, token)
        self._encryption = Encryption(self._link, client_tls)
        self._startup_packet = b""
        self._proceeding = False

    # Bytes in

    def from_client(self, data: bytes) -> list[Effect]:
        """Bytes from the client, kept as given."""
        link = self._link
        if link.phase is CLOSED or not data:
            return []
        self._frontend.buffer.feed(data)
        return self._run(self._read_client, "client")

    def from_server(self, data: bytes) -> list[Effect]:
        """Bytes from the server, kept as given."""
        link = self._link
        if link.phase is CLOSED or not data:
            return []
        self._backend.buffer.feed(data)
        return self._run(self._read_server, "server")

    def client_closed(self) -> list[Effect]:
        if self._link.phase is CLOSED:
            return []
        self._end(Close("the client closed the connection"))
        return self._link.out.take()

    def server_closed(self) -> list[Effect]:
        if self._link.phase is CLOSED:
            return []
        self._end(Close("the server closed the connection"))
        return self._link.out.take()

    # Decisions and requests of the owner

    def client_encrypted(self, binding: bytes | None) -> None:
        """The client's bytes came through TLS. `binding`: ``tls-server-end-point`` of the certificate that it was shown."""
        self._link.client_encrypted = True
        self._logins.binding = binding

    def server_encrypted(self) -> None:
        """The server's bytes come through TLS."""
        self._link.server_encrypted = True

    def observe(self, observed: bool) -> None:
        self._link.observed = observed

    def reached(self) -> list[Effect]:
        """Pass the encryption request on that the server is to answer; nothing when none is."""
        if self._link.phase is not ENCRYPTING:
            return []
        self._encryption.reached()
        return self._link.out.take()

    def start(self) -> list[Effect]:
        """Forward the StartupMessage; once more after `CredentialRefused`, to another connection."""
        link = self._link
        if link.phase is CLOSED:
            return []
        assert link.phase is STARTED
        link.phase = AUTHENTICATING
        link.out.to_server(self._startup_packet)
        if link.standin is None:
            self._startup_packet = b""
        return self._run(self._read_client, "client")

    def authenticated(self, say: bytes, *, done: bool) -> list[Effect]:
        """Carry on with hostguard's login: `say` is whole messages, or nothing."""
        link = self._link
        if link.phase is CLOSED:
            return []
        self._logins.authenticated(self._backend, say, done=done)
        return self._run(self._read_server, "server")

    def proceed(self) -> list[Effect]:
        """After `Ready`: tell the client that the session is ready, once all probes asked for are answered."""
        if self._link.phase is CLOSED:
            return []
        assert self._link.phase is HELD
        self._proceeding = True
        return self._run(self._release, "client")

    def resume(self, operation_id: int, decision: Decision) -> list[Effect]:
        """Carry out the decision. An operation that was withdrawn or lost meanwhile is nobody's: no effects."""
        asked = self._frontend.asked
        if self._link.phase is CLOSED or asked is None:
            return []
        assert asked.operation.id == operation_id
        assert decision.verdict is not _HOLD
        self._frontend.resume(decision)
        return self._run(self._frontend.pump, "client")

    def withdraw(self, reason: str, code: bytes) -> list[Effect]:
        """Refuse the operation that is being asked about with `reason` and SQLSTATE `code`."""
        if self._frontend.asked is None:
            return []
        return self.resume(self._frontend.asked.operation.id, Decision(Verdict.DENY, reason, refusal=code))

    def notice(self, text: str, hint: str) -> list[Effect]:
        """Tell the client something beside the replies; nothing while a long row is passing in pieces."""
        if self._link.phase is not OPEN or self._backend.streaming:
            return []
        self._link.out.to_client(refuse.notice(text, hint, self._link.codec))
        return self._link.out.take()

    def probe(self, name: str, text: str, terms: Terms | None = None) -> list[Effect]:
        """Run one statement of our own at the next idle moment. Not before `Ready`.

        While an operation is being asked about, the moment may be now (nothing is in flight, no transaction) or only after the
        operation: an owner that waits for `Probed` before it decides must not wait when this returns no `ToServer`.
        """
        link = self._link
        if link.phase is CLOSED:
            return []
        assert link.phase in (HELD, OPEN)
        link.probes.append(Probe(name, text, terms))
        link.start_probe()
        return link.out.take()

    def set_search_path(self, path: tuple[str, ...] | None) -> None:
        self._link.set_search_path(path)

    def terminate(self, reason: str, code: bytes) -> list[Effect]:
        """End the flow with a FATAL error of SQLSTATE `code`."""
        if self._link.phase is CLOSED:
            return []
        self._fail(Close(reason), code)
        return self._link.out.take()

    @property
    def begun(self) -> bool:
        """The StartupMessage is here, with all that hostguard asks of the client before it passes on."""
        return self._link.phase >= STARTED

    @property
    def session(self) -> Session | None:
        """What gives texts their meaning now."""
        return self._link.session

    @property
    def quiet(self) -> bool:
        """A probe would run at once."""
        link = self._link
        return link.phase is OPEN and link.idle() and link.probe is None and not link.probes

    @property
    def idle(self) -> bool:
        """Nothing is in flight, asked about or half sent, and no transaction is open."""
        link = self._link
        return link.phase is OPEN and link.idle() and self._frontend.asked is None and not len(self._frontend.buffer)

    @property
    def underway(self) -> tuple[int, int]:
        """Rows and bytes of the operation's reply that is coming in, so far."""
        slots = self._link.pipeline.slots
        if not slots or slots[0].operation is None:
            return 0, 0
        return slots[0].rows, slots[0].payload

    @property
    def client_backlog(self) -> int:
        """Bytes of the client that wait for us or the server; 0 while only the rest of a message is missing."""
        waiting = self._frontend.waiting or self._link.phase in (ENCRYPTING, STARTED, SETTLING, HELD)
        return len(self._frontend.buffer) if waiting else 0

    # Inside

    def _run(self, work: Callable[[], None], side: str) -> list[Effect]:
        """Do `work`; a fault of a peer in it ends the flow."""
        try:
            work()
        except PeerFault as fault:
            self._end_at(Close(str(fault), fault.fault), fault.code)
        # Names of their own: compiled code gives a name one type.
        except (FrameFault, messages.Malformed) as broken:
            self._end_at(Close(f"{side}: {broken}", side), b"08P01")
        except startup.NotStartup as refused:
            self._end_at(Close(str(refused), refused.fault), refused.code)
        return self._link.out.take()

    def _read_client(self) -> None:
        link = self._link
        if link.phase is STARTUP:
            self._start_up()
        if link.phase is RECEIVING:
            self._logins.receive(self._frontend)
        if link.phase is OPEN:
            self._frontend.pump()
        elif link.phase is AUTHENTICATING:
            self._frontend.authenticate()
        if len(self._frontend.buffer) > link.limits.max_backlog_bytes:
            raise PeerFault("client", "the client sends faster than it is served", b"53400")

    def _read_server(self) -> None:
        link = self._link
        if link.phase is ENCRYPTING:
            self._encryption.answered(self._backend.buffer)
            link.phase = STARTUP
            self._read_client()
            return
        if link.phase < AUTHENTICATING:
            raise PeerFault("server", "the server spoke before the start-up packet")
        try:
            self._backend.pump()
        except Refused as refused:
            self._logins.refused(self._backend, refused)
        if link.asking and len(self._backend.buffer) > link.limits.max_auth_bytes:
            raise PeerFault("server", "the server does not wait for the answer to its authentication request")
        if link.phase is HELD:
            self._release()
        elif link.phase is OPEN and self._frontend.waiting:
            self._pump_client()

    def _pump_client(self) -> None:
        """Walk on in the client's direction, from a call for the server's: a fault here is the client's."""
        try:
            self._frontend.pump()
        except (FrameFault, messages.Malformed) as fault:
            raise PeerFault("client", str(fault)) from fault

    def _release(self) -> None:
        """Let the first ReadyForQuery go, if the owner said so and no probe is outstanding."""
        link = self._link
        if not self._proceeding or link.probe is not None or link.probes:
            return
        link.phase = OPEN
        link.out.to_client(self._backend.held_ready)
        self._backend.held_ready = b""
        self._pump_client()

    def _start_up(self) -> None:
        link = self._link
        buffer = self._frontend.buffer
        buffer.want(len(buffer))
        if buffer.data[buffer.pos : buffer.pos + 1] == TLS_HANDSHAKE:
            self._encryption.direct(buffer)
            return
        size = startup.size(buffer.data[buffer.pos : buffer.pos + 4])
        if size is None:
            return
        if size > link.limits.max_startup_bytes or size < 8:
            raise startup.NotStartup(b"08P01", "invalid length of startup packet")
        if not buffer.want(size):
            return
        # It stays in the buffer until it is read: of an observed flow it passes also when it can't be.
        wanted = startup.read(buffer.data[buffer.pos : buffer.pos + size])
        packet = buffer.take(size)
        match wanted:
            case startup.EncryptionRequest(name=name):
                self._encryption.asked(name, packet, buffer)
            case startup.Cancel(key=key):
                # No Close: the client takes the end of this connection for "cancelled", which it is when the owner is done.
                link.out.add(CancelRequested(key, packet))
                link.phase = CLOSED
                buffer.clear()
            case startup.Startup(parameters=parameters, session=session):
                self._encryption.check()
                self._startup_packet = self._logins.begin(packet, Started(session, parameters))

    def _end_at(self, close: Close, code: bytes) -> None:
        """A fault: the flow ends, or is read no further where it is only observed."""
        if self._link.observed and not self._logins.under_way:
            self._let_go(close)
        else:
            self._fail(close, code)

    def _let_go(self, close: Close) -> None:
        """Give out what neither side has got yet. Nothing of it was asked about; what was asked about is on record."""
        link, client, server = self._link, self._frontend.buffer, self._backend.buffer
        asked = self._frontend.asked
        waiting = b"" if link.standin is not None else self._startup_packet or self._encryption.packet
        first = asked.frame if asked is not None else waiting
        opaque = Opaque(
            close.reason,
            close.fault,
            to_server=first + client.take_some(len(client)),
            to_client=self._backend.held_ready + server.take_some(len(server)),
        )
        # Not withdrawn: it goes on, with its decision.
        self._frontend.asked = None
        self._startup_packet = self._backend.held_ready = b""
        link.pipeline.lose_all()
        link.out.let_go(opaque)
        link.phase = CLOSED

    def _fail(self, close: Close, code: bytes) -> None:
        """End the flow and say why: an error to the client and Terminate to the server, unless that would fall inside of a
        message."""
        link = self._link
        if not self._frontend.streaming and link.phase > AUTHENTICATING:
            link.out.to_server(messages.TERMINATE)
        if not self._backend.streaming:
            link.out.to_client(refuse.fatal(code, close.reason, link.codec))
        self._end(close)

    def _end(self, close: Close) -> None:
        link = self._link
        asked = self._frontend.asked
        if asked is not None:
            link.out.add(Withdrawn(asked.operation.id, close.reason))
            self._frontend.asked = None
        link.pipeline.lose_all()
        link.out.close(close)
        link.phase = CLOSED
        self._frontend.buffer.clear()
        self._backend.buffer.clear()
