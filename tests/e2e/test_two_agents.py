"""Two agents with different roles on one database: different answers at the same time, each on record."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import guard
import pytest
from e2e.asker import ASK, Asker, asking
from servers import Server

SHOP = Path(__file__).resolve().parent.parent.parent / "examples" / "shop"
TAGS = """
[tags."pii.email"]
columns = ["shop/shop/public/customers/email"]
mask = { kind = "partial", keep = 0 }
[tags."pci.card"]
columns = ["shop/shop/public/customers/card"]
mask = { kind = "partial", keep = 4 }
"""
EMAIL, CARD = "ada.brandt@example.com", "4111111111111111"
HELD = "DELETE FROM orders WHERE id = {}"


@pytest.fixture(scope="module")
def shop(postgres18: Server) -> Iterator[guard.Guard]:
    """The shop of examples/ with its policies and its two agents, guarded."""
    with shop_guard(postgres18, timeout_s=60) as running:
        yield running


def shop_guard(server: Server, timeout_s: int) -> guard.Running:
    return guard.guarding(
        guard.Setup(
            agents={"support-bot": guard.Agent(("support",)), "fraud-bot": guard.Agent(("fraud",), owner="carol")},
            resources={"shop": f"{server.host}:{server.port}"},
            policies=(SHOP / "policies" / "shop.cedar").read_text(),
            tags=TAGS + "[users.carol]\n",
            timeout_s=timeout_s,
        )
    )


def shop_database(server: Server) -> AbstractContextManager[str]:
    return server.database("shop", (SHOP / "schema.sql").read_text().replace("CREATE ROLE shop LOGIN;", ""))


@contextmanager
def shop_role(server: Server) -> Iterator[None]:
    """Whom the agents log in as; a superuser, so that it is hostguard that says no."""
    with server.connect() as connection:
        connection.execute("CREATE ROLE shop LOGIN SUPERUSER")
        yield
        connection.execute("DROP ROLE shop")


@dataclass(slots=True)
class Shelf:
    """Holds the shop's database."""

    held: ExitStack
    shared: bool = False
    """It was made for tests that ask by `askers`, and only they have used it."""


@pytest.fixture(scope="module")
def shelf(postgres18: Server) -> Iterator[Shelf]:
    with shop_role(postgres18), ExitStack() as stack:
        yield Shelf(stack)


@pytest.fixture(autouse=True)
def database(shelf: Shelf, request: pytest.FixtureRequest, postgres18: Server) -> None:
    """The shop's database, fresh for each test; those by `askers` share one: what they change is nothing that they look at."""
    shared = "askers" in request.fixturenames
    if shared and shelf.shared:
        return
    shelf.held.close()
    shelf.held.enter_context(shop_database(postgres18))
    shelf.shared = shared


@pytest.fixture(scope="module")
def askers(shop: guard.Guard, postgres18: Server) -> Iterator[tuple[Asker, Asker]]:
    with asking(shop, "support-bot", postgres18.environment("shop", "shop")) as both:
        yield both


def ask(shop: guard.Guard, server: Server, workload: str, *statements: str) -> str:
    """What an agent sees of some statements, run one by one in one session."""
    result = shop.run(workload, [sys.executable, ASK, *statements], server.environment("shop", "shop"))
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_same_question_has_two_answers_at_the_same_time(shop: guard.Guard, postgres18: Server) -> None:
    program = [sys.executable, ASK, "SELECT email AS e, card AS c FROM customers WHERE id = 1"]
    agents = [shop.begin(workload, program, postgres18.environment("shop", "shop")) for workload in ("support-bot", "fraud-bot")]
    support, fraud = (agent.communicate(timeout=60) for agent in agents)
    assert support == ("a*********@example.com|************1111\nSELECT 1\n", "")
    assert fraud == (f"a*********@example.com|{CARD}\nSELECT 1\n", "")


