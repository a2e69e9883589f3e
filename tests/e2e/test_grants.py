"""Grants and tickets: what was permitted in advance, judged by what a real database then executed."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any, TypeVar

import guard
import pytest
from e2e.talk import Talk, guarded
from granted import (
    BERT,
    CAROL,
    OPTIONS,
    POLICY,
    SCRIPT,
    STRANGER,
    USERS,
    answer,
    api,
    as_user,
    issued,
    pending,
    refused,
    requests,
    revoke,
    shown,
)
from servers import Server

from hostguard.agent.client import Refused
from hostguard.recorder.entry import Decision, GrantIssued, GrantUsed
from hostguard.recorder.reader import Reader

OfGrant = TypeVar("OfGrant", GrantIssued, GrantUsed, Decision)


@pytest.fixture(scope="module")
def running(postgres18: Server) -> Iterator[guard.Guard]:
    """A guard with an agent, an owner, two DBAs and somebody who is none."""
    setup = guard.Setup(
        agents={"worker": guard.Agent(("worker",)), "other": guard.Agent(("worker",))},
        resources={"pg": f"{postgres18.host}:{postgres18.port}"},
        policies=POLICY,
        tags=USERS,
        workers=2,
    )
    with guard.guarding(setup) as started:
        yield started
        assert "Traceback" not in "".join(started.lines)


@pytest.fixture
def database(postgres18: Server) -> Iterator[str]:
    with postgres18.database("granted", SCRIPT) as name:
        yield name


@pytest.fixture
def talk(running: guard.Guard, postgres18: Server, database: str) -> Iterator[Talk]:
    with guarded(running, "worker", postgres18, database) as session:
        yield session
        for request in requests(running):
            answer(running, "deny", request)


def test_a_granted_statement_runs_at_once_as_often_as_it_may(running: guard.Guard, talk: Talk) -> None:
    grant = issued(running, "DELETE FROM t WHERE n = 1", uses=2)
    assert (grant["state"], grant["left"], grant["issuers"], grant["kind"]) == ("usable", 2, ["bob"], "statement")
    assert talk("DELETE FROM t WHERE n = 1") == ["DELETE 1"]
    assert talk(True, "DELETE FROM t WHERE n = 1") == ["DELETE 0"]
    # Used up: held, as anything else that differs.
    refused(running, talk.begin("DELETE FROM t WHERE n = 1"))
    assert shown(running, grant)["state"] == "used up"
    assert grant["id"] not in [each["id"] for each in api(running).get("/v1/grants")]


def test_nothing_but_the_very_statement_is_granted(running: guard.Guard, talk: Talk) -> None:
    grant = issued(running, "DELETE FROM t WHERE n = 1")
    for other in ("n = 2", "n =  1", "N = 1", "n = 1 OR n = 2"):
        refused(running, talk.begin(f"DELETE FROM t WHERE {other}"))
    assert revoke(running, grant)["left"] == 1


def test_a_grant_is_one_agents_in_one_database(running: guard.Guard, postgres18: Server, database: str) -> None:
    grant = issued(running, "DELETE FROM t WHERE n = 1")
    with guarded(running, "other", postgres18, database) as other:
        refused(running, other.begin("DELETE FROM t WHERE n = 1"))
    with postgres18.database("elsewhere", SCRIPT) as elsewhere, guarded(running, "worker", postgres18, elsewhere) as there:
        refused(running, there.begin("DELETE FROM t WHERE n = 1"))
    assert revoke(running, grant)["left"] == 1


def test_a_shape_covers_other_values_but_no_other_meaning(running: guard.Guard, talk: Talk) -> None:
    grant = issued(running, "DELETE FROM t WHERE n = 1", shape=True, uses=3)
    assert talk("DELETE FROM t WHERE n = 7") == ["DELETE 1"]
    assert talk("DELETE FROM t WHERE n = 8") == ["DELETE 1"]
    for other in ("n = n", "n = '8'", "n = 8 OR n = 9"):
        refused(running, talk.begin(f"DELETE FROM t WHERE {other}"))
    assert talk("DELETE FROM t WHERE n = 9") == ["DELETE 1"]
    assert shown(running, grant)["left"] == 0


def test_a_shape_whose_values_matter_covers_nothing(running: guard.Guard, talk: Talk) -> None:
    """1 = 2 deletes nothing, 1 = 1 everything: what is asked of the policies differs."""
    grant = issued(running, "DELETE FROM t WHERE 1 = 2", shape=True, uses=3)
    refused(running, talk.begin("DELETE FROM t WHERE 1 = 1"))
    refused(running, talk.begin("DELETE FROM t WHERE 1 = 2"))
    assert revoke(running, grant)["left"] == 3


def test_bound_values_are_part_of_a_granted_statement(running: guard.Guard, postgres18: Server, database: str) -> None:
    """As psycopg sends them: a small integer in binary, with its type."""
    grant = issued(running, "DELETE FROM t WHERE n = $1 AND s = $2", parameters=["3", ""], uses=2)
    code = """
