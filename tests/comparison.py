"""A program run directly, then through the guard: what it observed must be the same."""

from __future__ import annotations

import difflib
import functools
import os
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import servers
from guard import Guard
from servers import Server

CLIENTS = Path(__file__).parent / "e2e" / "clients"
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


_EVERYTHING = """
@id("the matrix may do everything")
permit (principal in Role::"matrix", action, resource);
"""

# What a function does can't be told from its call, so that each has to be named.
_FUNCTION = """
@id("the matrix has {name} on {resource}")
permit (principal in Role::"matrix", action, resource == Function::"{resource}/matrix/public/{name}");
"""
_NAMES = ("says", "fails", "f", "twice")


def everything_on(resources: Iterable[str]) -> str:
    """Policies by which the role ``matrix`` may do everything on these resources."""
    return _EVERYTHING + "".join(_FUNCTION.format(name=name, resource=resource) for name in _NAMES for resource in resources)


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


def environment(server: Server, database: str, more: Mapping[str, str] = {}) -> dict[str, str]:
    """Where to connect, and nothing that tells a program whether it is guarded."""
    own = {"PYTHONPATH": str(CLIENTS.parent.parent), "PSQLRC": "/dev/null", "PSQL_HISTORY": "/dev/null", "LC_ALL": "C.UTF-8"}
    return {**server.environment(database), **own, **more}


def difference(direct: str, guarded: str) -> str:
    """What the guarded run observed otherwise, as a diff with lines of a readable length."""
    lines = difflib.unified_diff(direct.splitlines(), guarded.splitlines(), "direct", "guarded", lineterm="", n=1)
    return "\n".join(line[:500] for line in lines)


def directly(program: Sequence[str | Path], variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a program as anybody on this host may, unguarded."""
    full = {**os.environ, **variables}
    return subprocess.run(program, capture_output=True, text=True, timeout=100, check=False, env=full, input="")


def both_ways(
    matrix: Guard, server: Server, program: list[str | Path], minimum: int = 1, more: Mapping[str, str] = {}
) -> Observed:
    """Run a program directly, then guarded, each in a fresh database; they must agree. Returns what they observed.

    `more`: of its environment.
    """
    before = matrix.operations()
    found = []
    for way in (directly, functools.partial(matrix.run, "matrix")):
        with server.database("matrix", FUNCTIONS) as database:
            found.append(observed(way(program, environment(server, database, more))))
        if way is directly:
            assert matrix.operations() == before, "the direct run went through the guard"
    assert matrix.operations() >= before + minimum, "the guarded run did not go through the guard"
    changes = difference(found[0].out, found[1].out) + difference(found[0].err, found[1].err)
    assert not changes, changes
    assert found[0].exit_code == found[1].exit_code
    return found[0]


PGJDBC = Path("/usr/share/java/postgresql.jar")
"""Debian's: scripts/provision installs it."""


def pgjdbc_tour(folder: Path) -> list[str | Path]:
    """The command that runs ``Tour.java``, compiled into `folder`."""
    subprocess.run(["javac", "-cp", PGJDBC, "-d", folder, CLIENTS / "Tour.java"], check=True)
    return ["java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", f"{PGJDBC}:{folder}", "Tour"]


def psqls() -> list[Path]:
    """psql of 18 and of 15."""
    return [servers.wheel_binaries() / "psql", servers.DEBIAN_15 / "psql"]
