"""Unmodified clients over TLS that they verify observe the same through the guard as directly."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import guard
import pytest
import servers
from certificates import Authority
from comparison import CLIENTS, PROGRAMS, both_ways, everything_on, psqls
from guard import Guard
from servers import Server

RESOURCE = """
[resources.pg{version}]
protocol = "postgres"
addresses = ["127.0.0.1:{port}"]
client_tls = "require"
server_tls = "verify-full"
server_roots = "{folder}/authority.pem"
"""
QUICK = ("asyncpg_tour.py", "pg8000_tour.py", "psycopg_simple.py")
"""What is run over TLS each time; the rest of the matrix is in the soak."""


class Encrypted:
    """Both servers with TLS, a guard before them that insists on it, what clients are told about it."""

    def __init__(self, guarded: Guard, found: Mapping[int, Server], roots: Path) -> None:
        self.guard = guarded
        self.servers = found
        self.variables = {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": str(roots)}


@pytest.fixture(scope="module")
def encrypted() -> Iterator[Encrypted]:
    authority = Authority()
    setup = guard.Setup(agents={"matrix": guard.Agent(("matrix",))}, resources={}, policies=everything_on(("pg15", "pg18")))
    with ExitStack() as stack:
        found = {
            version: stack.enter_context(servers.server(version, certificate=authority.issue("127.0.0.1")))
            for version in (15, 18)
        }
        prepared = stack.enter_context(guard.prepared(setup))
        roots = prepared.folder / "authority.pem"
        roots.write_text(authority.pem)
        sections = [
            RESOURCE.format(version=version, port=server.port, folder=prepared.folder) for version, server in found.items()
        ]
        prepared.config.write_text(prepared.config.read_text() + "".join(sections))
        prepared.start()
        yield Encrypted(prepared, found, roots)


def agree(encrypted: Encrypted, version: int, program: list[str | Path], minimum: int) -> int:
    return both_ways(encrypted.guard, encrypted.servers[version], program, minimum, encrypted.variables).exit_code


RUNS = [
    pytest.param(program, version, marks=() if program in QUICK else pytest.mark.soak)
    for program in PROGRAMS
    for version in (18, 15)
]


@pytest.mark.parametrize(("program", "version"), RUNS)
def test_a_driver_observes_the_same_over_tls(encrypted: Encrypted, program: str, version: int) -> None:
    assert agree(encrypted, version, [sys.executable, CLIENTS / program], 10) == 0


@pytest.mark.parametrize("version", [18, pytest.param(15, marks=pytest.mark.soak)])
def test_pgjdbc_observes_the_same_over_tls(encrypted: Encrypted, pgjdbc: list[str | Path], version: int) -> None:
    assert agree(encrypted, version, pgjdbc, 60) == 0


@pytest.mark.parametrize("script", ["psql_tour.sql", pytest.param("psql_stop.sql", marks=pytest.mark.soak)])
@pytest.mark.parametrize("version", [18, 15])
def test_psql_observes_the_same_over_tls(encrypted: Encrypted, script: str, version: int) -> None:
    """Debian's psql: the wheel's is built without TLS, as its server is."""
    found = agree(encrypted, version, [psqls()[1], "-X", "-a", "-f", CLIENTS / script], 1)
    assert found == (3 if script == "psql_stop.sql" else 0)