import psycopg
with psycopg.connect("", autocommit=True) as connection:
    print(connection.execute("DELETE FROM t WHERE n = %b AND s = %t", (3, "")).statusmessage)
    try:
        print(connection.execute("DELETE FROM t WHERE n = %b AND s = %t", (4, "")).statusmessage)
    except psycopg.Error as error:
        print(error.sqlstate)
"""
    process = running.begin("worker", [sys.executable, "-c", code], postgres18.environment(database))
    (request,) = pending(running)
    assert request["parameters"] == ["4", "''"]
    answer(running, "deny", request)
    assert process.communicate(timeout=60) == ("DELETE 1\n42501\n", "")
    assert revoke(running, grant)["left"] == 1


def test_the_last_use_is_had_once_whoever_asks(running: guard.Guard, postgres18: Server, talk: Talk, database: str) -> None:
    """Eight sessions of two workers at once, five uses."""
    grant = issued(running, "INSERT INTO t VALUES (100, '')", uses=5)
    code = """
import threading, psycopg
def insert():
    with psycopg.connect("", autocommit=True) as connection:
        started.wait()
        try:
            connection.execute("INSERT INTO t VALUES (100, '')")
        except psycopg.Error as error:
            print(error.sqlstate)
started = threading.Barrier(8)
for thread in [threading.Thread(target=insert) for _ in range(8)]:
    thread.start()
