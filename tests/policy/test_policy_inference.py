"""What may not be done with hidden columns: guess at them, put them away, tell them by a side effect."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hostguard.policy.decide import Decider, Policy
from hostguard.policy.sql.catalog import Catalog
from hostguard.protocols.events import Operation, Verdict

Statement = Callable[..., Operation]
Make = Callable[..., Policy]
UNSEEN = """unless { [Action::"reveal", Action::"match", Action::"derive"].contains(action) };"""
EVERYTHING = """@id("support may do anything in the database")
permit (principal in Role::"support", action, resource in Database::"shop/shop")
unless { [Action::"reveal", Action::"match", Action::"derive"].contains(action) };"""


@pytest.fixture
def free(with_rules: Make, catalog: Catalog) -> Decider:
    """A decider by which support may do anything but see, match, derive."""
    decider = Decider(with_rules(EVERYTHING))
    decider.set_catalog("shop", "shop", catalog)
    return decider


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("SELECT id FROM customers WHERE email = 'a@b'", "a comparison"),
        ("SELECT id FROM customers WHERE email IS NULL", "WHERE"),
        ("SELECT id FROM customers c WHERE c.email LIKE 'a%'", "a comparison"),
        ("SELECT id FROM (SELECT id, email AS e FROM customers) AS x WHERE e IN ('a')", "a comparison"),
        ("WITH x AS (SELECT * FROM customers) SELECT id FROM x WHERE email > 'm'", "a comparison"),
        ("SELECT id FROM customers ORDER BY email", "ORDER BY"),
        ("SELECT id, email FROM customers ORDER BY 2", "ORDER BY"),
        ("SELECT id, email AS e FROM customers ORDER BY e", "ORDER BY"),
        ("SELECT id, lower(email) AS name FROM customers ORDER BY name", "ORDER BY"),
        ("SELECT count(*) FROM customers GROUP BY email", "GROUP BY"),
        ("SELECT email AS e, count(*) FROM customers GROUP BY e", "GROUP BY"),
        ("SELECT count(*) FROM customers GROUP BY GROUPING SETS ((id), (card))", "GROUP BY"),
        ("SELECT 1 FROM customers HAVING max(email) IS NULL", "HAVING"),
        ("SELECT DISTINCT email FROM customers", "DISTINCT"),
        ("SELECT DISTINCT ON (email) id FROM customers", "DISTINCT"),
        ("SELECT count(DISTINCT card) FROM customers", "DISTINCT"),
        ("SELECT email FROM customers UNION SELECT 'a@b'", "a set operation that compares rows"),
        ("SELECT email FROM customers INTERSECT ALL SELECT 'a@b'", "a set operation that compares rows"),
        ("SELECT id FROM customers JOIN notes ON text = email", "a comparison"),
        ("SELECT c.id FROM customers c JOIN (SELECT 'a@b' AS email) g USING (email)", "JOIN … USING"),
        ("SELECT c.id FROM customers c NATURAL JOIN (SELECT 'a@b' AS email) g", "JOIN … USING"),
        ("SELECT CASE email WHEN 'a' THEN 1 END FROM customers", "CASE"),
        ("SELECT CASE WHEN card IS NULL THEN 1 END FROM customers", "CASE"),
        ("SELECT email = 'a' FROM customers", "a comparison"),
        ("SELECT nullif(email, 'a') FROM customers", "a comparison"),
        ("SELECT id FROM notes WHERE text IN (SELECT email FROM customers)", "a comparison"),
        ("SELECT EXISTS (SELECT FROM customers WHERE email ~ '^a')", "a comparison"),
        ("SELECT count(*) FILTER (WHERE email IS NOT NULL) FROM customers", "FILTER"),
        ("SELECT count(substring(email from '^a')) FROM customers", "a count of computed values"),
        ("SELECT row_number() OVER (ORDER BY email) FROM customers", "OVER"),
        ("SELECT rank() OVER w FROM customers WINDOW w AS (PARTITION BY card)", "OVER"),
        ("SELECT array_agg(id ORDER BY email) FROM customers", "ORDER BY"),
        ("SELECT id FROM orders LIMIT (SELECT length(email) FROM customers LIMIT 1)", "LIMIT"),
        ("SELECT 1 FROM customers, generate_series(1, length(email))", "generate_series(), of which the number of rows tells"),
        ("SELECT regexp_split_to_table(email, 'a') FROM customers", "regexp_split_to_table(), of which the number of rows tells"),
        ("SELECT 1 / (id - length(email)) FROM customers", "the operator -, which may fail on it"),
        ("SELECT length(card) + 2147483647 FROM customers", "the operator +, which may fail on it"),
        ("SELECT email::int FROM customers", "a cast to int4, which may fail on it"),
        ("SELECT JSON(email) FROM customers", "reading as JSON, which may fail on it"),
        ("SELECT substr(name, 1, length(email)) FROM customers", "substr(), which may fail on it"),
        ("SELECT sqrt(length(email)) FROM customers", "sqrt(), which may fail on it"),
        ("UPDATE customers SET name = 'x' WHERE email = 'a'", "a comparison"),
        ("DELETE FROM customers WHERE card LIKE '4%'", "a comparison"),
        ("DELETE FROM orders USING customers c WHERE c.email = 'a'", "a comparison"),
        ("MERGE INTO notes n USING customers c ON n.text = c.email WHEN MATCHED THEN DELETE", "a comparison"),
        ("INSERT INTO customers VALUES (1) ON CONFLICT (email) DO NOTHING", "ON CONFLICT"),
        ("EXPLAIN SELECT id FROM customers WHERE email = 'a'", "a comparison"),
        ("PREPARE p AS SELECT id FROM customers WHERE email = $1", "a comparison"),
        ("DECLARE c CURSOR FOR SELECT id FROM customers WHERE email = 'a'", "a comparison"),
        ("SELECT id FROM archive WHERE card = 'x'", "a comparison"),
        ("SELECT 1 FROM emails WHERE address = 'x'", "a comparison"),
        ("SELECT 1 FROM customers c WHERE c.*::text LIKE '%x%'", "a comparison"),
        ("SELECT 1 FROM customers c WHERE (c).card = 'x'", "a comparison"),
        ("UPDATE emails SET address = 'x' WHERE address = 'y'", "a comparison"),
        ("SELECT 1 FROM pg_stats WHERE most_common_vals::text LIKE '%a%'", "a comparison"),
    ],
)
def test_hidden_columns_decide_about_no_rows(free: Decider, statement: Statement, text: str, where: str) -> None:
    decision = free.open("support-bot", "shop").decide(statement(text)).decision
    assert decision.verdict is Verdict.DENY
    assert decision.reason.startswith("no policy permits match on shop/shop/")
    assert f"used in {where}:" in decision.reason
    assert "(tag " in decision.reason


@pytest.mark.parametrize(
    "text",
    [
        "SELECT email FROM customers WHERE id = 1 ORDER BY name LIMIT 3",
        "SELECT name, lower(email), count(*) OVER (PARTITION BY name) FROM customers",
        "SELECT count(email), count(c), count(c.*) FROM customers c",
        "SELECT name AS n FROM customers GROUP BY n HAVING count(email) > 1",
        "SELECT id, email FROM customers ORDER BY 1",
        "SELECT lower(name) AS email FROM customers ORDER BY email",
        "SELECT id FROM customers c JOIN orders o USING (id) WHERE o.total > 3",
        "SELECT email FROM customers UNION ALL SELECT 'x'",
        "SELECT c.email FROM customers c WHERE EXISTS (SELECT FROM orders o WHERE o.customer = c.id)",
        "SELECT substr(email, 1, 4), left(card, 2), email::text || card, to_json(c) ->> 'card' FROM customers c",
        "SELECT (id + 1) / 2, id::text::int, sqrt(id) FROM customers",
        "SELECT tablename FROM pg_stats WHERE tablename = 'x'",
    ],
)
def test_other_columns_may(free: Decider, statement: Statement, text: str) -> None:
    decision = free.open("support-bot", "shop").decide(statement(text)).decision
    assert decision.verdict is Verdict.ALLOW, decision.reason


def test_the_number_of_a_column_is_no_literal_like_others(free: Decider, statement: Statement) -> None:
    flow = free.open("support-bot", "shop")
    assert flow.decide(statement("SELECT id, email FROM customers ORDER BY 1")).decision.verdict is Verdict.ALLOW
    assert flow.decide(statement("SELECT id, email FROM customers ORDER BY 2")).decision.verdict is Verdict.DENY


def test_match_and_derive_can_be_permitted_for_a_column_or_a_tag(free: Decider, with_rules: Make, statement: Statement) -> None:
    rules = """
        @id("m") permit (principal, action == Action::"match", resource in Tag::"pii");
        @id("d") permit (principal, action == Action::"derive", resource == Column::"shop/shop/public/customers/card");
    """
    free.reload(with_rules(EVERYTHING + rules))
    flow = free.open("support-bot", "shop")

    def verdict(text: str) -> Verdict:
        return flow.decide(statement(text)).decision.verdict

    assert verdict("SELECT id FROM customers WHERE email = 'a'") is Verdict.ALLOW
    assert verdict("SELECT address FROM emails ORDER BY 1") is Verdict.ALLOW
    assert verdict("SELECT id FROM customers WHERE card = 'a'") is Verdict.DENY
    assert verdict("INSERT INTO notes SELECT id, card FROM customers") is Verdict.ALLOW
    assert verdict("INSERT INTO notes SELECT id, email FROM customers") is Verdict.DENY


def test_what_is_clean_stays_beside_what_is_not(free: Decider, statement: Statement) -> None:
    text = "SELECT upper(name), upper(email), id + 1, email || name, CASE WHEN id > 1 THEN name END, x.n FROM customers"
    text += ", (SELECT count(*) AS n, max(card) AS m FROM customers) AS x"
    plan = free.open("support-bot", "shop").decide(statement(text)).decision.plan
    assert plan is not None
    assert (plan.clean_positions, plan.columns) == (frozenset([0, 2, 4, 5]), 6)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT coalesce(email, nextval('s')::text) FROM customers",
        "SELECT pg_sleep(length(email)) FROM customers",
        "SELECT nextval('s'), lower(email) FROM customers",
        "SELECT lo_from_bytea(0, card::bytea) FROM customers",
        "SELECT pg_advisory_lock(length(card)) FROM customers",
        "SELECT id FROM customers WHERE pg_advisory_lock(hashtext(email)) IS NULL",
        "SELECT f(email) FROM customers",
    ],
)
def test_functions_that_keep_or_tell_get_no_hidden_value(
    with_rules: Make, catalog: Catalog, statement: Statement, text: str
) -> None:
    call = '@id("f") permit (principal, action == Action::"call", resource == Function::"shop/shop/public/f");'
    decider = Decider(with_rules(EVERYTHING + call))
    decider.set_catalog("shop", "shop", catalog)
    decision = decider.open("support-bot", "shop").decide(statement(text)).decision
    assert decision.verdict is Verdict.DENY
    assert "no policy permits derive on shop/shop/public/customers/" in decision.reason or "permits match" in decision.reason


@pytest.mark.parametrize(
    "text",
    [
        "CREATE TABLE x AS SELECT most_common_vals::text FROM pg_stats",
        "CREATE VIEW x AS SELECT tablename, histogram_bounds FROM pg_stats",
        "INSERT INTO notes SELECT 1, query FROM pg_stat_activity",
        "CREATE TABLE d (x text DEFAULT f(1))",
        "INSERT INTO notes VALUES (1, f(1))",
        "INSERT INTO notes VALUES (1, pg_read_file('base/1/2'))",
    ],
)
def test_what_may_be_anything_is_not_kept(with_rules: Make, catalog: Catalog, statement: Statement, text: str) -> None:
    call = '@id("f") permit (principal, action == Action::"call", resource == Function::"shop/shop/public/f");'
    decider = Decider(with_rules(EVERYTHING + call + '@id("all") permit (principal, action, resource) ' + UNSEEN))
    decider.set_catalog("shop", "shop", catalog)
    decision = decider.open("support-bot", "shop").decide(statement(text)).decision
    assert decision.verdict is Verdict.DENY
    assert "permits derive" in decision.reason


def test_a_table_of_what_was_prepared_is_one_of_what_it_reads(free: Decider, statement: Statement) -> None:
    flow = free.open("support-bot", "shop")
    assert flow.decide(statement("PREPARE p AS SELECT email FROM customers")).decision.verdict is Verdict.ALLOW
    assert flow.decide(statement("PREPARE q AS SELECT id FROM orders")).decision.verdict is Verdict.ALLOW
    assert flow.decide(statement("CREATE TABLE x AS EXECUTE p")).decision.verdict is Verdict.DENY
    assert flow.decide(statement("CREATE TABLE x AS EXECUTE q")).decision.verdict is Verdict.ALLOW


def test_an_execute_shows_what_its_text_would(free: Decider, statement: Statement) -> None:
    flow = free.open("support-bot", "shop")
    flow.decide(statement("PREPARE p AS SELECT upper(name), upper(email), 1 FROM customers"))
    plan = flow.decide(statement("EXECUTE p")).decision.plan
    assert plan is not None
    assert (plan.clean_positions, plan.columns) == (frozenset([0, 2]), 3)


def test_a_copy_beside_another_statement_does_not_unmask_it(free: Decider, statement: Statement) -> None:
    flow = free.open("support-bot", "shop")
    alone = flow.decide(statement("COPY customers (id, name) TO STDOUT")).decision.plan
    assert alone is not None
    assert (alone.masks, alone.computed, alone.scrub_errors) == ({}, None, True)
    for both in ("COPY customers (id) TO STDOUT; SELECT id FROM customers", "SELECT 1; COPY orders TO STDOUT"):
        assert "COPY beside" in flow.decide(statement(both)).decision.reason
    assert flow.decide(statement("COPY orders TO STDOUT")).decision.plan is None


def test_copy_of_what_may_be_anything_is_refused_beforehand(with_rules: Make, catalog: Catalog, statement: Statement) -> None:
    decider = Decider(with_rules('@id("all") permit (principal, action, resource) ' + UNSEEN))
    decider.set_catalog("shop", "shop", catalog)
    flow = decider.open("support-bot", "shop")
    for text in ("COPY pg_statistic TO STDOUT", "COPY (SELECT x.* FROM pg_statistic x, orders) TO STDOUT"):
        assert "COPY out of" in flow.decide(statement(text)).decision.reason, text


def test_a_cursor_s_clean_columns_stay_clean(free: Decider, statement: Statement) -> None:
    flow = free.open("support-bot", "shop")

    def clean(text: str) -> tuple[object, int]:
        plan = flow.decide(statement(text)).decision.plan
        assert plan is not None
        return plan.clean_positions, plan.columns

    flow.decide(statement("DECLARE c CURSOR FOR SELECT upper(name), upper(email), id + 1 FROM customers"))
    assert clean("FETCH 1 FROM c") == (frozenset([0, 2]), 3)
    assert clean("FETCH 1 FROM c; FETCH 1 FROM c") == (frozenset(), 0)
    flow.decide(statement("DECLARE c CURSOR FOR SELECT upper(email), upper(email), id + 1 FROM customers"))
    assert clean("FETCH 1 FROM c") == (frozenset([2]), 3)
    assert clean("FETCH 1 FROM never") == (frozenset(), 0)