# Each row once got a raw value, or one that anybody can turn back, past somebody's masking (peers.md). It only grows.
LEAKS = (
    "SELECT email FROM customers WHERE id = 1",
    "SELECT email AS harmless FROM customers WHERE id = 1",
    "SELECT c.* FROM customers c WHERE id = 1",
    "SELECT c FROM customers c WHERE id = 1",
    "SELECT reverse(email) FROM customers WHERE id = 1",
    "SELECT substr(email, 1, 10), substr(email, 11) FROM customers WHERE id = 1",
    "SELECT translate(card, '123456789', 'bcdefghij') FROM customers WHERE id = 1",
    "SELECT encode(email::bytea, 'hex') FROM customers WHERE id = 1",
    "SELECT encode(email::bytea, 'base64') FROM customers WHERE id = 1",
    "SELECT email::bytea FROM customers WHERE id = 1",
    "SELECT row_to_json(c) FROM customers c WHERE id = 1",
    "SELECT to_jsonb(c) ->> 'email' FROM customers c WHERE id = 1",
    "SELECT string_agg(email, ',') FROM customers",
    "SELECT array_agg(card) FROM customers",
    "SELECT min(email) FROM customers",
    "COPY customers TO STDOUT",
    "COPY (SELECT email FROM customers) TO STDOUT",
    "SELECT email::int FROM customers WHERE id = 1",
    "SELECT CAST(email AS date) FROM customers WHERE id = 1",
    "DO $$ DECLARE e text; BEGIN SELECT email INTO e FROM customers WHERE id = 1; RAISE NOTICE '%', e; END $$",
    "DO $$ DECLARE e text; BEGIN SELECT email INTO e FROM customers WHERE id = 1; RAISE EXCEPTION '%', e; END $$",
    "WITH x AS (SELECT email AS y FROM customers WHERE id = 1) SELECT y FROM x",
    "SELECT y FROM (SELECT email AS y FROM customers WHERE id = 1) AS x",
    "SELECT (SELECT email FROM customers WHERE id = 1)",
    "SELECT name FROM customers WHERE id = 1 UNION ALL SELECT email FROM customers WHERE id = 1",
    "SELECT coalesce(email, '') FROM customers WHERE id = 1",
    "SELECT DISTINCT email FROM customers",
    "SELECT email FROM customers GROUP BY email",
    "SELECT first_value(email) OVER (ORDER BY id) FROM customers",
    "SELECT v FROM customers, LATERAL (VALUES (email)) AS t(v) WHERE id = 1",
    "SELECT unnest(ARRAY[email, card]) FROM customers WHERE id = 1",
    "SELECT regexp_split_to_table(email, '@') FROM customers WHERE id = 1",
    "SELECT email FROM ONLY customers WHERE id = 1",
    "UPDATE orders SET state = email FROM customers c WHERE c.id = 1 AND orders.id = 1 RETURNING state",
    "UPDATE orders SET state = 'x' FROM customers c WHERE c.id = 1 AND orders.id = 1 RETURNING c.email",
    "SELECT set_config('x.y', (SELECT email FROM customers WHERE id = 1), false)",
    "SELECT most_common_vals::text, histogram_bounds::text FROM pg_stats WHERE tablename = 'customers'",
)
SEVERAL = (
    ("BEGIN", "DECLARE k CURSOR FOR SELECT email FROM customers WHERE id = 1", "FETCH ALL FROM k", "COMMIT"),
    ("PREPARE p AS SELECT email FROM customers WHERE id = 1", "EXECUTE p"),
    ("CREATE TEMP TABLE t AS SELECT email FROM customers", "SELECT * FROM t"),
    ("CREATE TEMP VIEW v AS SELECT email AS x FROM customers", "SELECT * FROM v"),
    ("SELECT set_config('x.y', (SELECT email FROM customers WHERE id = 1), false)", "SHOW x.y"),
)


def forms(value: str) -> tuple[str, ...]:
    """A value and what it turns into under functions that anybody can invert."""
    return (
        value,
        value[:10],
        value[::-1],
        value.encode().hex(),
        base64.b64encode(value.encode()).decode()[:12],
        value.translate(str.maketrans("123456789", "bcdefghij")),
        str(value.encode()),
    )


def leaked(seen: str) -> list[str]:
    return [form for value in (EMAIL, CARD) for form in forms(value) if form in seen]


XML = ("SELECT query_to_xml('SELECT * FROM customers', true, false, '')", "SELECT table_to_xml('customers', true, false, '')")


@pytest.mark.parametrize("statements", [*((text,) for text in LEAKS), *SEVERAL], ids=lambda statements: statements[0][:60])
def test_no_query_brings_a_raw_value_out(askers: tuple[Asker, Asker], postgres18: Server, statements: tuple[str, ...]) -> None:
    with postgres18.connect("shop") as connection:
        connection.execute("ANALYZE customers")
    assert_masked(*askers, statements)


def test_no_xml_brings_a_raw_value_out(postgres15: Server) -> None:
    """The wheel's server has no libxml; Debian's has."""
    with (
        shop_role(postgres15),
        shop_database(postgres15),
        shop_guard(postgres15, timeout_s=60) as running,
        asking(running, "support-bot", postgres15.environment("shop", "shop")) as both,
    ):
        for text in XML:
            assert_masked(*both, (text,))


