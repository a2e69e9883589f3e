"""Duties and budgets through the real hooks: two agents of one owner, a server whose own tables are the judge."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import guard
import pytest
from e2e.talk import guarded
from servers import Server

from hostguard.recorder import entry
from hostguard.recorder.reader import Reader

POLICY = """
@id("bots work") permit (principal, action in [Action::"read", Action::"write"], resource in Schema::"pg/DATABASE/public");
@id("makes rows") permit (principal, action == Action::"call", resource == Function::"pg/DATABASE/pg_catalog/generate_series");
@id("payer deletes with an approval") permit (principal == Agent::"payer", action == Action::"delete", resource)
when { context has approval };
@id("unapproved deletes") forbid (principal == Agent::"payer", action == Action::"delete", resource)
unless { context has approval };
@id("clerk deletes by ticket") @hold("ticket") permit (principal == Agent::"clerk", action == Action::"delete", resource)
when { context has approval };
@id("unticketed deletes") forbid (principal == Agent::"clerk", action == Action::"delete", resource)
unless { context has approval };
@id("dba approves") permit (principal in Group::"dba", action in [Action::"approve", Action::"issue"], resource);
"""
TABLES = """
[agents.bobs]
owner = "bob"
[duties.make]
actions = ["insert"]
objects = ["pg/DATABASE/public/payees"]
key = "iban"
[duties.pay]
actions = ["update", "delete"]
objects = ["pg/DATABASE/public/payments"]
key = "payee"
[exclusions.one-payee]
duties = ["make", "pay"]
within = "object"
[budgets.few]
agents = ["counted"]
window_s = 3600
operations = 10
[budgets.lasting]
agents = ["lasting"]
window_s = 3600
operations = 10
[budgets.rows]
agents = ["reader"]
window_s = 3600
rows = 5000
[budgets.asked]
agents = ["asking"]
window_s = 3600
operations = 2
over = "hold"
"""
SCRIPT = """
CREATE TABLE payees (iban text PRIMARY KEY);
CREATE TABLE payments (payee text, paid bool DEFAULT false);
INSERT INTO payments SELECT 'DE' || n FROM generate_series(1, 9) n;
CREATE VIEW open_payments AS SELECT * FROM payments WHERE NOT paid;
CREATE TABLE many AS SELECT n, repeat('x', 100) AS filler FROM generate_series(1, 60000) n;
"""
DATABASE = "restrained"
pytestmark = pytest.mark.timeout(400)
ASK = Path(__file__).parent / "agents" / "ask.py"
REPLY_MARGIN_ROWS = 4000
"""What one read of a server's socket (256 KiB) may bring beyond a budget of rows, in rows of 110 bytes, with what waits."""


@pytest.fixture(scope="module")
def running(postgres18: Server) -> Iterator[guard.Guard]:
    setup = guard.Setup(
        agents={name: guard.Agent() for name in ("maker", "payer", "clerk", "counted", "lasting", "reader", "asking")}
        | {"bobs": guard.Agent(owner="bob")},
        resources={"pg": f"{postgres18.host}:{postgres18.port}"},
        policies=POLICY.replace("DATABASE", DATABASE),
        tables=TABLES.replace("DATABASE", DATABASE).replace('[agents.bobs]\nowner = "bob"\n', ""),
        workers=2,
    )
    with postgres18.database(DATABASE, SCRIPT), guard.guarding(setup) as started:
        yield started
        assert "Traceback" not in "".join(started.lines)


def ask(running: guard.Guard, server: Server, agent: str, *texts: str) -> list[str]:
    """What came back, a line each; hints left out."""
    result = running.run(agent, [sys.executable, ASK, *texts], server.environment(DATABASE))
    return (result.stdout + result.stderr).splitlines()


def paid(server: Server) -> list[str]:
    with server.connect(DATABASE) as connection:
        return [row[0] for row in connection.execute("SELECT payee FROM payments WHERE paid ORDER BY payee").fetchall()]


def done(running: guard.Guard) -> set[tuple[str, str, str]]:
    """Who has exercised which duty on what."""
    return {(row["subject"], row["duty"], row["object"]) for row in running.ask("policy", "duties", "--history")}


