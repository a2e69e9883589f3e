"""A small blocking relay that runs a PostgresConversation between real sockets: the conversation's stand for tests.

It can log in in the client's place, and end TLS on either side; each is what other processes or modules do in the daemon.
"""

from __future__ import annotations

import os
import selectors
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import wire

from hostguard.protocols.events import (
    Ask,
    Authenticate,
    CancelKey,
    CancelRequested,
    Close,
    CredentialRefused,
    Decision,
    Effect,
    Operation,
    Ready,
    Started,
    ToClient,
    ToServer,
    Verdict,
)
from hostguard.protocols.postgres.binding import end_point
from hostguard.protocols.postgres.conversation import PostgresConversation
from hostguard.protocols.postgres.limits import Limits
from hostguard.protocols.postgres.login import Login, LoginRefused, Password
from hostguard.protocols.postgres.standin import Credential

Decide = Callable[[Operation], Decision]
ALLOW = Decision(Verdict.ALLOW)


def allow_all(_operation: Operation) -> Decision:
    return ALLOW


@dataclass
class Own:
    """A login of hostguard's own. `secrets`: what is read for it, time after time."""

    credential: Credential
    secrets: list[str]

    def login(self, binding: bytes | None) -> Login:
        return Login(self.credential.user, Password(self.secrets[0].encode()), os.urandom(18), binding=binding)

    def read_again(self) -> bool:
        """Whether there is another secret."""
        changed = len(self.secrets) > 1
        if changed:
            del self.secrets[0]
        return changed


@dataclass(frozen=True)
class Ends:
    """Where TLS ends at the relay."""

    client: ssl.SSLContext | None = None
    """With the certificate that clients are shown."""
    shown: bytes = b""
    """That certificate, in DER."""
    server: bool = False


class Relay:
    """Listens on 127.0.0.1; each connection gets a conversation with the server at `upstream`."""

    def __init__(
        self,
        upstream: tuple[str, int],
        decide: Decide = allow_all,
        read_bytes: int = 65536,
        own: Own | None = None,
        ends: Ends = Ends(),
    ) -> None:
        self.upstream = upstream
        self.own = own
        self.ends = ends
        self.decide = decide
        self.read_bytes = read_bytes
        self.effects: list[Effect] = []
        self.probe_on_ask: tuple[str, str] | None = None
        """A probe to ask for with each operation."""
        self.crashes: list[BaseException] = []
        self._keys: dict[bytes, tuple[str, int]] = {}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_exc: object) -> None:
        # A listener that is only closed keeps a blocked accept() waiting.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(10)
        for thread in self._threads:
            thread.join(10)
        assert not self.crashes, self.crashes

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._guarded, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _guarded(self, client: socket.socket) -> None:
        try:
            with client:
                _Flow(self, client).run()
        except OSError:
            pass  # A peer went away: not what these tests are about.
        except BaseException as crash:
            self.crashes.append(crash)
            raise


class _Flow:
    def __init__(self, relay: Relay, client: socket.socket) -> None:
        self.relay = relay
        self.client = client
        self.server: socket.socket | None = None
        own = relay.own
        self.conversation = PostgresConversation(Limits(), os.urandom(8), own.credential if own else None)
        self.login: Login | None = None
        self.selector = selectors.DefaultSelector()
        self.open = True

    def run(self) -> None:
        self.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._encrypt_client()
        with self.selector as selector:
            selector.register(self.client, selectors.EVENT_READ)
            while self.open:
                for key, _ in selector.select():
                    self._read(key.fileobj)
                if self.server is not None and self.server.fileno() >= 0 and self.server not in selector.get_map():
                    selector.register(self.server, selectors.EVENT_READ)
        self.client.close()
        if self.server is not None:
            self.server.close()

    def _read(self, source: object) -> None:
        if not self.open or source not in (self.client, self.server):
            return
        is_client = source is self.client
        assert isinstance(source, socket.socket)
        data = source.recv(self.relay.read_bytes)
        while isinstance(source, ssl.SSLSocket) and source.pending():
            data += source.recv(source.pending())
        conversation = self.conversation
        if is_client:
            self.carry_out(conversation.from_client(data) if data else conversation.client_closed())
        else:
            self.carry_out(conversation.from_server(data) if data else conversation.server_closed())

    def _encrypt_client(self) -> None:
        """Answer a client that asks for TLS, if the relay has a certificate to show."""
        ends = self.relay.ends
        if ends.client is None or self.client.recv(8, socket.MSG_PEEK | socket.MSG_WAITALL) != wire.SSL_REQUEST:
            return
        self.client.recv(8)
        self.client.sendall(b"S")
        self.client = ends.client.wrap_socket(self.client, server_side=True)
        self.conversation.client_encrypted(end_point(ends.shown))

    def _connect(self) -> None:
        """Connect to the server, for another login."""
        own = self.relay.own
        self.server = socket.create_connection(self.relay.upstream)
        self.server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        binding = None
        if self.relay.ends.server:
            self.server.sendall(wire.SSL_REQUEST)
            assert self.server.recv(1) == b"S"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # its certificate is the test's own
            encrypted = context.wrap_socket(self.server)
            self.server = encrypted
            certificate = encrypted.getpeercert(binary_form=True)
            assert certificate is not None
            binding = end_point(certificate)
            self.conversation.server_encrypted()
        self.login = own.login(binding) if own else None

    def _authenticate(self, request: bytes) -> None:
        assert self.login is not None
        try:
            answer = self.login.answer(request)
        except LoginRefused as refused:
            self.carry_out(self.conversation.terminate(str(refused), b"28000"))
            return
        self.carry_out(self.conversation.authenticated(answer.say, done=answer.done))

    def _refused(self, effect: CredentialRefused) -> None:
        if not effect.again:
            return
        assert self.relay.own is not None
        assert self.server is not None
        if not self.relay.own.read_again():
            self.carry_out(self.conversation.terminate(effect.reason, effect.code))
            return
        self.selector.unregister(self.server)
        self.server.close()
        self._connect()
        self.carry_out(self.conversation.start())

    def carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            if not isinstance(effect, ToClient | ToServer):
                self.relay.effects.append(effect)
            match effect:
                case ToServer(data=data):
                    assert self.server is not None
                    self.server.sendall(data)
                case ToClient(data=data):
                    self.client.sendall(data)
                case Ask(operation=operation):
                    if self.relay.probe_on_ask is not None:
                        self.carry_out(self.conversation.probe(*self.relay.probe_on_ask))
                    self.carry_out(self.conversation.resume(operation.id, self.relay.decide(operation)))
                case Started():
                    self._connect()
                    self.carry_out(self.conversation.start())
                case Authenticate(request=request):
                    self._authenticate(request)
                case CredentialRefused():
                    self._refused(effect)
                case Ready():
                    self.carry_out(self.conversation.probe("path", "select current_schemas(true)"))
                    self.carry_out(self.conversation.proceed())
                case CancelKey(key=key):
                    self.relay._keys[key] = self.relay.upstream
                case CancelRequested(key=key, request=request):
                    if key in self.relay._keys:
                        with socket.create_connection(self.relay._keys[key]) as upstream:
                            upstream.sendall(request)
                            upstream.recv(1)
                    self.open = False
                case Close():
                    self.open = False