def assert_masked(direct: Asker, guarded: Asker, statements: tuple[str, ...]) -> None:
    """Directly the statements bring a raw value out, guarded they don't."""
    assert leaked(direct(statements)) != [], "this row shows nothing: not even a direct connection brings the value out"
    assert leaked(guarded(statements)) == []


def test_a_refusal_is_the_servers_own_kind_of_error(shop: guard.Guard, postgres18: Server) -> None:
    seen = ask(shop, postgres18, "support-bot", "DROP TABLE orders", "SELECT count(*) FROM orders")
    lines = seen.splitlines()
    assert lines[0].startswith("42501 ")
    assert lines[-2:] == ["36", "SELECT 1"]


def test_a_refusal_in_a_pipeline_skips_to_the_sync_as_the_servers_would(shop: guard.Guard, postgres18: Server) -> None:
    """The same program with an error of the server's own has the same shape of answers."""
    code = """
import sys, psycopg
from psycopg import pq
with psycopg.connect("", autocommit=True) as connection:
    pg = connection.pgconn
    pg.enter_pipeline_mode()
    for text in (b"SELECT 1", sys.argv[1].encode(), b"SELECT 2"):
        pg.send_query_params(text, [])
    pg.pipeline_sync()
    pg.send_query_params(b"SELECT 3", [])
    pg.pipeline_sync()
    syncs = 0
    while syncs < 2:
        result = pg.get_result()
        if result is None:
            continue
        state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
        values = [result.get_value(row, 0) for row in range(result.ntuples)]
        print(pq.ExecStatus(result.status).name, values, state and "SQLSTATE")
        syncs += result.status == pq.ExecStatus.PIPELINE_SYNC
"""
    environment = postgres18.environment("shop", "shop")
    refused = shop.run("support-bot", [sys.executable, "-c", code, "DELETE FROM customers"], environment)
    failing = shop.run("support-bot", [sys.executable, "-c", code, "SELECT 1 / 0"], environment)
    assert refused.stderr == ""
    assert refused.stdout == failing.stdout
    statuses = [line.split()[0] for line in refused.stdout.splitlines()]
    assert statuses == ["TUPLES_OK", "FATAL_ERROR", "PIPELINE_ABORTED", "PIPELINE_SYNC", "TUPLES_OK", "PIPELINE_SYNC"]


def test_commit_after_a_refusal_is_a_rollback(shop: guard.Guard, postgres18: Server) -> None:
    statements = ("BEGIN", "UPDATE orders SET quantity = 9 WHERE id = 7", "UPDATE orders SET quantity = 9", "SELECT 1", "COMMIT")
    lines = ask(shop, postgres18, "support-bot", *statements).splitlines()
    assert lines[:2] == ["BEGIN", "UPDATE 1"]
    assert lines[2].startswith("42501 ")
    assert any(line.startswith("25P02 ") for line in lines)
    assert lines[-1] == "ROLLBACK"
    with postgres18.connect("shop") as connection:
        assert connection.execute("SELECT quantity FROM orders WHERE id = 7").fetchone() == (4,)


class Held:
    """An agent whose statement waits for a user."""

    def __init__(self, shop: guard.Guard, server: Server, order: int) -> None:
        command = [guard.HOSTGUARD, "requests", "watch", "--json", "--config", str(shop.config)]
        watch = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        program = [sys.executable, ASK, HELD.format(order), "SELECT 'usable'"]
        self.process = shop.begin("support-bot", program, server.environment("shop", "shop"))
        assert watch.stdout is not None
        self.request = json.loads(watch.stdout.readline())
        self.id = str(self.request["id"])
        watch.kill()
        watch.communicate()

    def output(self) -> list[str]:
        out, err = self.process.communicate(timeout=60)
        assert err == ""
        waits, *lines = str(out).splitlines()
        assert waits == f"NOTICE this statement waits for approval as request {self.id}"
        return lines


def orders(server: Server) -> int:
    with server.connect("shop") as connection:
        row = connection.execute("SELECT count(*) FROM orders").fetchone()
    assert row is not None
    return int(row[0])


