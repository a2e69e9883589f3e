"""Unmodified clients observe the same through the guard as directly."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import pytest
from comparison import CLIENTS, FUNCTIONS, PROGRAMS, both_ways, directly, environment, psqls
from guard import Guard
from servers import Server


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_driver_observes_the_same(matrix: Guard, server: Server, program: str) -> None:
    seen = both_ways(matrix, server, [sys.executable, CLIENTS / program], minimum=10)
    assert (seen.exit_code, seen.err) == (0, "")
    assert len(seen.out.splitlines()) >= 12


def test_pgjdbc_observes_the_same(matrix: Guard, server: Server, pgjdbc: list[str | Path]) -> None:
    seen = both_ways(matrix, server, pgjdbc, minimum=60)
    assert (seen.exit_code, seen.err) == (0, "")
    assert seen.out.count("[cancelled, error, 57014, ") == 2


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
