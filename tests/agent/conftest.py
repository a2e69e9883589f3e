"""Fixtures of the daemon's parts: a resolver with a real name server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from name_server import NameServer, name_server
from resolving import LARGE, Test, resolve


@pytest.fixture(scope="session")
def upstream() -> Iterator[NameServer]:
    """A name server with records of several types; what it does not know does not exist."""
    options = [
        "txt-record=t.com,hello", "cname=www.example,db.example", "srv-host=_pg._tcp.example,db.example,5432", "local=/com/",
        "ptr-record=5.0.0.127.in-addr.arpa,db.example",
    ]  # fmt: skip
    with name_server(options) as server:
        server.set_hosts({"db.example": ["127.0.0.5"], "big.example": [f"127.1.0.{n}" for n in range(1, LARGE + 1)]})
        yield server


@pytest.fixture
def resolving(tmp_path: Path, upstream: NameServer) -> Callable[..., None]:
    """Run a test against a resolver: ``resolving(test, upstreams=…, max_in_flight=…)``."""

    def run(test: Test, upstreams: tuple[str, ...] = (upstream.address,), **settings: Any) -> None:
        resolve(test, tmp_path, upstreams, **settings)

    return run
