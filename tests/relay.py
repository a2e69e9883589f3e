"""A small blocking relay that runs a PostgresConversation between real sockets: the conversation's stand for tests."""

from __future__ import annotations

import os
import selectors
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from hostguard.protocols.events import (
    Ask,
    CancelKey,
    CancelRequested,
    Close,
    Decision,
    Effect,
    Operation,
    Ready,
    Started,
    ToClient,
    ToServer,
    Verdict,
)
from hostguard.protocols.postgres.conversation import PostgresConversation
from hostguard.protocols.postgres.limits import Limits

Decide = Callable[[Operation], Decision]
ALLOW = Decision(Verdict.ALLOW)


def allow_all(_operation: Operation) -> Decision:
    return ALLOW


class Relay:
    """Listens on 127.0.0.1; each connection gets a conversation with the server at `upstream`."""

    def __init__(self, upstream: tuple[str, int], decide: Decide = allow_all, read_bytes: int = 65536) -> None:
        self.upstream = upstream
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
        self.conversation = PostgresConversation(Limits(), os.urandom(8))
        self.open = True

    def run(self) -> None:
        self.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with selectors.DefaultSelector() as selector:
            selector.register(self.client, selectors.EVENT_READ)
            while self.open:
                for key, _ in selector.select():
                    self._read(key.fileobj)
                if self.server is not None and self.server.fileno() >= 0 and self.server not in selector.get_map():
                    selector.register(self.server, selectors.EVENT_READ)
        if self.server is not None:
            self.server.close()

    def _read(self, source: object) -> None:
        if not self.open:
            return
        is_client = source is self.client
        assert isinstance(source, socket.socket)
        data = source.recv(self.relay.read_bytes)
        conversation = self.conversation
        if is_client:
            self.carry_out(conversation.from_client(data) if data else conversation.client_closed())
        else:
            self.carry_out(conversation.from_server(data) if data else conversation.server_closed())

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
                    self.server = socket.create_connection(self.relay.upstream)
                    self.server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self.carry_out(self.conversation.start())
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