def test_two_agents_of_one_owner_do_not_both_touch_one_object(running: guard.Guard, postgres18: Server) -> None:
    assert ask(running, postgres18, "maker", "INSERT INTO payees (iban) VALUES ('DE1')") == ["INSERT 0 1"]
    said = ask(
        running,
        postgres18,
        "payer",
        "UPDATE payments SET paid = true WHERE payee = 'DE1'",
        "UPDATE payments SET paid = true WHERE payee = 'DE2'",
        "UPDATE payments SET paid = true WHERE payee = 'de1  '",
        "UPDATE payments SET paid = true",
        "UPDATE open_payments SET paid = true WHERE payee = 'DE3'",
        "BEGIN",
        "UPDATE payments SET paid = true WHERE payee = 'DE1'",
        "COMMIT",
    )
    first = next(line for line in said if "exclusion" in line)
    assert first.startswith(
        '42501 exclusion "one-payee" keeps "pay" apart from the other duty of one object: user alice has taken'
    )
    assert 'part in "make" on the key de1 at' in first
    assert "(flow " in first
    assert "maker" not in first, "who may not look at that agent hears of it"
    assert sum("exclusion" in line for line in said) == 5
    assert any(line.startswith("42501 Have an agent of another owner do it") for line in said)
    assert said[-1] == "ROLLBACK"
    assert paid(postgres18) == ["DE2"]
    assert ask(running, postgres18, "bobs", "UPDATE payments SET paid = true WHERE payee = 'DE1'") == ["UPDATE 1"]
    # The other way round, by another worker perhaps, by a parameter; and who made nothing is free.
    said = ask(
        running, postgres18, "maker", "INSERT INTO payees (iban) VALUES ('DE4'), ('DE2')", "INSERT INTO payees VALUES ('DE5')"
    )
    assert sum("exclusion" in line for line in said) == 2
    decisions = [one for _, one in Reader(running.folder / "state" / "log").entries((entry.Decision,))]
    assert {one.policies for one in decisions if isinstance(one, entry.Decision) and "one-payee" in str(one.reason)} == {
        ("exclusion one-payee",)
    }


def test_an_approver_is_behind_it_as_the_owner_is(running: guard.Guard, postgres18: Server) -> None:
    assert ask(running, postgres18, "bobs", "INSERT INTO payees (iban) VALUES ('DE7')") == ["INSERT 0 1"]
    with guarded(running, "payer", postgres18, DATABASE) as talk:
        waiting = talk.begin("DELETE FROM payments WHERE payee = 'DE7'")
        until = time.monotonic() + 20
        while not (requests := running.ask("requests", "list")):
            assert time.monotonic() < until
        refused = running.cli("requests", "approve", requests[0]["id"])
        assert refused.returncode == 1
        assert "user bob has taken part" in refused.stderr
        assert running.cli("requests", "deny", requests[0]["id"]).returncode == 0
        assert waiting()[0].startswith("42501")
        waiting = talk.begin("DELETE FROM payments WHERE payee = 'DE8'")
        while not (requests := running.ask("requests", "list")):
            assert time.monotonic() < until
        assert running.cli("requests", "approve", requests[0]["id"]).returncode == 0
        assert waiting() == ["DELETE 1"]
    assert {("user:bob", "pay", "=de8"), ("user:alice", "pay", "=de8"), ("agent:payer", "pay", "=de8")} <= done(running)


def test_an_approver_of_a_ticket_is_behind_it_as_well(running: guard.Guard, postgres18: Server) -> None:
    assert ask(running, postgres18, "bobs", "INSERT INTO payees (iban) VALUES ('DE6')") == ["INSERT 0 1"]
    made = "DELETE FROM payments WHERE payee = 'DE6'"
    assert "this waits for approval" in ask(running, postgres18, "clerk", made)[0]
    (ticket,) = running.ask("requests", "list")
    refused = running.cli("requests", "approve", ticket["id"])
    assert (refused.returncode, "user bob has taken part" in refused.stderr) == (1, True)
    assert [each["state"] for each in running.ask("requests", "list")] == ["pending"]
    assert running.cli("requests", "deny", ticket["id"]).returncode == 0
    free = "DELETE FROM payments WHERE payee = 'DE5'"
    assert "this waits for approval" in ask(running, postgres18, "clerk", free)[0]
    (ticket,) = running.ask("requests", "list")
    assert running.cli("requests", "approve", ticket["id"]).returncode == 0
    assert ask(running, postgres18, "clerk", free) == ["DELETE 1"]
    assert {("user:bob", "pay", "=de5"), ("agent:clerk", "pay", "=de5")} <= done(running)


def test_who_issued_a_grant_is_behind_what_it_releases(running: guard.Guard, postgres18: Server) -> None:
    place = ["--agent", "payer", "--resource", "pg", "--database", DATABASE, "--until", "1h", "--uses", "2"]
    for payee, comes_back in (("DE7", "exclusion"), ("DE4", "DELETE 1")):
        text = f"DELETE FROM payments WHERE payee = '{payee}'"
        granted = running.cli("grants", "issue", *place, text)
        assert granted.returncode == 0, granted.stderr
        with guarded(running, "payer", postgres18, DATABASE) as talk:
            assert comes_back in talk(text)[0]
    assert ("user:bob", "pay", "=de4") in done(running)
    assert ("user:bob", "pay", "=de7") not in done(running)