"""
    agent = running.begin("worker", [sys.executable, "-c", code], postgres18.environment(database))
    for request in pending(running, 3):
        answer(running, "deny", request)
    assert agent.communicate(timeout=60) == ("42501\n" * 3, "")
    assert talk("SELECT count(*) FROM t WHERE n = 100") == ["5"]
    assert shown(running, grant)["left"] == 0


def test_a_yes_can_come_with_more_uses(running: guard.Guard, talk: Talk) -> None:
    first = talk.begin("DELETE FROM t WHERE n = 5")
    (request,) = pending(running)
    for terms, why in (({"uses": 3}, "until which"), ({"uses": 99, "until": time.time() + 60}, "bob may not issue a grant")):
        with pytest.raises(Refused, match=why):
            answer(running, "approve", request, **terms)
    granted = answer(running, "approve", request, uses=3, until=time.time() + 3600, reason="batch")
    assert first() == ["DELETE 1"]
    grant = api(running).get(f"/v1/grants/{granted['grant']}")
    assert (grant["kind"], grant["digest"], grant["left"], grant["request"]) == ("operation", request["digest"], 2, request["id"])
    assert talk("DELETE FROM t WHERE n = 5") == ["DELETE 0"]
    assert talk("DELETE FROM t WHERE n = 5") == ["DELETE 0"]
    refused(running, talk.begin("DELETE FROM t WHERE n = 5"))


def test_a_revoked_grant_releases_nothing_more(running: guard.Guard, talk: Talk) -> None:
    grant = issued(running, "DELETE FROM t WHERE n = 6", uses=5)
    assert talk("DELETE FROM t WHERE n = 6") == ["DELETE 1"]
    assert "may not revoke" in as_user(running, CAROL, "grants", "revoke", grant["id"])
    revoked = revoke(running, grant, "enough")
    assert (revoked["state"], revoked["left"], revoked["revoked_by"]) == ("revoked", 4, "bob")
    refused(running, talk.begin("DELETE FROM t WHERE n = 6"))
    with pytest.raises(Refused, match="is revoked already"):
        revoke(running, grant)


def test_where_two_must_approve_a_grant_takes_two(running: guard.Guard, talk: Talk) -> None:
    grant = issued(running, "UPDATE t SET s = 'x' WHERE n = 2")
    refused(running, talk.begin("UPDATE t SET s = 'x' WHERE n = 2"))
    with pytest.raises(Refused, match="bob stands for"):
        api(running).post(f"/v1/grants/{grant['id']}/endorse")
    assert "may not stand" in as_user(running, CAROL, "grants", "endorse", grant["id"])
    assert json.loads(as_user(running, BERT, "grants", "endorse", grant["id"], "--json"))["issuers"] == ["bob", "bert"]
    assert talk("UPDATE t SET s = 'x' WHERE n = 2") == ["UPDATE 1"]


def test_who_may_issue_is_for_policies_to_say(running: guard.Guard) -> None:
    by_hand = ["grants", "issue", *OPTIONS, "--uses", "1", "--until", "1h", "DELETE FROM t WHERE n = 1"]
    assert "carol may not issue this grant" in as_user(running, CAROL, *by_hand)
    now = time.time()
    rows: list[tuple[dict[str, Any], str]] = [
        ({"uses": 51}, "bob may not issue"),
        ({"until": now + 90_000}, "bob may not issue"),
        ({"agent": "nobody"}, "There is no agent nobody"),
        ({"not_before": now + 7200}, "has to end after it begins"),
        ({"until": now - 1}, "has to end after it begins"),
        ({"uses": 0}, "one use at least"),
        ({"shape": True, "statement": "SELECT E'x'"}, "shape can't be told"),
    ]
    for terms, why in rows:
        with pytest.raises(Refused, match=why):
            issued(running, str(terms.pop("statement", "DELETE FROM t WHERE n = 1")), **terms)


def test_a_window_is_kept(running: guard.Guard, talk: Talk) -> None:
    grant = issued(running, "DELETE FROM t WHERE n = 10", not_before=time.time() + 1800)
    assert grant["state"] == "waiting"
    refused(running, talk.begin("DELETE FROM t WHERE n = 10"))
    assert revoke(running, grant)["left"] == 1


def on_record(running: guard.Guard, kind: type[OfGrant], grant: str) -> list[OfGrant]:
    entries = (entry for _, entry in Reader(running.folder / "state" / "log").entries())
    return [entry for entry in entries if isinstance(entry, kind) and entry.grant == grant]


def test_what_a_grant_released_is_on_record_with_it(running: guard.Guard, talk: Talk) -> None:
    issuing = running.cli("grants", "issue", *OPTIONS, "--uses", "2", "--until", "1h", "DELETE FROM t WHERE n = 11", "--json")
    grant = json.loads(issuing.stdout)
    assert talk("DELETE FROM t WHERE n = 11") == ["DELETE 1"]
    # The decision comes by its worker's journal, which the log takes up a little later.
    until = time.monotonic() + 15
    while not (decided := on_record(running, Decision, grant["id"])):
        assert time.monotonic() < until, "the decision is not on record"
        time.sleep(0.05)
    issuance, used = on_record(running, GrantIssued, grant["id"]), on_record(running, GrantUsed, grant["id"])
    assert [(entry.user, entry.text, entry.uses) for entry in issuance] == [("bob", "DELETE FROM t WHERE n = 11", 2)]
    assert [(entry.left, entry.users) for entry in used] == [(1, ("bob",))]
    assert [(entry.verdict, entry.operation) for entry in decided] == [("allow", used[0].operation)]
    assert issuance[0].mono_ns < used[0].mono_ns < decided[0].mono_ns
    told = running.cli("grants", "show", grant["id"])
    assert "1 of 2 uses left" in told.stdout, told.stderr
    assert grant["id"] in running.cli("grants", "list").stdout
    assert "revoked" in running.cli("grants", "revoke", grant["id"]).stdout


def test_a_ticket_is_refused_then_goes_through_once_it_is_approved(running: guard.Guard, talk: Talk) -> None:
    said = talk("TRUNCATE t")
    (ticket,) = pending(running)
    assert ticket["mode"] == "ticket"
    assert f"this waits for approval as request {ticket['id']}" in said[0]
    assert "Run it again" in said[0]
    # Asked for again it is the same request.
    assert ticket["id"] in talk("TRUNCATE t")[0]
    assert [each["id"] for each in pending(running)] == [ticket["id"]]
    with pytest.raises(Refused, match="is not the operation"):
        answer(running, "approve", ticket, digest="00")
    assert answer(running, "approve", ticket, digest=ticket["digest"])["state"] == "approved"
    talk()
    assert talk("SELECT count(*) FROM t") == ["20"]
    assert talk("TRUNCATE t") == ["TRUNCATE TABLE"]
    assert api(running).get(f"/v1/requests/{ticket['id']}")["state"] == "used"
    assert "waits for approval" in talk("TRUNCATE t")[0]
    (second,) = pending(running)
    assert second["id"] != ticket["id"]


def test_a_denied_ticket_stays_denied_and_a_withdrawn_one_can_be_asked_for_anew(running: guard.Guard, talk: Talk) -> None:
    talk("TRUNCATE ONLY t")
    (ticket,) = pending(running)
    answer(running, "deny", ticket, reason="no way")
    for _ in range(2):
        assert f"bob denied request {ticket['id']}: no way" in talk("TRUNCATE ONLY t")[0]
    assert requests(running) == []
    talk("TRUNCATE TABLE t")
    (ticket,) = pending(running)
    answer(running, "approve", ticket)
    assert "may not withdraw" in as_user(running, STRANGER, "requests", "withdraw", ticket["id"])
    assert answer(running, "withdraw", ticket)["state"] == "withdrawn"
    assert "waits for approval" in talk("TRUNCATE TABLE t")[0]
    assert pending(running)[0]["id"] != ticket["id"]
    assert talk("SELECT count(*) FROM t") == ["20"]


@pytest.mark.timeout(300)
def test_grants_and_tickets_outlive_a_restart_and_a_crash(
    running: guard.Guard, postgres18: Server, talk: Talk, database: str
) -> None:
    grant = issued(running, "DELETE FROM t WHERE n = 12", uses=3)
    assert talk("DELETE FROM t WHERE n = 12") == ["DELETE 1"]
    talk("TRUNCATE t RESTART IDENTITY")
    (ticket,) = pending(running)
    assert running.cli("restart").returncode == 0
    assert talk("DELETE FROM t WHERE n = 12") == ["DELETE 0"]
    assert [each["id"] for each in requests(running)] == [ticket["id"]]
    answer(running, "approve", ticket)
    running.kill()
    running.start()
    assert shown(running, grant)["left"] == 1
    assert api(running).get(f"/v1/requests/{ticket['id']}")["state"] == "approved"
    with guarded(running, "worker", postgres18, database) as anew:
        assert anew("DELETE FROM t WHERE n = 12") == ["DELETE 0"]
        assert anew("TRUNCATE t RESTART IDENTITY") == ["TRUNCATE TABLE"]
        refused(running, anew.begin("DELETE FROM t WHERE n = 12"))


KILLS = int(os.environ.get("HOSTGUARD_GRANT_KILLS", "1"))
SPENDING = """
import sys, time, psycopg
while True:
    try:
        with psycopg.connect("", autocommit=True) as connection:
            while True:
                connection.execute("INSERT INTO t VALUES (500, '')")
                print("done", flush=True)
    except psycopg.Error:
        time.sleep(0.05)
