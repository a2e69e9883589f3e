"""A configuration edited while the daemon runs: in force for open flows as well, or refused whole."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator

import guard
import pytest
from servers import Server

READS = '@id("reads") permit (principal in Role::"r", action in Action::"read", resource in Database::"pg/postgres");\n'
NOTHING = '@id("nothing") forbid (principal, action in Action::"read", resource);\n'
ASKS = """
import psycopg, sys
with psycopg.connect("", autocommit=True) as connection:
    for line in sys.stdin:
        try:
            print(connection.execute("SELECT count(*) >= 0 FROM pg_catalog.pg_class").fetchone()[0], flush=True)
        except psycopg.Error as error:
            print(error.sqlstate, flush=True)
"""


@pytest.fixture(scope="module")
def running(postgres18: Server) -> Iterator[guard.Guard]:
    """What the last test makes of its configuration stays."""
    setup = guard.Setup(
        agents={"one": guard.Agent(("r",))}, resources={"pg": f"{postgres18.host}:{postgres18.port}"}, policies=READS
    )
    with guard.guarding(setup) as started:
        yield started


def hup(running: guard.Guard, done: Callable[[dict[str, object]], bool]) -> None:
    """Tell the daemon to reload, and wait until its status says so."""
    assert running.process is not None
    running.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 20
    while not done(status := running.status()):
        assert time.monotonic() < deadline, status
        time.sleep(0.05)


def test_open_flows_follow_the_new_policy_and_a_mistake_changes_nothing(running: guard.Guard, postgres18: Server) -> None:
    agent = running.begin("one", [sys.executable, "-c", ASKS], postgres18.environment("postgres", "postgres"))
    assert agent.stdin is not None
    assert agent.stdout is not None

    def ask() -> str:
        assert agent.stdin is not None
        assert agent.stdout is not None
        agent.stdin.write("\n")
        agent.stdin.flush()
        return agent.stdout.readline().strip()

    assert ask() == "True"
    policies = running.folder / "policies.cedar"
    policies.write_text(READS + NOTHING)
    hup(running, lambda status: status["policy"]["epoch"] == 2)  # type: ignore[index]
    assert ask() == "42501"
    policies.write_text(READS.replace("permit", "permt"))
    hup(running, lambda status: "reload was refused" in " ".join(status["problems"]))  # type: ignore[arg-type]
    assert "policies.cedar" in "".join(running.lines)
    assert ask() == "42501"
    policies.write_text(READS)
    hup(running, lambda status: status["state"] == "guarding" and status["policy"]["epoch"] == 3)  # type: ignore[index]
    assert ask() == "True"
    agent.communicate(timeout=30)


def test_what_takes_a_restart_is_refused_by_name(running: guard.Guard) -> None:
    running.config.write_text(running.config.read_text().replace("timeout_s = 60", "timeout_s = 61"))
    hup(running, lambda status: status["state"] == "degraded")
    assert "approvals can't change while the daemon runs" in "".join(running.lines)


HASHES = """
import psycopg, sys
with psycopg.connect("", autocommit=True) as connection:
    for line in sys.stdin:
        print(*connection.execute("SELECT mail FROM public.hashed").fetchone(), flush=True)
"""
HASHED = '[tags."pii.email"]\ncolumns = ["pg/hashing/public/hashed/mail"]\nmask = { kind = "hash" }  # joins\n'


def test_rotated_keys_are_in_force_for_open_flows_at_once(postgres18: Server) -> None:
    setup = guard.Setup(
        agents={"one": guard.Agent(("r",))},
        resources={"pg": f"{postgres18.host}:{postgres18.port}"},
        policies='@id("reads") permit (principal in Role::"r", action in Action::"read", resource);\n',
        tags=HASHED,
    )
    fill = "CREATE TABLE hashed (mail text); INSERT INTO hashed VALUES ('ada@example.com')"
    with postgres18.database("hashing", fill), guard.guarding(setup) as running:
        agent = running.begin("one", [sys.executable, "-c", HASHES], postgres18.environment("hashing"))

        def ask() -> str:
            assert agent.stdin is not None
            assert agent.stdout is not None
            agent.stdin.write("\n")
            agent.stdin.flush()
            return agent.stdout.readline().strip()

        before = ask()
        assert len(before) == 32
        assert ask() == before
        text = running.config.read_text()
        mode = running.config.stat().st_mode
        told = running.cli("tags", "rotate", "pii.email", "--json")
        assert json.loads(told.stdout) == {"tags": ["pii.email"], "generation": 1, "epoch": 2}, told.stderr
        assert running.config.read_text() == text.replace('{ kind = "hash" }', '{ kind = "hash", generation = 1 }')
        assert running.config.stat().st_mode == mode
        after = ask()
        assert len(after) == 32
        assert after != before
        assert json.loads(running.cli("tags", "rotate", "--all", "--json").stdout)["generation"] == 2
        assert ask() not in (before, after)
        assert running.cli("tags", "rotate").returncode == 2
        wrong = running.cli("tags", "rotate", "nowhere")
        assert wrong.returncode == 1
        assert "tags.nowhere has no mask of kind hash or format" in wrong.stderr
        agent.communicate(timeout=30)
