"""What runs unasked: which functions are no danger, and what becomes of statements that run the others."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hostguard.policy.decide import Decider, Policy
from hostguard.policy.judgement import Judgement
from hostguard.policy.sql.catalog import Catalog
from hostguard.protocols.events import Operation, Verdict

Make = Callable[..., Policy]
Row = tuple[str, str, str, str, str]
Judge = Callable[..., Judgement]
CUSTOMERS, ORDERS = 20000, 20001
RULES = """
@id("all") permit (principal in Role::"support", action, resource);
@id("but") forbid (principal, action in [Action::"reveal", Action::"match", Action::"derive"], resource);
"""
STAMP = "BEGIN NEW.placed := now(); RETURN NEW; END"
READS = "BEGIN NEW.state := (SELECT email FROM customers LIMIT 1); RETURN NEW; END"


def function(code: str | None, oid: int = 30000, name: str = "f", language: str = "plpgsql") -> list[Row]:
    rows: list[Row] = [("function", str(oid), "public", name, language)]
    return rows if code is None else [*rows, ("code", str(oid), language, code, "")]


@pytest.fixture
def judged(with_rules: Make, statement: Callable[[str], Operation], rows: list[Row]) -> Judge:
    """Judges a text beside further rows of the catalog."""

    def judge(text: str, *more: Row, rules: str = RULES) -> Judgement:
        decider = Decider(with_rules(rules, shop=False))
        decider.set_catalog("shop", "shop", Catalog.from_rows([*rows, *more]))
        return decider.open("support-bot", "shop").decide(statement(text))

    return judge


def trigger(what: str = "trigger before", table: int = ORDERS, actions: str = "insert update") -> Row:
    return "unasked", str(table), "30000", actions, what


INSERT = "INSERT INTO orders (id) VALUES (1) RETURNING total"


@pytest.mark.parametrize(
    "code",
    [
        STAMP,
        "BEGIN IF NEW.a IS DISTINCT FROM OLD.a THEN NEW.b := upper(NEW.a); END IF; RETURN NEW; END",
        "BEGIN IF NEW.* IS DISTINCT FROM OLD.* THEN NEW.n := OLD.n + 1; END IF; RETURN NEW; END",
    ],
)
def test_a_function_that_reads_no_table_is_no_danger(judged: Judge, code: str) -> None:
    found = judged(INSERT, *function(code), trigger())
    assert found.decision.verdict is Verdict.ALLOW
    assert not found.touches


@pytest.mark.parametrize(
    "code",
    [
        READS,
        "BEGIN NEW.a := (TABLE customers); RETURN NEW; END",
        'BEGIN NEW.a := (SELECT email FROM U&"cust\\006fmers"); RETURN NEW; END',
    ],
)
def test_one_that_reads_hidden_columns_hides_what_it_may_have_changed(judged: Judge, code: str) -> None:
    found = judged(INSERT, *function(code), trigger())
    assert found.decision.verdict is Verdict.ALLOW
    plan = found.decision.plan
    assert plan is not None
    assert plan.scrub_errors
    assert plan.computed is not None
    assert not plan.clean_tables
    assert not plan.clean_columns
    assert not plan.clean_positions


@pytest.mark.parametrize(
    "code",
    [
        None,
        "BEGIN NEW.a := g(1); RETURN NEW; END",
        "BEGIN EXECUTE 'x'; RETURN NEW; END",
        "BEGIN NEW.a := query_to_xml('x', true, true, ''); RETURN NEW; END",
        "BEGIN INSERT INTO other VALUES (1); RETURN NEW; END",
        "BEGIN PERFORM pg_notify('x', email) FROM customers; RETURN NEW; END",
        "DECLARE r record; BEGIN SELECT * INTO r FROM customers; RETURN r; END",
    ],
)
def test_one_that_cannot_be_followed_takes_a_permit(judged: Judge, code: str | None) -> None:
    rows = (*function(code), *function("x", 30001, "g"), trigger())
    found = judged(INSERT, *rows)
    assert found.decision.verdict is Verdict.DENY
    assert "no policy permits derive on shop/shop/public/customers/" in found.decision.reason
    assert "public/f, which a trigger of public/orders runs unasked" in found.decision.reason
    may = RULES + '@id("f") permit (principal, action == Action::"call", resource == Function::"shop/shop/public/f");'
    assert judged(INSERT, *rows, rules=may).decision.verdict is Verdict.ALLOW
    may = RULES.replace(', Action::"derive"', "")
    assert judged(INSERT, *rows, rules=may).decision.verdict is Verdict.ALLOW


@pytest.mark.parametrize(
    "code",
    [
        "BEGIN INSERT INTO notes VALUES (NEW.id, TG_OP || TG_TABLE_NAME); RETURN NEW; END",
        "DECLARE n int; BEGIN SELECT count(*) INTO n FROM notes WHERE id = NEW.id; NEW.total := n; RETURN NEW; END",
        "BEGIN UPDATE notes SET text = c.name FROM customers c WHERE c.id = NEW.customer; RETURN NEW; END",
        "BEGIN PERFORM pg_notify('orders', NEW.id::text); RETURN NEW; END",
    ],
)
def test_one_that_takes_nothing_hidden_is_no_danger(judged: Judge, code: str) -> None:
    assert not judged(INSERT, *function(code), trigger()).touches


def test_one_whose_statements_run_a_dangerous_one_is_dangerous_too(judged: Judge) -> None:
    rows = (*function("BEGIN INSERT INTO notes VALUES (NEW.id); RETURN NEW; END"), trigger())
    fires: Row = ("unasked", "20002", "30002", "insert", "trigger before")
    plan = judged(INSERT, *rows, *function(READS, 30002, "told"), fires).decision.plan
    assert plan is not None
    assert plan.scrub_errors


@pytest.mark.parametrize(
    ("code", "harmless"),
    [
        (STAMP, True),
        ("BEGIN NEW.name := NEW.email; RETURN NEW; END", False),
        ("BEGIN RAISE NOTICE '%', NEW; RETURN NEW; END", False),
        ("BEGIN RAISE NOTICE '%', OLD.*; RETURN NEW; END", False),
        ("BEGIN NEW.name := NEW.id; RETURN NEW; END", True),
    ],
)
def test_a_trigger_of_a_table_with_hidden_columns_must_not_name_them(judged: Judge, code: str, harmless: bool) -> None:
    text = "UPDATE customers SET name = 'x' WHERE id = 1 RETURNING name"
    plan = judged(text, *function(code), trigger(table=CUSTOMERS)).decision.plan
    assert plan is not None
    assert bool(plan.clean_tables) == harmless


def test_a_trigger_that_runs_afterwards_hides_texts_but_no_values(judged: Judge) -> None:
    plan = judged(INSERT, *function(READS), trigger("trigger")).decision.plan
    assert plan is not None
    assert plan.scrub_errors
    assert ORDERS in plan.clean_tables


def test_what_is_done_otherwise_runs_no_trigger(judged: Judge) -> None:
    assert not judged("SELECT total FROM orders", *function(READS), trigger()).touches


@pytest.mark.parametrize("what", ["check constraint", "index", "generated column"])
def test_what_may_refuse_a_row_takes_match(judged: Judge, what: str) -> None:
    rows = (*function(READS), trigger(what))
    found = judged(INSERT, *rows)
    assert found.decision.verdict is Verdict.DENY
    assert "no policy permits match on shop/shop/public/customers/" in found.decision.reason
    assert "public/f may read" in found.decision.reason
    may = RULES.replace('Action::"match", ', "")
    assert judged(INSERT, *rows, rules=may).decision.verdict is Verdict.ALLOW


@pytest.mark.parametrize("text", ["SELECT 'x'::Odd", "SELECT 'x'::U&\"od\\0064\"", "SELECT CAST('x' AS public.odd)"])
def test_a_cast_takes_a_permit_for_its_function(judged: Judge, text: str) -> None:
    rows: list[Row] = [*function(READS), ("usertype", "30010", "odd", "c", "0"), ("trap", "30010", "30000", "odd", "cast")]
    assert "to permit call on public/f, which the type odd runs" in judged(text, *rows).decision.reason
    may = RULES + '@id("f") permit (principal, action == Action::"call", resource == Function::"shop/shop/public/f");'
    found = judged(text, *rows, rules=may)
    assert found.decision.verdict is Verdict.ALLOW
    assert found.decision.plan is not None
    assert found.decision.plan.computed is not None
    assert not found.decision.plan.clean_positions
    assert judged("SELECT 'oddly'::text", *rows).decision.verdict is Verdict.ALLOW


def test_a_row_level_policy_by_hidden_columns_takes_match(judged: Judge) -> None:
    rows: list[Row] = [("policy", str(ORDERS), str(CUSTOMERS), "3", ""), ("policy", str(ORDERS), str(ORDERS), "-1", "")]
    found = judged("SELECT total FROM orders", *rows)
    assert "match on shop/shop/public/customers/email" in found.decision.reason
    clean: Row = ("policy", str(ORDERS), str(CUSTOMERS), "2", "")
    assert judged("SELECT total FROM orders", clean).decision.verdict is Verdict.ALLOW
    whole: Row = ("policy", str(ORDERS), str(CUSTOMERS), "0", "")
    assert judged("SELECT total FROM orders", whole).decision.verdict is Verdict.DENY
