"""Writes whose constraints tell of hidden columns; definitions that would bring these out under other names."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hostguard.policy.decide import Decider, Policy
from hostguard.policy.sql.catalog import Catalog
from hostguard.protocols.events import Operation, Verdict

Statement = Callable[..., Operation]
Make = Callable[..., Policy]
UNSEEN = """unless { [Action::"reveal", Action::"match", Action::"derive"].contains(action) };"""
EVERYTHING = f"""@id("support may do anything") permit (principal in Role::"support", action, resource) {UNSEEN}"""
MATCH = """@id("support may guess e-mails")
permit (principal in Role::"support", action == Action::"match", resource in Tag::"pii.email");"""
CUSTOMERS, ORDERS, NOTES, LETTERS = 20000, 20001, 20002, 20010

Row = tuple[str, str, str, str, str]
Catalogue = Callable[..., Catalog]
UNIQUE: Row = ("constraint", str(CUSTOMERS), "3", "unique index", "")
PRIMARY: Row = ("constraint", str(CUSTOMERS), "1", "primary key", "")


@pytest.fixture
def decide(with_rules: Make, rows: list[Row], statement: Statement) -> Callable[..., tuple[Verdict, str]]:
    """Decides a text where the shop's catalog has further rows."""

    def decide(text: str, *more: Row, rules: str = EVERYTHING) -> tuple[Verdict, str]:
        decider = Decider(with_rules(rules))
        decider.set_catalog("shop", "shop", Catalog.from_rows([*rows, *more]))
        decision = decider.open("support-bot", "shop").decide(statement(text)).decision
        return decision.verdict, decision.reason

    return decide


Decide = Callable[..., tuple[Verdict, str]]
LETTER: tuple[Row, ...] = (
    ("relation", str(LETTERS), "public", "letters", "r"),
    ("column", str(LETTERS), "1", "id", ""),
    ("column", str(LETTERS), "2", "who", ""),
    ("column", str(LETTERS), "3", "what", ""),
)
TO_EMAIL: Row = ("foreign", str(LETTERS), "{2}", str(CUSTOMERS), "{3}")
FROM_EMAIL: Row = ("foreign", str(CUSTOMERS), "{3}", str(LETTERS), "{2}")


@pytest.mark.parametrize(
    ("text", "more", "said"),
    [
        ("INSERT INTO customers VALUES (1, 'n', 'a@b')", [UNIQUE], "this insert of public/customers asks by its unique index"),
        ("INSERT INTO customers (email) VALUES ('a@b') ON CONFLICT DO NOTHING", [UNIQUE], "insert"),
        ("INSERT INTO customers TABLE orders", [UNIQUE], "insert"),
        ("COPY customers FROM STDIN", [UNIQUE], "insert"),
        ("COPY customers (id, email) FROM STDIN", [UNIQUE], "insert"),
        ("UPDATE customers SET email = 'a@b' WHERE id = 1", [UNIQUE], "this update of public/customers asks by its unique index"),
        ("INSERT INTO customers (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET email = 'a'", [UNIQUE], "update"),
        ("MERGE INTO customers c USING orders o ON o.id = c.id WHEN MATCHED THEN UPDATE SET email = 'a'", [UNIQUE], "update"),
        ("MERGE INTO customers c USING orders o ON o.id = c.id WHEN NOT MATCHED THEN INSERT VALUES (1, 'n', 'e')", [UNIQUE], ""),
        ("WITH x AS (UPDATE customers SET email = 'a') SELECT 1", [UNIQUE], "update"),
        ("PREPARE p AS UPDATE customers SET email = $1", [UNIQUE], "update"),
        ("EXPLAIN ANALYZE UPDATE customers SET email = 'a'", [UNIQUE], "update"),
        ("UPDATE emails SET address = 'a@b'", [UNIQUE], "this update of public/emails"),
        ("UPDATE everyone SET email = 'a@b'", [UNIQUE], "this update of public/everyone"),
        (
            "UPDATE customers SET name = 'n'",
            [("constraint", str(CUSTOMERS), "2 3", "unique index", "")],
            "this update of public/customers asks by its unique index",
        ),
        (
            "UPDATE customers SET name = 'n'",
            [("constraint", str(CUSTOMERS), "{2,3}", "check constraint", "")],
            "its check constraint",
        ),
        (
            "UPDATE customers SET name = 'n'",
            [("constraint", str(CUSTOMERS), "0 2 3", "index of expressions", "")],
            "index of exp",
        ),
        (
            "INSERT INTO letters (who) VALUES ('a@b')",
            [*LETTER, TO_EMAIL],
            "this insert of public/letters asks by its foreign key",
        ),
        ("UPDATE letters SET who = 'a@b'", [*LETTER, TO_EMAIL], "its foreign key"),
        ("DELETE FROM letters WHERE id = 1", [*LETTER, FROM_EMAIL], "this delete of public/letters asks by a foreign key to it"),
        ("UPDATE letters SET who = 'x' WHERE id = 1", [*LETTER, FROM_EMAIL], "a foreign key to it"),
        ("CLUSTER customers USING anything", [UNIQUE], "the order of its rows"),
        ("CREATE TABLE g (e text REFERENCES customers (email))", [PRIMARY], "to which it refers: a foreign key confirms guesses"),
        ("ALTER TABLE notes ADD FOREIGN KEY (text) REFERENCES customers (email)", [PRIMARY], "to which it refers"),
        ("CREATE TABLE g (e text REFERENCES customers)", [("constraint", str(CUSTOMERS), "3", "primary key", "")], "refers"),
    ],
)
def test_a_constraint_confirms_no_guess(decide: Decide, text: str, more: list[Row], said: str) -> None:
    verdict, reason = decide(text, *more)
    assert verdict is Verdict.DENY
    assert reason.startswith("no policy permits match on shop/shop/public/customers/email (tag pii.email)")
    assert said in reason
    assert decide(text, *more, rules=EVERYTHING + MATCH)[0] is Verdict.ALLOW


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("INSERT INTO customers (id, name) VALUES (1, 'n')", [UNIQUE, PRIMARY]),
        ("INSERT INTO customers VALUES (1, 'n')", [UNIQUE, PRIMARY]),
        ("INSERT INTO customers DEFAULT VALUES", [UNIQUE]),
        ("UPDATE customers SET name = 'n', id = 3 WHERE id = 1", [UNIQUE, PRIMARY]),
        ("DELETE FROM customers WHERE id = 1", [UNIQUE, PRIMARY]),
        ("UPDATE customers SET email = 'a@b' WHERE id = 1", [PRIMARY, ("constraint", str(CUSTOMERS), "3", "index", "")]),
        ("INSERT INTO customers (email) VALUES ('a')", [("constraint", str(CUSTOMERS), "{3}", "check constraint", "")]),
        ("UPDATE letters SET what = 'x'", [*LETTER, TO_EMAIL, FROM_EMAIL]),
        ("DELETE FROM letters", [*LETTER, TO_EMAIL]),
        ("COPY customers (id, name) FROM STDIN", [UNIQUE]),
        ("CREATE TABLE g (c int REFERENCES customers)", [PRIMARY, UNIQUE]),
        ("CREATE TABLE g (c int REFERENCES customers (id))", [PRIMARY, UNIQUE]),
        ("CLUSTER customers", [PRIMARY]),
    ],
)
def test_other_writes_may(decide: Decide, text: str, more: list[Row]) -> None:
    assert decide(text, *more) == (Verdict.ALLOW, "")