def test_a_held_statement_runs_once_approved(shop: guard.Guard, postgres18: Server) -> None:
    held = Held(shop, postgres18, 5)
    assert held.request["state"] == "pending"
    assert held.request["statement"] == HELD.format(5)
    assert [request["id"] for request in shop.ask("requests", "list")] == [held.id]
    assert orders(postgres18) == 36
    assert held.process.poll() is None
    refused = shop.cli("requests", "approve", held.id, "--digest", "0000")
    assert refused.returncode == 1
    approved = shop.cli("requests", "approve", held.id, "--reason", "looked at it")
    assert approved.returncode == 0, approved.stderr
    assert held.output() == ["DELETE 1", "usable", "SELECT 1"]
    assert orders(postgres18) == 35
    assert shop.ask("requests", "list") == []
    again = shop.cli("requests", "approve", held.id)
    assert again.returncode == 1


def test_a_held_statement_that_is_denied_says_who_and_why(shop: guard.Guard, postgres18: Server) -> None:
    held = Held(shop, postgres18, 6)
    assert shop.cli("requests", "deny", held.id, "--reason", "not this one").returncode == 0
    lines = held.output()
    assert lines[0].startswith("42501 ")
    assert "bob" in lines[0] + lines[1]
    assert "not this one" in lines[0] + lines[1]
    assert lines[-2:] == ["usable", "SELECT 1"]
    assert orders(postgres18) == 36


def test_an_agent_that_dies_withdraws_its_request(shop: guard.Guard, postgres18: Server) -> None:
    held = Held(shop, postgres18, 7)
    command = [guard.HOSTGUARD, "requests", "watch", "--json", "--config", str(shop.config)]
    watch = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert watch.stdout is not None
    assert json.loads(watch.stdout.readline())["id"] == held.id
    held.process.kill()
    held.process.communicate()
    changed = json.loads(watch.stdout.readline())
    watch.kill()
    watch.communicate()
    assert (changed["id"], changed["state"]) == (held.id, "withdrawn")
    assert shop.cli("requests", "approve", held.id).returncode == 1
    assert orders(postgres18) == 36


def test_a_client_cancels_its_held_statement(shop: guard.Guard, postgres18: Server) -> None:
    """statement_timeout is the server's affair and never fires here; the client's own cancel does."""
    code = """
import psycopg, sys, threading
with psycopg.connect("", autocommit=True) as connection:
    threading.Thread(target=lambda: (sys.stdin.readline(), connection.cancel_safe(timeout=20))).start()
    try:
        connection.execute("DELETE FROM orders WHERE id = 8")
        print("ran")
    except psycopg.Error as error:
        print(error.sqlstate)
    print(connection.execute("SELECT 'usable'").fetchone()[0])
"""
    agent = shop.begin("support-bot", [sys.executable, "-c", code], postgres18.environment("shop", "shop"))
    command = [guard.HOSTGUARD, "requests", "watch", "--json", "--config", str(shop.config)]
    watch = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert watch.stdout is not None
    watch.stdout.readline()
    watch.kill()
    watch.communicate()
    out, err = agent.communicate("cancel\n", timeout=60)
    assert (out, err) == ("57014\nusable\n", "")
    assert shop.ask("requests", "list") == []
    assert orders(postgres18) == 36


def test_time_and_the_daemons_end_withdraw_requests(postgres18: Server) -> None:
    with shop_guard(postgres18, timeout_s=1) as brief:
        lines = Held(brief, postgres18, 9).output()
        assert lines[0].startswith("42501 ")
        assert lines[-2:] == ["usable", "SELECT 1"]
    with shop_guard(postgres18, timeout_s=60) as ending:
        held = Held(ending, postgres18, 10)
        assert ending.stop() == 0
        assert "DELETE" not in " ".join(held.output()[:1])
    assert orders(postgres18) == 36


def test_what_happened_is_on_record_for_both(postgres18: Server) -> None:
    with shop_guard(postgres18, timeout_s=60) as running:
        ask(running, postgres18, "support-bot", "SELECT email FROM customers", "DROP TABLE orders")
        ask(running, postgres18, "fraud-bot", "SELECT card FROM customers")
        flows = running.ask("recordings", "list")
        assert [flow["agent"] for flow in flows] == ["support-bot", "fraud-bot"]
        assert [flow["decisions"] for flow in flows] == [{"allow": 1, "deny": 1}, {"allow": 1}]
        shown = running.cli("recordings", "show", str(flows[0]["flow"])).stdout
        assert "SELECT email FROM customers" in shown
        assert "DROP TABLE orders" in shown
        assert "masked: email" in shown
        assert running.stop() == 0
        replayed = running.cli("recordings", "replay", str(flows[1]["flow"]), "--speed", "100")
        assert "SELECT card FROM customers" in replayed.stdout, "the log is readable without a daemon"
