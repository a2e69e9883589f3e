"""A real OpenID provider, the certified one from npm, that lives as long as a context."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servers import free_port

FOLDER = Path(__file__).parent / "openid"
START_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class OpenId:
    """A running provider."""

    issuer: str
    client_id: str
    secret: str


@contextmanager
def openid(redirects: Sequence[str], accounts: Mapping[str, Any] | None = None) -> Iterator[OpenId]:
    """Start it for one client, ``hostguard``, that may be answered at these URLs; raises RuntimeError with its words."""
    if not (FOLDER / "node_modules" / "oidc-provider").is_dir():
        raise RuntimeError("oidc-provider is not installed: run scripts/provision")
    port = free_port()
    provider = OpenId(f"http://127.0.0.1:{port}", "hostguard", "a secret: 100% of it")
    client = {
        "client_id": provider.client_id,
        "client_secret": provider.secret,
        "redirect_uris": list(redirects),
        "response_types": ["code"],
        "grant_types": ["authorization_code", "urn:ietf:params:oauth:grant-type:device_code"],
    }
    settings = {"issuer": provider.issuer, "port": port, "clients": [client], "accounts": dict(accounts or {})}
    command = ["setpriv", "--pdeathsig=KILL", "node", "provider.mjs"]
    process = subprocess.Popen(
        command, cwd=FOLDER, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
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
    process.stdin.write(json.dumps(settings))
    process.stdin.close()
    try:
        if not ready.wait(START_LIMIT_S) or process.poll() is not None:
            raise RuntimeError("oidc-provider did not start:\n" + "".join(lines))
        yield provider
    finally:
        process.kill()
        process.wait()
