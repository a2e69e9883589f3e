"""A real HTTPS server on a loopback address, in threads of the test's own process."""

from __future__ import annotations

import contextlib
import socket
import ssl
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from handshakes import Certificate, certificate

BIG_BYTES = 3_000_000


class _Handler(BaseHTTPRequestHandler):
    """Says whom it was taken for; ``/big`` is long, what is POSTed comes back as its hash."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._say(bytes(range(256)) * (BIG_BYTES // 256) if self.path == "/big" else b"hello from the server")

    def do_POST(self) -> None:
        self._say(sha256(self.rfile.read(int(self.headers["Content-Length"]))).hexdigest().encode())

    def _say(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Tests have their own words."""


class _Server(ThreadingHTTPServer):
    """TCP is accepted here, TLS begins in the connection's thread."""

    daemon_threads = True

    def __init__(self, host: str, context: ssl.SSLContext, accepted: list[object]) -> None:
        self.context = context
        self.accepted = accepted
        super().__init__((host, 0), _Handler)

    def get_request(self) -> tuple[Any, Any]:
        sock, address = super().get_request()
        self.accepted.append(address)
        return self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that ends its handshake is no news."""


@dataclass(frozen=True, slots=True)
class HttpsServer:
    """A running server."""

    host: str
    port: int
    certificate: Certificate
    roots: Path
    """PEM file with its certificate."""
    accepted: list[object] = field(default_factory=list)
    """One for each connection that was made to it."""

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of its certificate, in hex: what a client pins."""
        return sha256(ssl.PEM_cert_to_DER_cert(self.certificate.certificate.decode())).hexdigest()


@contextlib.contextmanager
def https_server(host: str, names: Sequence[str], curve: str = "", client_roots: Path | None = None) -> Iterator[HttpsServer]:
    """Serve under these names. `curve`: the only one it takes. `client_roots`: clients need a certificate of theirs."""
    own = certificate(*names)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    if curve:
        context.set_ecdh_curve(curve)
    if client_roots:
        context.load_verify_locations(client_roots)
        context.verify_mode = ssl.CERT_REQUIRED
    with tempfile.TemporaryDirectory(prefix="https-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        roots, key = own.write(folder)
        context.load_cert_chain(roots, key)
        accepted: list[object] = []
        server = _Server(host, context, accepted)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield HttpsServer(host, server.server_address[1], own, roots, accepted)
        finally:
            server.shutdown()
            server.server_close()
            thread.join(10)


def reachable(address: tuple[str, int]) -> bool:
    """Whether anybody listens there."""
    try:
        socket.create_connection(address, timeout=5).close()
    except OSError:
        return False
    return True
