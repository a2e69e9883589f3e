"""Functions that are texts in SQL are looked into; all others may return anything."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hostguard.policy.decide import Decider, Policy
from hostguard.policy.sql.catalog import Catalog
from hostguard.protocols.events import Operation, Verdict

Statement = Callable[..., Operation]
Make = Callable[..., Policy]
Row = tuple[str, str, str, str, str]
NAMES = ("twice", "e", "named", "mixed", "outer_one", "loop", "counts", "guess", "writes", "two", "bad", "plain", "stepped", "s")
EVERYTHING = """@id("support may do anything in the database")
permit (principal in Role::"support", action, resource in Database::"shop/shop")
unless { [Action::"reveal", Action::"match", Action::"derive"].contains(action) };
""" + "".join(
    f"""@id("calls {name}") permit (principal in Role::"support", action in [Action::"call", Action::"create"],
    resource == Function::"shop/shop/public/{name}");\n"""
    for name in NAMES
)
BODIES = {
    "twice": ("SELECT $1 * 2", ""),
    "e": ("SELECT email FROM customers WHERE id = $1", ""),
    "named": ("SELECT name FROM customers WHERE id = which", "which"),
    "outer_one": ("SELECT twice($1) + 1", ""),
    "loop": ("SELECT loop($1)", ""),
    "counts": ("SELECT count(*) FROM orders WHERE id = $1", ""),
    "guess": ("SELECT name FROM customers WHERE email = $1", ""),
    "writes": ("INSERT INTO notes VALUES (1)", ""),
    "two": ("SELECT 1; SELECT 2", ""),
    "bad": ("SELECT FROM WHERE", ""),
    "s": ("SELECT set_config('a.b', email, false) FROM customers", ""),
}


@pytest.fixture
def free(with_rules: Make, rows: list[Row]) -> Decider:
    """Support may do anything but see, match, derive, in a shop with functions."""
    functions: list[Row] = []
    for oid, (name, (text, parameters)) in enumerate(BODIES.items(), 30000):
        functions += [("function", str(oid), "public", name, "sql"), ("body", str(oid), text, parameters, "")]
    functions += [
        ("function", "31000", "public", "mixed", "sql"),
        ("body", "31000", "SELECT 1", "", ""),
        ("function", "31001", "elsewhere", "mixed", "c"),
        ("function", "31002", "public", "plain", "plpgsql"),
    ]
    decider = Decider(with_rules(EVERYTHING))
    decider.set_catalog("shop", "shop", Catalog.from_rows([*rows, *functions]))
    return decider


@pytest.mark.parametrize(
    ("expression", "clean"),
    [
        ("twice(1)", True),
        ("twice(id)", True),
        ("outer_one(id)", True),
        ("named(id)", True),
        ("counts(id)", True),
        ("public.twice(id)", True),
        ("e(id)", False),
        ("e(1) IS NULL", False),
        ("loop(1)", False),
        ("writes()", False),
        ("two()", False),
        ("bad()", False),
        ("mixed()", False),
        ("plain()", False),
        ("stepped()", False),
    ],
)
def test_what_a_function_returns_is_what_its_query_does(
    free: Decider, statement: Statement, expression: str, clean: bool
) -> None:
    decision = free.open("support-bot", "shop").decide(statement(f"SELECT {expression} FROM orders")).decision
    assert decision.verdict is Verdict.ALLOW, decision.reason
    assert decision.plan is not None
    assert decision.plan.clean_positions == (frozenset([0]) if clean else frozenset())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("SELECT guess('a@b')", "no policy permits match on shop/shop/public/customers/email"),
        ("SELECT * FROM guess('a@b')", "no policy permits match on shop/shop/public/customers/email"),
        ("SELECT id FROM orders WHERE e(id) LIKE 'a%'", "no policy permits match on shop/shop/public/customers/email"),
        ("SELECT twice(length(email)) FROM customers", "no policy permits derive on shop/shop/public/customers/email"),
        ("SELECT s()", "no policy permits derive on shop/shop/public/customers/email"),
        ("CREATE OR REPLACE FUNCTION twice(int) RETURNS text LANGUAGE sql AS 'SELECT email FROM customers'", "twice"),
    ],
)
def test_what_a_function_may_not_do(free: Decider, statement: Statement, text: str, said: str) -> None:
    decision = free.open("support-bot", "shop").decide(statement(text)).decision
    assert decision.verdict is Verdict.DENY
    assert said in decision.reason
    assert decision.reason.startswith("no policy permits")
