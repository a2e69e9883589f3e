"""A real OpenID provider that gives agents tokens, the certified one from npm, for as long as a context lasts."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from joserfc.jwk import Key
from servers import free_port

FOLDER = Path(__file__).parent / "openid"
START_LIMIT_S = 60.0
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
    if not (FOLDER / "node_modules" / "oidc-provider").is_dir():
        raise RuntimeError("oidc-provider is not installed: run scripts/provision")
    started = Provider(port or free_port(), clients, keys, algorithm, seconds)
    command = ["setpriv", "--pdeathsig=KILL", "node", "agents.mjs"]
    process = subprocess.Popen(command, cwd=FOLDER, text=True, stdin=-1, stdout=-1, stderr=subprocess.STDOUT)
    started.process = process
    assert process.stdin is not None
    assert process.stdout is not None
    lines: list[str] = []
    ready = threading.Event()

    def listen(pipe: Any) -> None:
        for line in pipe:
            lines.append(line)
            if line.startswith("READY"):
                ready.set()
        ready.set()

    threading.Thread(target=listen, args=(process.stdout,), daemon=True).start()
    process.stdin.write(json.dumps(started.settings))
    process.stdin.close()
    try:
        if not ready.wait(START_LIMIT_S) or process.poll() is not None:
            raise RuntimeError("oidc-provider did not start:\n" + "".join(lines))
        yield started
    finally:
        process.kill()
        process.wait()
