"""A real OpenID provider, the certified one from npm, that lives as long as a context."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import node_program
from servers import free_port


@dataclass(frozen=True, slots=True)
class OpenId:
    """A running provider."""

    issuer: str
    client_id: str
    secret: str


@contextmanager
def openid(redirects: Sequence[str], accounts: Mapping[str, Any] | None = None) -> Iterator[OpenId]:
    """Start it for one client, ``hostguard``, that may be answered at these URLs; raises RuntimeError with its words."""
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
    with node_program.running("provider.mjs", settings):
        yield provider
