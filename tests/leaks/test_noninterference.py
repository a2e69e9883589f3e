"""Whatever a guarded agent asks, it can't tell two databases apart that differ in secrets only.

Schemas come from a seed, statements over them from hypothesis. Compared is all that comes back: rows, their number and order,
errors, notices, command tags. The statements are also run directly, where many must differ, or the comparison would prove
nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import guard
import pytest
from hypothesis import HealthCheck, given, settings
from leaks import replies, vault
from leaks.queries import scripts
from leaks.replies import Reply
from leaks.schemas import Schema, schema
from servers import Server

BUDGET_S = float(os.environ.get("HOSTGUARD_SOAK_S", "60"))
SOAK_CASES = 2000
"""At least, whatever the budget."""
BATCH = 250
SLICE = 60
SCHEMAS = 10
WAYS = ("hashjoin", "mergejoin", "indexscan", "indexonlyscan", "bitmapscan", "hashagg", "material", "memoize")
SEED = int(os.environ.get("HOSTGUARD_SEED", "6"))
GENERATED = [schema(SEED * 1000 + number, f"s{number}") for number in range(SCHEMAS)]


class Agents:
    """The same agent four times: guarded and direct, on either twin."""

    def __init__(self, processes: dict[tuple[str, str], subprocess.Popen[str]]) -> None:
        self._processes = processes
        self.seen: Counter[str] = Counter()

    def ask(self, sent: str, statements: list[str]) -> dict[tuple[str, str], Reply]:
        """What each sees of one script."""
        line = json.dumps({"sent": sent, "statements": statements}) + "\n"
        for process in self._processes.values():
            assert process.stdin is not None
            process.stdin.write(line)
            process.stdin.flush()
        return {where: self._answer(process) for where, process in self._processes.items()}

    def _answer(self, process: subprocess.Popen[str]) -> Reply:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.stderr.read() if process.stderr else ""
        return replies.one(line)


@contextmanager
def steady(server: Server) -> Iterator[None]:
    """One plan for each query, whatever the sizes of tables, so that rows that nobody ordered come in the order they lie in.

    Sizes differ as secrets have different lengths; that this can be told is known, and not what is looked for here.
    """
    off = ["autovacuum", "synchronize_seqscans", *(f"enable_{way}" for way in WAYS)]
    settings = dict.fromkeys(off, "off") | {"join_collapse_limit": "1", "max_parallel_workers_per_gather": "0"}
    with server.connect() as connection:
        for name, value in settings.items():
            connection.execute(f"ALTER SYSTEM SET {name} = {value}".encode())
        connection.execute("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            for name in settings:
                connection.execute(f"ALTER SYSTEM RESET {name}".encode())
            connection.execute("SELECT pg_reload_conf()")


@contextmanager
def agents(server: Server, schemas: list[Schema]) -> Iterator[Agents]:
    """The twins filled, guarded, and asked."""
    definitions = ";\n".join(text for one in schemas for text in one.definitions)
    tags = vault.tag_table("secret", '{ kind = "null" }', [column for one in schemas for column in one.tagged()])

    def fill(twin: str) -> str:
        return ";\n".join(text for one in schemas for text in one.rows(twin))

    with (
        steady(server),
        vault.twins(server, definitions, fill),
        guard.guarding(vault.guarding(server, tags)) as running,
        ExitStack() as stack,
    ):
        processes = {}
        for twin in vault.TWINS:
            environment = replies.environment(server, twin)
            processes["guarded", twin] = running.begin(vault.WORKLOAD, replies.PROGRAM, environment)
            pipe = subprocess.PIPE
            processes["direct", twin] = subprocess.Popen(replies.PROGRAM, text=True, env=environment, stdin=pipe, stdout=pipe)
        for process in processes.values():
            stack.enter_context(process)
        try:
            yield Agents(processes)
        finally:
            for process in processes.values():
                assert process.stdin is not None
                process.stdin.close()


def judge(asked: Agents, script: tuple[str, list[str]]) -> None:
    """Guarded both twins answer the same."""
    seen = asked.ask(*script)
    one, other = (seen["guarded", twin] for twin in vault.TWINS)
    direct = [seen["direct", twin] for twin in vault.TWINS]
    asked.seen["asked"] += 1
    asked.seen["differ directly"] += direct[0].told() != direct[1].told()
    asked.seen["fail directly"] += any(kind == "E" for kind, _ in direct[0].frames)
    asked.seen["permitted"] += not any(kind == "E" for kind, _ in one.frames)
    assert one.told() == other.told(), (script, one.lines(), other.lines())


def prove(asked: Agents, cases: int, derandomize: bool, anywhere: bool) -> None:
    """Ask `cases` scripts; raises AssertionError with the smallest that tells the twins apart."""

    slow = [HealthCheck.too_slow]

    @settings(max_examples=cases, deadline=None, derandomize=derandomize, suppress_health_check=slow, database=None)
    @given(scripts(GENERATED, anywhere))
    def every(script: tuple[str, list[str]]) -> None:
        judge(asked, script)

    every()


@pytest.fixture(scope="module")
def asked(postgres18: Server) -> Iterator[Agents]:
    """Four agents for all tests of this module."""
    with agents(postgres18, GENERATED) as started:
        yield started


def assert_not_vacuous(asked: Agents) -> None:
    """Directly many differ and few fail, guarded many are permitted."""
    seen = asked.seen
    assert seen["differ directly"] * 3 > seen["asked"], seen
    assert seen["fail directly"] * 4 < seen["asked"], seen
    assert seen["permitted"] * 3 > seen["asked"], seen


def test_replies_tell_nothing_of_secrets(asked: Agents) -> None:
    asked.seen.clear()
    prove(asked, SLICE, derandomize=True, anywhere=False)
    assert_not_vacuous(asked)


def test_nothing_tells_of_secrets_wherever_they_stand(asked: Agents) -> None:
    prove(asked, SLICE, derandomize=True, anywhere=True)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_thousands_of_replies_tell_nothing_of_secrets(asked: Agents) -> None:
    asked.seen.clear()
    until = time.monotonic() + BUDGET_S
    while asked.seen["asked"] < SOAK_CASES or time.monotonic() < until:
        prove(asked, BATCH, derandomize=False, anywhere=False)
    print(dict(asked.seen))
    assert_not_vacuous(asked)
