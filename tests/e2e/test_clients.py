"""Unmodified clients observe the same through the guard as directly."""

from __future__ import annotations

import difflib
import functools
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import servers
from guard import Guard
from servers import Server

CLIENTS = Path(__file__).parent / "clients"
PROGRAMS = sorted(path.name for path in CLIENTS.glob("*.py") if path.name != "transcript.py")

# What differs between any two runs, direct or not: numbers that the server counts up, and the time of day.
DIFFERS = (
    (re.compile(r"(Backend PID +\| )\d+ *"), r"\1PID"),
    (re.compile(r"(from server process with PID )\d+"), r"\1PID"),
    (re.compile(r"^\w{3} \w{3} +\d+ [\d:]{8} \d{4}( \(every)", re.MULTILINE), r"TIME\1"),
)

# Made beforehand by somebody else: what the server says on its own account, in notices and errors with every field.
FUNCTIONS = """
CREATE FUNCTION says(what text) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
  RAISE NOTICE '%', what USING HINT = 'a hint', DETAIL = 'a detail';
  RAISE WARNING 'and a warning';
  RETURN length(what);
END $$;
CREATE FUNCTION fails(what text) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '%', what USING ERRCODE = 'P0123', HINT = 'a hint', DETAIL = 'a detail', SCHEMA = 's', TABLE = 't',
    COLUMN = 'c', DATATYPE = 'd', CONSTRAINT = 'k';
END $$;
"""


@dataclass(frozen=True, slots=True)
class Observed:
    """All that a program showed."""

    exit_code: int
    out: str
    err: str


def observed(result: subprocess.CompletedProcess[str]) -> Observed:
    out, err = result.stdout, result.stderr
    for pattern, replacement in DIFFERS:
        out, err = pattern.sub(replacement, out), pattern.sub(replacement, err)
    return Observed(result.returncode, out, err)


def environment(server: Server, database: str) -> dict[str, str]:
    """Where to connect, and nothing that tells a program whether it is guarded."""
    own = {"PYTHONPATH": str(CLIENTS.parent.parent), "PSQLRC": "/dev/null", "PSQL_HISTORY": "/dev/null", "LC_ALL": "C.UTF-8"}
    return {**server.environment(database), **own}


def difference(direct: str, guarded: str) -> str:
    """What the guarded run observed otherwise, as a diff with lines of a readable length."""
    lines = difflib.unified_diff(direct.splitlines(), guarded.splitlines(), "direct", "guarded", lineterm="", n=1)
    return "\n".join(line[:500] for line in lines)


def directly(program: Sequence[str | Path], variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a program as anybody on this host may, unguarded."""
    full = {**os.environ, **variables}
    return subprocess.run(program, capture_output=True, text=True, timeout=100, check=False, env=full, input="")


def both_ways(matrix: Guard, server: Server, program: list[str | Path], minimum: int = 1) -> Observed:
    """Run a program directly, then guarded, each in a fresh database; they must agree. Returns what they observed."""
    before = matrix.operations()
    found = []
    for way in (directly, functools.partial(matrix.run, "matrix")):
        with server.database("matrix", FUNCTIONS) as database:
            found.append(observed(way(program, environment(server, database))))
        if way is directly:
            assert matrix.operations() == before, "the direct run went through the guard"
    assert matrix.operations() >= before + minimum, "the guarded run did not go through the guard"
    changes = difference(found[0].out, found[1].out) + difference(found[0].err, found[1].err)
    assert not changes, changes
    assert found[0].exit_code == found[1].exit_code
    return found[0]


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_driver_observes_the_same(matrix: Guard, server: Server, program: str) -> None:
    seen = both_ways(matrix, server, [sys.executable, CLIENTS / program], minimum=10)
    assert (seen.exit_code, seen.err) == (0, "")
    assert len(seen.out.splitlines()) >= 12


def psqls() -> list[Path]:
    """psql of 18 and of 15."""
    return [servers.wheel_binaries() / "psql", servers.DEBIAN_15 / "psql"]


@pytest.mark.parametrize("psql", psqls(), ids=["psql18", "psql15"])
@pytest.mark.parametrize(
    ("script", "options", "exit_code"),
    [
        ("psql_tour.sql", [], 0),
        ("psql_stop.sql", [], 3),
        ("psql_stop.sql", ["--single-transaction"], 3),
    ],
)
def test_psql_observes_the_same(
    matrix: Guard, server: Server, psql: Path, script: str, options: list[str], exit_code: int
) -> None:
    seen = both_ways(matrix, server, [psql, "-X", "-a", *options, "-f", CLIENTS / script])
    assert seen.exit_code == exit_code


def test_psql_18_binds_and_pipelines_the_same(matrix: Guard, server: Server) -> None:
    seen = both_ways(matrix, server, [psqls()[0], "-X", "-a", "-f", CLIENTS / "psql_18.sql"], minimum=10)
    assert seen.exit_code == 2, "its last lines end the connection"


def test_psql_runs_several_commands_the_same(matrix: Guard, server: Server) -> None:
    commands = ["-c", "SELECT 1; SELECT 2", "-c", "SELECT 1/0; SELECT 3", "-c", "\\conninfo", "-c", "SELECT 4"]
    assert both_ways(matrix, server, [psqls()[0], "-X", *commands]).exit_code == 0


def test_psql_fails_to_connect_the_same(matrix: Guard, server: Server) -> None:
    """A start-up that the server refuses: the error is the server's own, whole."""
    program: list[str | Path] = [psqls()[0], "-X", "-d", "no_such_database", "-c", "SELECT 1"]
    assert both_ways(matrix, server, program, minimum=0).exit_code == 2


TOTALS = """
SELECT (SELECT count(*) FROM pgbench_accounts), (SELECT sum(abalance) FROM pgbench_accounts),
       (SELECT sum(bbalance) FROM pgbench_branches), (SELECT sum(tbalance) FROM pgbench_tellers),
       (SELECT count(*) FROM pgbench_history), (SELECT sum(delta) FROM pgbench_history),
       (SELECT md5(string_agg(concat_ws(' ', tid, bid, aid, delta), ',' ORDER BY tid, bid, aid, delta)) FROM pgbench_history)
"""
# The same seed makes each of the clients draw the same numbers.
WORK = ("-n", "-c", "8", "-j", "2", "-t", "25", "--random-seed=7")


@pytest.mark.parametrize("mode", ["simple", "extended", "prepared"])
def test_pgbench_does_the_same_work(matrix: Guard, server: Server, mode: str) -> None:
    commands: list[list[str | Path]] = [
        [server.bin / "pgbench", "--initialize", "--quiet"],
        [server.bin / "pgbench", "-M", mode, *WORK],
    ]
    totals = []
    before = matrix.operations()
    for way in (directly, functools.partial(matrix.run, "matrix")):
        with server.database("matrix", FUNCTIONS) as database:
            for command in commands:
                worked = way(command, environment(server, database))
                assert worked.returncode == 0, worked.stderr
            assert "number of transactions actually processed: 200/200" in worked.stdout
            assert "number of failed transactions: 0" in worked.stdout
            with server.connect(database) as connection:
                totals.append(connection.execute(TOTALS).fetchone())
        if way is directly:
            assert matrix.operations() == before, "the direct run went through the guard"
    # Seven statements a transaction; each message of the simple protocol holds one of them.
    assert matrix.operations() - before >= 200 * 7
    assert totals[0] == totals[1]
    assert totals[0] is not None
    accounts, balance, _, _, visits, delta, _ = totals[0]
    assert (accounts, visits, balance) == (100_000, 200, delta)