def test_what_was_done_is_known_after_a_kill(running: guard.Guard, postgres18: Server) -> None:
    assert ask(running, postgres18, "maker", "INSERT INTO payees (iban) VALUES ('DE9')") == ["INSERT 0 1"]
    running.kill()
    running.start()
    assert "exclusion" in ask(running, postgres18, "payer", "UPDATE payments SET paid = true WHERE payee = 'DE9'")[0]


def test_operations_beyond_the_budget_are_denied_also_after_kills_of_workers_and_daemon(
    running: guard.Guard, postgres18: Server
) -> None:
    texts = [f"INSERT INTO many VALUES (-{n})" for n in range(1, 5)]
    done = sum(line == "INSERT 0 1" for line in ask(running, postgres18, "counted", *texts))
    for worker in running.workers():
        subprocess.run(["kill", "-9", str(worker)], check=True)
    until = time.monotonic() + 30
    while len(running.workers()) < 2:
        assert time.monotonic() < until
    done += sum(line == "INSERT 0 1" for line in ask(running, postgres18, "counted", *texts))
    running.kill()
    running.start()
    said = ask(running, postgres18, "counted", *texts, *texts, *texts)
    done += sum(line == "INSERT 0 1" for line in said)
    refused = [line for line in said if "budget" in line]
    assert refused[0] == '42501 budget "few" of agent counted is used up: 10 of 10 operations within 3600 s'
    assert any(line.startswith("42501 Something of it is free again in") for line in said)
    with postgres18.connect(DATABASE) as connection:
        row = connection.execute("SELECT count(*) FROM many WHERE n < 0").fetchone()
    assert row == (done,)
    assert 4 <= done <= 10
    budget = next(each for each in running.status()["budgets"] if each["agent"] == "counted")
    assert budget["operations"] == {"used": 10, "limit": 10}
    assert "10 of 10" in running.cli("status").stdout


def test_a_reply_is_broken_off_where_the_budget_ends(running: guard.Guard, postgres18: Server) -> None:
    count = """
import psycopg
seen = 0
try:
    with psycopg.connect("", autocommit=True) as connection:
        print(connection.execute("SELECT n FROM many WHERE n > 0 LIMIT 1000").rowcount)
        for row in connection.cursor().stream("SELECT * FROM many WHERE n > 0"):
            seen += 1
except psycopg.Error as error:
    print(seen, error.sqlstate, error)
"""
    first, said = running.run("reader", [sys.executable, "-c", count], postgres18.environment(DATABASE)).stdout.split("\n", 1)
    assert first == "1000"
    assert 'budget "rows" of agent reader is used up' in said
    seen = int(said.split()[0])
    assert 2000 <= seen <= 4000 + REPLY_MARGIN_ROWS, said
    assert "used up" in ask(running, postgres18, "reader", "SELECT 1")[0]


def test_beyond_the_budget_a_user_may_be_asked(running: guard.Guard, postgres18: Server) -> None:
    with guarded(running, "asking", postgres18, DATABASE) as talk:
        assert talk("SELECT 1") == ["1"]
        assert talk("SELECT 2") == ["2"]
        waiting = talk.begin("SELECT count(*) FROM payees")
        until = time.monotonic() + 20
        while not (requests := running.ask("requests", "list")):
            assert time.monotonic() < until
        assert requests[0]["policies"] == ["budget asked"]
        assert running.cli("requests", "approve", requests[0]["id"]).returncode == 0
        assert int(waiting()[0]) > 0


def test_a_restart_forgets_neither_duties_nor_budgets(running: guard.Guard, postgres18: Server) -> None:
    """Also of flows that go on over it: what their worker was lent before the restart is not lent anew."""
    assert ask(running, postgres18, "maker", "INSERT INTO payees (iban) VALUES ('DE3')") == ["INSERT 0 1"]
    with guarded(running, "lasting", postgres18, DATABASE) as talk:
        passed = [talk(f"INSERT INTO many VALUES (-{100 + n})") for n in range(3)]
        restarted = running.cli("restart")
        assert restarted.returncode == 0, restarted.stderr
        passed += [talk(f"INSERT INTO many VALUES (-{200 + n})") for n in range(12)]
        assert 'budget "lasting"' in passed[-1][0]
    with postgres18.connect(DATABASE) as connection:
        row = connection.execute("SELECT count(*) FROM many WHERE n BETWEEN -299 AND -100").fetchone()
    came = sum(said == ["INSERT 0 1"] for said in passed)
    assert row == (came,)
    assert 3 <= came <= 10
    assert "exclusion" in ask(running, postgres18, "payer", "UPDATE payments SET paid = true WHERE payee = 'DE3'")[0]
    assert "used up" in ask(running, postgres18, "lasting", "SELECT 1")[0]
