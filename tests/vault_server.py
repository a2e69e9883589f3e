"""A stand-in for HashiCorp Vault or OpenBao: the few calls of their HTTP API that reading a secret takes.

Neither server is in the registries that tests may use. What it answers has the shapes of the API's documentation (KV versions 1
and 2, AppRole login, errors); the client that asks is the real one, hvac.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ROLE, ROLE_SECRET = "role-1", "role-secret-1"


@dataclass
class VaultServer:
    """A running one. What is in it may be changed at any time."""

    address: str = ""
    secrets: dict[str, Any] = field(default_factory=dict)
    """Path to the answer's ``data``."""
    tokens: set[str] = field(default_factory=set)
    """That are valid."""
    namespace: str = ""
    """That must be asked for."""
    logins: int = 0
    """By AppRole, so far."""


@contextlib.contextmanager
def vault_server() -> Iterator[VaultServer]:
    """One on a free port of the loopback."""
    state = VaultServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.removeprefix("/v1/")
            if (
                self.headers.get("X-Vault-Token") not in state.tokens
                or self.headers.get("X-Vault-Namespace", "") != state.namespace
            ):
                self._answer(403, {"errors": ["permission denied"]})
            elif path in state.secrets:
                self._answer(200, {"data": state.secrets[path], "lease_duration": 0, "renewable": False})
            else:
                self._answer(404, {"errors": []})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path != "/v1/auth/approle/login" or body != {"role_id": ROLE, "secret_id": ROLE_SECRET}:
                self._answer(400, {"errors": ["invalid role or secret ID"]})
                return
            state.logins += 1
            token = f"token-of-login-{state.logins}"
            state.tokens.add(token)
            self._answer(200, {"auth": {"client_token": token, "lease_duration": 60, "renewable": True}})

        def _answer(self, code: int, body: Any) -> None:
            data = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Not into the test's output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
