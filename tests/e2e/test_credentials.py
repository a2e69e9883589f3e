"""Agents that hold no secret log in to real servers: as whom, after a rotation, while the broker is away, and who knows what."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import guard
import logins
import memory
import pytest
from guard import Guard
from logins import SECRET
from servers import Server

from hostguard.protocols.postgres import scram

ASK = Path(__file__).parent / "agents" / "ask.py"
CANCELLED = Path(__file__).parent / "agents" / "cancelled.py"
WHO = "SELECT current_user, current_database()"
# Behind the resource's own lines in the file.
CREDENTIALS = """
credential = "shop-app"
{more}
[credentials.shop-app]
user = "scrammer"
secret = "file:{folder}/secrets/shop"
methods = ["scram-sha-256", "md5"]
roles.digesters = {{ user = "digester" }}
agents.third = {{ user = "trusted" }}
agents.fourth = {{ user = "barred" }}
"""


@pytest.fixture(scope="module")
def shop(postgres18: Server) -> Iterator[Server]:
    with logins.roles(postgres18):
        yield postgres18


def guarded(server: Server, more: str = "") -> Iterator[Guard]:
    agents = {"first": guard.Agent(()), "second": guard.Agent(("digesters",)), "third": guard.Agent(("digesters",))}
    agents["fourth"] = guard.Agent(())
    setup = guard.Setup(
        agents=agents,
        resources={"shop": f"{server.host}:{server.port}"},
        policies='@id("all") permit (principal, action, resource);',
        tags=CREDENTIALS,
        workers=1,
    )
    with guard.prepared(setup) as prepared:
        text = prepared.config.read_text()
        at = text.index("\ncredential =")
        prepared.config.write_text(text[:at] + text[at:].format(folder=prepared.folder, more=more))
        write(prepared, SECRET)
        prepared.start()
        yield prepared


@pytest.fixture(scope="module")
def running(shop: Server) -> Iterator[Guard]:
    yield from guarded(shop)


def write(running: Guard, secret: str) -> None:
    """Put the secret where the configuration says."""
    place = running.folder / "secrets" / "shop"
    place.parent.mkdir(mode=0o700, exist_ok=True)
    new = place.with_suffix(".new")
    new.write_text(secret + "\n")
    new.chmod(0o600)
    new.rename(place)


def ask(running: Guard, server: Server, workload: str, *statements: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the agent as a user of the database that does not exist, without a password."""
    environment = {"PGHOST": server.host, "PGPORT": str(server.port), "PGUSER": "anyone", **more}
    return running.run(workload, [sys.executable, ASK, *statements], environment)