"""


@pytest.mark.timeout(300 + 60 * KILLS)
def test_killed_at_any_moment_the_database_never_saw_more_than_was_granted(
    running: guard.Guard, postgres18: Server, database: str
) -> None:
    """The database's own table is what counts: rows that agents inserted by a grant, while the daemon was killed."""
    grant = issued(running, "INSERT INTO t VALUES (500, '')", uses=50)
    agents = [running.begin("worker", [sys.executable, "-c", SPENDING], postgres18.environment(database)) for _ in range(2)]
    with postgres18.connect(database) as connection:

        def rows() -> int:
            (count,) = connection.execute("SELECT count(*) FROM t WHERE n = 500").fetchone() or (0,)
            return int(count)

        for _ in range(KILLS):
            before, until = rows(), time.monotonic() + 60
            while rows() < min(before + 50 // (KILLS + 2), 49):
                assert time.monotonic() < until
            running.kill()
            running.start()
            assert rows() + shown(running, grant)["left"] <= 50
        until = time.monotonic() + 60
        while shown(running, grant)["left"]:
            assert time.monotonic() < until
            time.sleep(0.1)
        pending(running, 2)
        assert 50 - 2 * KILLS <= rows() <= 50
        assert [each.poll() for each in agents] == [None, None]
        for agent in agents:
            agent.kill()
            agent.communicate()
