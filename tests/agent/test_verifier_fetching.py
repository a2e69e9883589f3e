"""How issuers' documents are fetched: by TLS that is verified, from where they were asked for, not too much of them."""

from __future__ import annotations

import asyncio
import http.server
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from certificates import Authority

from hostguard.agent.verifier.fetching import fetcher
from hostguard.identity.jwks import MAX_DOCUMENT_BYTES, FetchFailed


def get(ca: bytes, url: str) -> bytes:
    async def play() -> bytes:
        return await fetcher(ca)(url)

    return asyncio.run(play())


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "/here")
            self.end_headers()
            return
        self.send_response(200 if self.path in ("/here", "/long") else 404)
        self.end_headers()
        self.wfile.write(b"{}" if self.path == "/here" else b"x" * (MAX_DOCUMENT_BYTES + 1))

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@contextmanager
def site(context: ssl.SSLContext | None) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"{'http' if context is None else 'https'}://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_by_tls_that_is_verified() -> None:
    authority = Authority()
    with site(authority.issue("127.0.0.1").context()) as url:
        assert get(authority.pem.encode(), f"{url}/here") == b"{}"
        for other in (b"", Authority("other.test").pem.encode()):
            with pytest.raises(FetchFailed, match="certificate verify failed"):
                get(other, f"{url}/here")
    with site(authority.issue("elsewhere.test").context()) as url, pytest.raises(FetchFailed, match="certificate verify failed"):
        get(authority.pem.encode(), f"{url}/here")


def test_no_redirect_and_not_too_much() -> None:
    with site(None) as url:
        assert get(b"", f"{url}/here") == b"{}"
        with pytest.raises(FetchFailed, match="answers 302"):
            get(b"", f"{url}/away")
        with pytest.raises(FetchFailed, match="answers 404"):
            get(b"", f"{url}/none")
        with pytest.raises(FetchFailed, match="longer than"):
            get(b"", f"{url}/long")


@pytest.mark.parametrize("url", ["http://192.0.2.1/", "file:///etc/passwd", "https://u:p@127.0.0.1/", "x", "https://"])
def test_from_nowhere_else(url: str) -> None:
    with pytest.raises(FetchFailed, match="it is n"):
        get(b"", url)


def test_nobody_is_there() -> None:
    with pytest.raises(FetchFailed, match=r"127\.0\.0\.1:9"):
        get(b"", "http://127.0.0.1:9/")


def test_authorities_that_are_none() -> None:
    with pytest.raises(ValueError, match="no certificates"):
        fetcher(b"-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----\n")
