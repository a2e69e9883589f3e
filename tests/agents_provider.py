"""A real OpenID provider that gives agents tokens, the certified one from npm, for as long as a context lasts."""

from __future__ import annotations

import base64
import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import node_program
from joserfc.jwk import Key
from servers import free_port

SECRET = "a secret of tests"


class Provider:
    """A running one."""

    def __init__(self, port: int, clients: Sequence[str], keys: Sequence[Key], algorithm: str, seconds: int) -> None:
        self.issuer = f"http://127.0.0.1:{port}"
        self.process: subprocess.Popen[str] | None = None
        self.settings: dict[str, Any] = {
            "issuer": self.issuer,
            "port": port,
            "clients": [
                {
                    "client_id": client,
                    "client_secret": SECRET,
                    "redirect_uris": [],
                    "response_types": [],
                    "grant_types": ["client_credentials"],
                }
                for client in clients
            ],
            "jwks": {"keys": [key.as_dict(private=True, use="sig") for key in keys]},
            "algorithm": algorithm,
            "seconds": seconds,
            "groups": ["support"],
        }

    def stop(self) -> None:
        """End it before the context does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def token(self, client: str, audience: str = "https://hostguard.example") -> bytes:
        """The access token that it gives the client now."""
        body = urllib.parse.urlencode({"grant_type": "client_credentials", "resource": audience, "scope": "read"}).encode()
        basic = base64.b64encode(f"{client}:{urllib.parse.quote(SECRET)}".encode()).decode()
        request = urllib.request.Request(f"{self.issuer}/token", body, {"Authorization": f"Basic {basic}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            token: str = json.load(answer)["access_token"]
        return token.encode()


@contextmanager
def provider(
    *clients: str, keys: Sequence[Key], algorithm: str = "RS256", seconds: int = 300, port: int = 0
) -> Iterator[Provider]:
    """Start it. Raises RuntimeError with its words."""
    started = Provider(port or free_port(), clients, keys, algorithm, seconds)
    with node_program.running("agents.mjs", started.settings) as started.process:
        yield started
