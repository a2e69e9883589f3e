"""TLS in front of a server that has none: each connection is counted, deciphered and passed on.

To its clients it is what a server with TLS is, but for channel binding. What a test wants to go wrong goes wrong here.
"""

from __future__ import annotations

import selectors
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import wire
from certificates import Certificate


@dataclass
class Front:
    """What listens at `port`."""

    behind: tuple[str, int]
    certificate: Certificate
    answer: bytes
    """To an SSLRequest, in one piece; anything but S and the connection is closed behind it."""
    port: int = 0
    handshakes: list[str] = field(default_factory=list)
    """Of each connection with TLS, the protocol that was agreed on (ALPN), or nothing."""


@contextmanager
def front(behind: tuple[str, int], certificate: Certificate, answer: bytes = b"S") -> Iterator[Front]:
    """A front that runs."""
    found = Front(behind, certificate, answer)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found.port = listener.getsockname()[1]
        threading.Thread(target=_accept, args=(listener, found), daemon=True).start()
        yield found
        listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, found: Front) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(client, found), daemon=True).start()


def _serve(client: socket.socket, found: Front) -> None:
    with suppress(OSError), client:
        client.settimeout(20)
        if client.recv(1, socket.MSG_PEEK) != b"\x16":
            if client.recv(8, socket.MSG_WAITALL) != wire.SSL_REQUEST:
                return
            client.sendall(found.answer)
            if found.answer != b"S":
                return
        context = found.certificate.context()
        context.set_alpn_protocols(["postgresql"])
        with (
            context.wrap_socket(client, server_side=True) as secured,
            socket.create_connection(found.behind) as server,
        ):
            found.handshakes.append(secured.selected_alpn_protocol() or "")
            _pump(secured, server)
            secured.unwrap()  # a server says that nothing follows


def _pump(client: ssl.SSLSocket, server: socket.socket) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(client, selectors.EVENT_READ)
        selector.register(server, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select(20):
                source, to = (client, server) if key.fileobj is client else (server, client)
                data = source.recv(65536)
                while isinstance(source, ssl.SSLSocket) and source.pending():
                    data += source.recv(source.pending())
                if not data:
                    return
                to.sendall(data)