@pytest.mark.parametrize(
    "text",
    [
        "CREATE FUNCTION upper(varchar) RETURNS text LANGUAGE sql AS 'SELECT 1'",
        "CREATE DATABASE copied TEMPLATE shop",
        "CREATE DATABASE copied WITH OWNER app TEMPLATE = 'shop'",
        "CREATE SERVER loop FOREIGN DATA WRAPPER postgres_fdw",
        "CREATE USER MAPPING FOR app SERVER loop",
        "CREATE FOREIGN TABLE far (email text) SERVER loop",
        "IMPORT FOREIGN SCHEMA public FROM SERVER loop INTO public",
        "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p",
        "COPY notes (text) FROM PROGRAM 'psql'",
        "COPY notes (text) FROM '/var/lib/postgresql/x'",
        "SELECT lo_import('/var/lib/postgresql/x')",
    ],
)
def test_nothing_comes_out_under_another_name(decide: Decide, text: str) -> None:
    verdict, reason = decide(text)
    assert verdict is Verdict.DENY
    assert reason.startswith("no policy permits derive:")
    assert reason.endswith("could bring hidden columns where no mask reaches them")


@pytest.mark.parametrize("text", ["CREATE DATABASE fresh TEMPLATE template0", "CREATE DATABASE fresh"])
def test_other_definitions_may(decide: Decide, text: str) -> None:
    assert decide(text)[0] is Verdict.ALLOW


def test_a_function_of_a_built_ins_name_may_run_in_its_place(with_rules: Make, rows: list[Row], statement: Statement) -> None:
    decider = Decider(with_rules(EVERYTHING))
    for more, shown in (([], frozenset([0])), ([("function", "30000", "public", "upper", "sql")], frozenset())):
        decider.set_catalog("shop", "shop", Catalog.from_rows([*rows, *more]))
        plan = decider.open("support-bot", "shop").decide(statement("SELECT upper(name), email FROM customers")).decision.plan
        assert plan is not None
        assert plan.clean_positions == shown
    plan = decider.open("support-bot", "shop").decide(statement("SELECT upper('x')")).decision.plan
    assert plan is not None
    assert plan.computed is not None
    assert plan.clean_positions == frozenset()


def test_a_generated_column_is_what_it_is_made_of(with_rules: Make, statement: Statement) -> None:
    rows: list[Row] = [
        ("relation", str(CUSTOMERS), "public", "customers", "r"),
        *(
            ("column", str(CUSTOMERS), str(n), name, "s" if n > 3 else "")
            for n, name in enumerate(["id", "name", "email", "a", "b"], 1)
        ),
        ("constraint", str(CUSTOMERS), "4 2", "generated column", ""),
        ("constraint", str(CUSTOMERS), "5 3", "generated column", ""),
    ]
    decider = Decider(with_rules(EVERYTHING))
    decider.set_catalog("shop", "shop", Catalog.from_rows(rows))
    flow = decider.open("support-bot", "shop")
    plan = flow.decide(statement("SELECT a, b FROM customers")).decision.plan
    assert plan is not None
    assert plan.clean_positions == frozenset([0])
    assert (CUSTOMERS, 4) in plan.clean_columns
    assert (CUSTOMERS, 5) not in plan.clean_columns
    assert flow.decide(statement("SELECT 1 FROM customers WHERE a = 'x'")).decision.verdict is Verdict.ALLOW
    assert flow.decide(statement("SELECT 1 FROM customers WHERE b = 'x'")).decision.verdict is Verdict.DENY