def answers(running: Guard, server: Server, workload: str, **more: str) -> str:
    done = ask(running, server, workload, WHO, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[0]


def test_the_databases_user_follows_from_the_agent(running: Guard, shop: Server) -> None:
    assert answers(running, shop, "first") == "scrammer|anyone"
    assert answers(running, shop, "second") == "digester|anyone"
    assert answers(running, shop, "third") == "trusted|anyone"
    assert answers(running, shop, "first", PGPASSWORD="dummy", PGDATABASE="postgres") == "scrammer|postgres"


def test_the_record_says_as_whom_and_by_which_credential(running: Guard, shop: Server) -> None:
    answers(running, shop, "second")
    flow = max(flow["flow"] for flow in running.ask("recordings", "list"))
    shown = running.cli("recordings", "show", str(flow)).stdout
    assert "digester to database anyone by credential shop-app" in shown
    assert "user=anyone" in shown


def test_what_was_cancelled_is_cancelled(running: Guard, shop: Server) -> None:
    environment = {"PGHOST": shop.host, "PGPORT": str(shop.port), "PGUSER": "anyone"}
    done = running.run("first", [sys.executable, CANCELLED], environment)
    assert done.returncode == 0, done.stderr
    assert "57014" in done.stdout


def test_tags_are_scanned_with_the_credential_and_on_record(running: Guard, shop: Server) -> None:
    with shop.connect("anyone") as connection:
        connection.execute("CREATE TABLE people (id int, contact text); GRANT SELECT ON people TO scrammer")
        connection.execute("INSERT INTO people SELECT i, 'person' || i || '@example.com' FROM generate_series(1, 20) i")
    done = running.cli("tags", "scan", "shop", "--workload", "first", "--database", "anyone", "--json")
    assert done.returncode == 0, done.stderr
    (proposal,) = json.loads(done.stdout)["proposals"]
    assert (proposal["tag"], proposal["reasons"]) == ("pii.email", ["20 of 20 values"])
    flow = max(flow["flow"] for flow in running.ask("recordings", "list"))
    shown = running.cli("recordings", "show", str(flow)).stdout
    assert "scrammer to database anyone by credential shop-app" in shown
    assert "@example.com" not in shown


def test_a_new_secret_is_found_by_the_login_that_the_server_refuses(running: Guard, shop: Server) -> None:
    assert answers(running, shop, "first") == "scrammer|anyone"
    with rotated(shop, "another one"):
        refused = ask(running, shop, "first", WHO)
        assert refused.returncode != 0
        assert 'the server refused the credential "shop-app"' in refused.stderr
        assert "scrammer" not in refused.stderr
        assert any("refused the credential" in fault["reason"] for fault in running.status()["faults"])
        write(running, "another one")
        assert answers(running, shop, "first") == "scrammer|anyone"
    write(running, SECRET)
    assert answers(running, shop, "first") == "scrammer|anyone"


def test_a_server_that_lets_nobody_try_is_told_and_the_worker_lives(running: Guard, shop: Server) -> None:
    workers = running.workers()
    refused = ask(running, shop, "fourth", WHO)
    assert 'the server refused the credential "shop-app"' in refused.stderr
    assert "barred" not in refused.stderr
    flow = max(flow["flow"] for flow in running.ask("recordings", "list"))
    assert "pg_hba.conf rejects connection" in running.cli("recordings", "show", str(flow)).stdout
    assert running.workers() == workers


class rotated:  # noqa: N801 (reads as a statement)
    """The role's password is another one."""

    def __init__(self, server: Server, secret: str) -> None:
        self.server, self.secret = server, secret

    def __enter__(self) -> None:
        self._set(self.secret)

    def __exit__(self, *_exc: object) -> None:
        self._set(SECRET)

    def _set(self, secret: str) -> None:
        with self.server.connect() as connection:
            connection.execute("SET password_encryption = 'scram-sha-256'")
            connection.execute(f"ALTER ROLE scrammer PASSWORD '{secret}'".encode())


def test_the_secret_and_its_keys_are_in_no_other_process_after_logins(running: Guard, shop: Server) -> None:
    for workload in ("first", "second"):
        answers(running, shop, workload)
    with shop.connect() as connection:
        row = connection.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'scrammer'").fetchone()
    assert row is not None
    iterations, salt = row[0].split("$")[1].split(":")
    salted = scram.derive(SECRET.encode(), base64.b64decode(salt), int(iterations))
    # Taken apart: this process is not looked through, but its sources are loaded by nobody else either.
    wanted = {"salted": salted, "client key": scram.client_key(salted), "secret": SECRET.encode()}
    assert running.process is not None
    broker = int(running.status()["broker"]["pid"])
    assert {"salted", "secret"} <= memory.found_in(broker, wanted)
    others = [pid for pid in memory.descendants(running.process.pid) if pid != broker]
    assert set(running.workers()) <= set(others)
    assert {pid: found for pid in others if (found := memory.found_in(pid, wanted))} == {}


def test_while_the_broker_is_away_nobody_logs_in_and_who_has_goes_on(running: Guard, shop: Server) -> None:
    broker = int(running.status()["broker"]["pid"])
    environment = {"PGHOST": shop.host, "PGPORT": str(shop.port), "PGUSER": "anyone"}
    talk = Path(__file__).parent / "agents" / "converse.py"
    agent = running.begin("first", [sys.executable, talk], environment)
    assert agent.stdin is not None
    assert agent.stdout is not None
    try:
        print(json.dumps([WHO]), file=agent.stdin, flush=True)
        assert "scrammer" in agent.stdout.readline()
        os.kill(broker, signal.SIGSTOP)
        os.kill(broker, signal.SIGKILL)
        refused = ask(running, shop, "first", WHO)
        if refused.returncode != 0:
            assert "broker" in refused.stderr
        print(json.dumps([WHO]), file=agent.stdin, flush=True)
        assert "scrammer" in agent.stdout.readline()
    finally:
        agent.kill()
        agent.communicate()


def test_a_client_that_wants_scram_gets_it(shop: Server) -> None:
    guards = guarded(shop, 'client_password = "word"')
    running = next(guards)
    try:
        assert answers(running, shop, "first", PGPASSWORD="word", PGREQUIREAUTH="scram-sha-256") == "scrammer|anyone"
        wrong = ask(running, shop, "first", WHO, PGPASSWORD="no")
        assert "login to hostguard: password authentication failed" in wrong.stderr
        assert "fe_sendauth: no password supplied" in ask(running, shop, "first", WHO).stderr
    finally:
        guards.close()  # type: ignore[attr-defined]
