"""An issuer that serves its documents on the loopback."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from issuing import claims, published, rsa, signed
from joserfc.jwk import Key


class IssuerServer:
    """Its keys can be changed; it can stop answering."""

    def __init__(self) -> None:
        self.key: Key = rsa("k1")
        self.served = published(self.key)
        self.down = False
        self.asked = 0
        self.url = ""

    def token(self, seconds: float = 300, key: Key | None = None, **changes: Any) -> bytes:
        """One that is good from now on for so long."""
        now = time.time()
        body = claims(iss=self.url, iat=now, exp=now + seconds, jti=f"{now}", **changes)
        return signed(key or self.key, body)


@contextmanager
def serving() -> Iterator[IssuerServer]:
    """It runs until the context ends."""
    issuer = IssuerServer()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.asked += 1
            pages = {
                "/.well-known/openid-configuration": json.dumps(
                    {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/keys"}
                ).encode(),
                "/keys": issuer.served,
            }
            body = pages.get(self.path)
            self.send_response(503 if issuer.down or body is None else 200)
            self.end_headers()
            if not issuer.down and body is not None:
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nobody reads it."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
