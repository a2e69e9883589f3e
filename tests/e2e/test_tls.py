"""Agents that speak TLS, servers that do: every way in, every way on, and what is refused."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import guard
import logins
import pytest
import servers
from certificates import Authority
from guard import Guard
from servers import Server
from tls_front import Front, front

PERMIT = '@id("all") permit (principal, action, resource);'
RESOURCE = """
[resources.{name}]
protocol = "postgres"
addresses = ["127.0.0.1:{port}"]
{more}
"""
VERIFIED = 'server_tls = "verify-full"\nserver_roots = "{roots}"'
PSQL15 = servers.DEBIAN_15 / "psql"
ENCRYPTED = "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def shop(authority: Authority) -> Iterator[Server]:
    """PostgreSQL 15 with TLS."""
    with servers.server(15) as running:
        logins.show(running, authority.issue("127.0.0.1", "localhost"))
        yield running


@pytest.fixture(scope="module")
def fronted(postgres18: Server, authority: Authority) -> Iterator[Front]:
    """PostgreSQL 18 with TLS in front of it."""
    with front((postgres18.host, postgres18.port), authority.issue("127.0.0.1", "localhost")) as running:
        yield running


@contextmanager
def guarding(authority: Authority, resources: dict[str, tuple[int, str]]) -> Iterator[Guard]:
    """A guard with these resources: name to port, and what else is said of it; {roots} is the authority's file."""
    setup = guard.Setup(agents={"bot": guard.Agent()}, resources={}, policies=PERMIT, workers=1)
    with guard.prepared(setup) as prepared:
        roots = prepared.folder / "roots.pem"
        roots.write_text(authority.pem)
        sections = [
            RESOURCE.format(name=name, port=port, more=more.format(roots=roots)) for name, (port, more) in resources.items()
        ]
        prepared.config.write_text(prepared.config.read_text() + "".join(sections))
        prepared.start()
        yield prepared


@pytest.fixture(scope="module")
def running(authority: Authority, shop: Server, fronted: Front) -> Iterator[Guard]:
    with guarding(authority, {"shop": (shop.port, VERIFIED), "modern": (fronted.port, VERIFIED)}) as found:
        yield found


def psql(running: Guard, port: int, *statements: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "postgres", "PGDATABASE": "postgres", **more}
    commands = [word for statement in statements for word in ("-c", statement)]
    return running.run("bot", [PSQL15, "-X", "-A", "-t", *commands], environment)


def answer(running: Guard, port: int, *statements: str, **more: str) -> str:
    done = psql(running, port, *statements, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"])
def test_every_sslmode_gets_through_and_the_server_sees_tls(running: Guard, shop: Server, mode: str) -> None:
    assert answer(running, shop.port, ENCRYPTED, PGSSLMODE=mode) == "t|TLSv1.3"
