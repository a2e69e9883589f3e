"""What leaves masked: the plan for each reply; the statements for which no plan would do."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from hostguard.policy.decide import Decider, Policy
from hostguard.policy.document import Document
from hostguard.policy.sections import MaskRule, Tag
from hostguard.policy.sql.catalog import Catalog
from hostguard.protocols.disclosure import Mask, ReplyPlan
from hostguard.protocols.events import Operation, Verdict

Statement = Callable[..., Operation]
Make = Callable[..., Policy]
Row = tuple[str, str, str, str, str]
NULL = Mask("null")
EVERYTHING = """@id("support may do anything in the database")
permit (principal in Role::"support", action, resource in Database::"shop/shop")
unless { [Action::"reveal", Action::"match", Action::"derive"].contains(action) };"""


def oid(catalog: Catalog, name: str) -> int:
    return catalog.oids_of("public", name)[0]


def plan_of(decider: Decider, agent: str, operation: Operation) -> ReplyPlan:
    judgement = decider.open(agent, "shop").decide(operation)
    assert judgement.decision.verdict is Verdict.ALLOW, judgement.decision.reason
    assert judgement.decision.plan is not None
    return judgement.decision.plan


@pytest.fixture
def free(with_rules: Make, catalog: Catalog) -> Decider:
    """A decider by which support may do anything but see, match, derive."""
    decider = Decider(with_rules(EVERYTHING))
    decider.set_catalog("shop", "shop", catalog)
    return decider


def test_the_plan_masks_what_this_agent_may_not_see(decider: Decider, catalog: Catalog, statement: Statement) -> None:
    operation = statement("SELECT * FROM customers")
    customers = oid(catalog, "customers")
    email, card = Mask("partial", "pii.email", 0, "***"), Mask("partial", "pci.card", 4, "***")
    support, fraud = plan_of(decider, "support-bot", operation), plan_of(decider, "fraud-bot", operation)
    assert (support.masks[customers, 3], support.masks[customers, 4]) == (email, card)
    assert fraud.masks[customers, 3] == email
    assert (customers, 4) not in fraud.masks
    assert (support.computed, support.scrub_errors) == (NULL, True)


def test_parents_and_children_show_the_same_values_under_their_own_numbers(
    decider: Decider, catalog: Catalog, statement: Statement
) -> None:
    plan = plan_of(decider, "support-bot", statement("SELECT * FROM customers"))
    archive, everyone = oid(catalog, "archive"), oid(catalog, "everyone")
    hidden = {key for key in plan.masks if key[0] in (archive, everyone)}
    assert hidden == {(archive, 1), (archive, 4), (everyone, 3)}


def test_tables_and_views_without_hidden_columns_are_clean(decider: Decider, catalog: Catalog, statement: Statement) -> None:
    plan = plan_of(decider, "support-bot", statement("SELECT * FROM orders"))
    clean = {
        name for name in ("customers", "orders", "notes", "names", "emails", "archive") if oid(catalog, name) in plan.clean_tables
    }
    assert clean == {"orders", "notes", "names"}
    assert 1259 in plan.clean_tables  # pg_class
    assert 2619 not in plan.clean_tables  # pg_statistic
    assert 99999 not in plan.clean_tables


@pytest.mark.parametrize(
    ("text", "computed"),
    [
        ("SELECT total + 1 FROM orders", False),
        ("SELECT 1", False),
        ("SELECT relname || 'x' FROM pg_class", False),
        ("SELECT name || 'x' FROM names", False),
        ("SELECT lower(email) FROM customers", True),
        ("SELECT address || 'x' FROM emails", True),
        ("SELECT email || 'x' FROM archive", True),
        ("SELECT email || 'x' FROM everyone", True),
        ("SELECT (SELECT email FROM customers LIMIT 1)", True),
        ("WITH orders AS (SELECT email FROM customers) SELECT max(email) FROM orders", True),
        ("SELECT x || 'y' FROM made_since", True),
        ("TABLE orders UNION ALL SELECT 1, 2, length(card) FROM customers", True),
    ],
)
def test_computed_columns_close_where_hidden_ones_may_flow_in(
    decider: Decider, statement: Statement, text: str, computed: bool
) -> None:
    judgement = decider.open("support-bot", "shop").decide(statement(text))
    plan = judgement.decision.plan
    assert plan is not None, judgement.decision.reason
    assert (plan.computed == NULL, plan.scrub_errors, judgement.touches) == (computed, computed, computed)


def test_columns_that_carry_nothing_stay(decider: Decider, statement: Statement) -> None:
    plan = plan_of(decider, "support-bot", statement("SELECT count(*), lower(email), 'x' FROM customers"))
    assert plan.clean_positions == frozenset([0, 2])


def test_statements_without_rows_need_no_plan(decider: Decider, statement: Statement) -> None:
    flow = decider.open("support-bot", "shop")
    for text in ("BEGIN", "SET timezone = 'UTC'", "UPDATE orders SET total = 1 WHERE id = 1"):
        assert flow.decide(statement(text)).decision.plan is None, text


def test_nothing_is_planned_where_nothing_is_hidden(with_rules: Make, catalog: Catalog, statement: Statement) -> None:
    decider = Decider(with_rules('@id("sees all") permit (principal in Role::"fraud", action == Action::"reveal", resource);'))
    decider.set_catalog("shop", "shop", catalog)
    assert decider.open("fraud-bot", "shop").decide(statement("SELECT lower(email) FROM customers")).decision.plan is None


def test_a_column_of_two_tags_needs_both_revealed(
    with_rules: Make, document: Document, catalog: Catalog, statement: Statement
) -> None:
    tags = {**document.tags, "pii.card": Tag(columns=document.tags["pci.card"].columns, mask=MaskRule(kind="null"))}
    decider = Decider(with_rules(tags=tags))
    decider.set_catalog("shop", "shop", catalog)
    customers = oid(catalog, "customers")
    assert plan_of(decider, "fraud-bot", statement("SELECT card FROM customers")).masks[customers, 4] == Mask(
        "null", "pii.card", 0, "***"
    )
    assert plan_of(decider, "support-bot", statement("SELECT card FROM customers")).masks[customers, 4].kind == "null"


def test_a_hash_mask_gets_the_key_and_no_other_does(
    with_rules: Make, document: Document, catalog: Catalog, statement: Statement
) -> None:
    tags = {"a": Tag(columns=("shop/shop/public/customers/email",), mask=MaskRule(kind="hash")), "b": document.tags["pci.card"]}
    decider = Decider(with_rules(tags=tags), hash_key=b"secret")
    decider.set_catalog("shop", "shop", catalog)
    masks = plan_of(decider, "support-bot", statement("SELECT email FROM customers")).masks
    customers = oid(catalog, "customers")
    assert (masks[customers, 3].key, masks[customers, 4].key) == (b"secret", b"")


def test_while_the_catalog_is_not_known_tables_close_and_the_rest_works(with_rules: Make, statement: Statement) -> None:
    decider = Decider(with_rules())
    flow = decider.open("support-bot", "shop")
    denied = flow.decide(statement("SELECT id FROM orders")).decision
    assert denied.reason == "the catalog of shop/shop is not known, so hidden columns can't be found"
    for text in ("BEGIN", "SELECT 1", "SELECT relname FROM pg_catalog.pg_class", "SHOW all"):
        assert flow.decide(statement(text)).decision.verdict is Verdict.ALLOW, text


def test_a_new_catalog_is_heeded_at_once(decider: Decider, statement: Statement) -> None:
    flow = decider.open("support-bot", "shop")
    assert (777, 1) not in plan_of(decider, "support-bot", statement("SELECT * FROM customers")).masks
    decider.set_catalog(
        "shop", "shop", Catalog.from_rows([("relation", "777", "public", "customers", "r"), ("column", "777", "1", "card", "")])
    )
    plan = flow.decide(statement("SELECT * FROM customers")).decision.plan
    assert plan is not None
    assert set(plan.masks) == {(777, 1)}


@pytest.mark.parametrize(
    "text",
    [
        "CREATE TABLE stolen AS SELECT card FROM customers",
        "SELECT card INTO stolen FROM customers",
        "CREATE VIEW stolen AS SELECT card FROM customers",
        "CREATE MATERIALIZED VIEW stolen AS SELECT * FROM emails",
        "INSERT INTO notes SELECT id, card FROM customers",
        "INSERT INTO notes SELECT id, address FROM emails",
        "INSERT INTO notes SELECT id, card FROM archive",
        "INSERT INTO notes VALUES (1, (SELECT card FROM customers LIMIT 1))",
        "INSERT INTO notes SELECT 1, x FROM made_since",
        "UPDATE notes SET text = card FROM customers",
        "UPDATE customers SET name = card",
        "UPDATE customers SET name = customers.card || ''",
        "UPDATE customers SET name = customers::text",
        "UPDATE customers c SET name = c::text",
        "UPDATE customers SET name = (customers).card",
        "UPDATE customers SET (id, name) = ROW(1, card)",
        "INSERT INTO customers VALUES (1) ON CONFLICT (id) DO UPDATE SET name = customers.card",
        "UPDATE emails SET name = address",
        "MERGE INTO customers c USING orders o ON c.id = o.id WHEN MATCHED THEN UPDATE SET name = c.card",
        "MERGE INTO notes n USING customers c ON c.id = n.id WHEN NOT MATCHED THEN INSERT VALUES (c.id, c.card)",
        "WITH gone AS (DELETE FROM customers WHERE id = 1 RETURNING card) INSERT INTO notes SELECT 1, card FROM gone",
        "COPY customers TO STDOUT (ENCODING 'LATIN1')",
        "COPY (SELECT card FROM customers) TO STDOUT (NULL 'guess')",
        "COPY pg_statistic TO STDOUT",
        "COPY customers TO '/tmp/x'",
        "COPY (SELECT id, card FROM customers) TO PROGRAM 'cat'",
        "SELECT set_config('timezone', card, false) FROM customers",
        "SELECT pg_notify('c', card) FROM customers",
        "SELECT setval('s', length(card)) FROM customers",
        "ALTER TABLE customers RENAME COLUMN card TO c",
        "ALTER TABLE customers ALTER COLUMN name TYPE text USING card",
        "ALTER TABLE archive NO INHERIT customers",
        "ALTER SCHEMA public RENAME TO p",
        "ALTER DATABASE shop RENAME TO p",
        "CREATE RULE r AS ON INSERT TO customers DO ALSO INSERT INTO notes VALUES (1, new.card)",
        "SELECT id FROM orders; INSERT INTO notes SELECT id, card FROM customers",
        "PREPARE p AS INSERT INTO notes SELECT id, card FROM customers",
        "EXPLAIN ANALYZE INSERT INTO notes SELECT id, card FROM customers",
    ],
)
def test_hidden_values_can_t_be_put_where_no_mask_reaches_them(free: Decider, statement: Statement, text: str) -> None:
    decision = free.open("support-bot", "shop").decide(statement(text)).decision
    assert decision.verdict is Verdict.DENY
    assert "derive" in decision.reason or "can't be masked" in decision.reason


@pytest.mark.parametrize(
    "text",
    [
        "INSERT INTO notes SELECT id, 'x' FROM orders",
        "INSERT INTO customers VALUES (1, 'a', 'b', 'c') RETURNING id",
        "INSERT INTO customers VALUES (1) ON CONFLICT (id) DO UPDATE SET name = excluded.name, id = customers.id",
        "UPDATE customers SET name = 'x' WHERE id = 1",
        "UPDATE customers SET id = id + 1 WHERE id = 1 RETURNING email",
        "UPDATE notes SET text = n.name FROM names n",
        "UPDATE emails SET address = 'x'",
        "INSERT INTO notes SELECT id, name FROM customers",
        "INSERT INTO notes SELECT id, name FROM (SELECT * FROM customers) AS c",
        "CREATE TABLE fresh AS SELECT c.id, count(email) FROM customers c GROUP BY c.id",
        "CREATE VIEW fresh AS SELECT id, upper(name) FROM customers",
        "COPY (SELECT id, name FROM customers) TO STDOUT",
        "COPY customers (id, name) TO STDOUT",
        "SELECT nextval('s'), id FROM customers",
        "UPDATE names SET name = name || id",
        "DELETE FROM customers WHERE id = 1",
        "CREATE TABLE fresh AS SELECT id FROM orders",
        "COPY orders TO STDOUT",
        "COPY customers FROM STDIN",
        "ALTER TABLE orders ADD COLUMN x int",
    ],
)
def test_writes_that_carry_nothing_hidden_go_on(free: Decider, statement: Statement, text: str) -> None:
    decision = free.open("support-bot", "shop").decide(statement(text)).decision
    assert decision.verdict is Verdict.ALLOW, decision.reason


def test_whoever_may_reveal_may_copy(free: Decider, with_rules: Make, statement: Statement) -> None:
    reveal = '@id("s") permit (principal in Role::"support", action == Action::"reveal", resource in Schema::"shop/shop/public");'
    free.reload(with_rules(EVERYTHING + reveal))
    assert free.open("support-bot", "shop").decide(statement("COPY customers TO STDOUT")).decision.verdict is Verdict.ALLOW


def test_catalogs_with_samples_show_nothing_unless_revealed(free: Decider, with_rules: Make, statement: Statement) -> None:
    plan = plan_of(free, "support-bot", statement("SELECT most_common_vals FROM pg_stats"))
    assert plan.computed == NULL
    assert not plan.clean_tables
    rule = '@id("dba looks") permit (principal, action == Action::"reveal", resource in Tag::"catalog.samples");'
    free.reload(with_rules(EVERYTHING + rule))
    assert plan_of(free, "support-bot", statement("SELECT most_common_vals FROM pg_stats")).computed is None


def test_a_function_of_unknown_body_may_read_anything(with_rules: Make, catalog: Catalog, statement: Statement) -> None:
    decider = Decider(
        with_rules('@id("f") permit (principal, action == Action::"call", resource == Function::"shop/shop/public/f");')
    )
    decider.set_catalog("shop", "shop", catalog)
    assert plan_of(decider, "support-bot", statement("SELECT f()")).computed == NULL


# -- cursors and prepared statements --------------------------------------------------------------------------------------------


def test_fetch_closes_by_what_its_cursor_may_read(decider: Decider, statement: Statement) -> None:
    flow = decider.open("support-bot", "shop")

    def computed(text: str) -> Mask | None:
        plan = flow.decide(statement(text)).decision.plan
        assert plan is not None
        return plan.computed

    flow.decide(statement("DECLARE clean CURSOR FOR SELECT id FROM orders"))
    flow.decide(statement("DECLARE dirty CURSOR FOR SELECT lower(email) FROM customers"))
    assert (computed("FETCH 1 FROM clean"), computed("FETCH 1 FROM dirty"), computed("FETCH 1 FROM never")) == (None, NULL, NULL)
    flow.decide(statement("DECLARE clean CURSOR FOR SELECT card || '' FROM customers"))
    assert computed("FETCH 1 FROM clean") == NULL
    flow.decide(statement("DECLARE clean CURSOR FOR SELECT id FROM orders"))
    assert computed("FETCH 1 FROM clean") == NULL


def test_execute_closes_by_what_its_name_may_read(decider: Decider, statement: Statement) -> None:
    flow = decider.open("support-bot", "shop")
    flow.decide(statement("PREPARE p AS SELECT lower(email) FROM customers"))
    plan = flow.decide(statement("EXECUTE p")).decision.plan
    assert plan is not None
    assert plan.computed == NULL


def test_plans_of_one_agent_share_their_parts(decider: Decider, statement: Statement) -> None:
    one = plan_of(decider, "support-bot", statement("SELECT id FROM orders"))
    two = plan_of(decider, "support-bot", statement("SELECT * FROM customers"))
    assert one.clean_tables is two.clean_tables
    assert one.masks is two.masks
    assert msgspec.structs.asdict(one).keys() == msgspec.structs.asdict(two).keys()


def test_a_temporary_table_may_hold_anything(free: Decider, statement: Statement) -> None:
    assert plan_of(free, "support-bot", statement("SELECT x || 'y' FROM pg_temp.t")).computed == NULL
    assert plan_of(free, "support-bot", statement("SELECT x FROM made_since")).computed == NULL


def test_copy_out_of_clean_tables_passes_and_of_what_may_be_hidden_does_not(free: Decider, statement: Statement) -> None:
    """Rows of which nothing need be hidden pass as they are."""
    clean = free.open("support-bot", "shop").decide(statement("COPY orders TO STDOUT"))
    assert (clean.decision.verdict, clean.decision.plan) == (Verdict.ALLOW, None)
    for text in ("COPY pg_statistic TO STDOUT", "COPY (SELECT * FROM made_since) TO STDOUT"):
        assert free.open("support-bot", "shop").decide(statement(text)).decision.verdict is Verdict.DENY, text


@pytest.mark.parametrize(
    "text",
    [
        "CREATE TABLE copied AS SELECT histogram_bounds::text FROM pg_stats",
        "CREATE VIEW copied AS SELECT histogram_bounds::text FROM pg_stats",
        "INSERT INTO notes (body) SELECT most_common_vals::text FROM pg_stats",
    ],
)
def test_samples_are_kept_nowhere(free: Decider, statement: Statement, text: str) -> None:
    judgement = free.open("support-bot", "shop").decide(statement(text))
    assert judgement.decision.verdict is Verdict.DENY
    assert "derive" in judgement.decision.reason


def test_what_samples_hold_out_of_line_is_not_clean(decider: Decider, statement: Statement) -> None:
    plan = plan_of(decider, "support-bot", statement("SELECT * FROM customers"))
    # pg_statistic, pg_statistic_ext_data, and the tables of what they store out of line; pg_class beside them.
    assert set(plan.clean_tables) & {2619, 2840, 3429, 3430, 1259} == {1259}


def test_large_objects_are_read_like_their_table(free: Decider, statement: Statement) -> None:
    for text in ("SELECT lo_get(1)", "SELECT loread(1, 10) AS x", "SELECT data FROM pg_largeobject"):
        plan = plan_of(free, "support-bot", statement(text))
        assert (plan.computed, plan.clean_positions) == (NULL, frozenset())
    assert plan_of(free, "support-bot", statement("SELECT lo_create(0)")).computed is None


def test_what_is_made_for_this_session_is_no_other_sessions(with_rules: Make, rows: list[Row], statement: Statement) -> None:
    decider = Decider(with_rules(EVERYTHING))
    theirs: list[Row] = [
        ("relation", "21000", "pg_temp_7", "kept", "v"),
        ("column", "21000", "1", "email", ""),
        ("view", "21000", "20000", "3", ""),
    ]
    decider.set_catalog("shop", "shop", Catalog.from_rows([*rows, *theirs]))
    flow = decider.open("support-bot", "shop")
    made = flow.decide(statement("CREATE TEMP TABLE kept AS SELECT id FROM customers")).decision
    assert made.verdict is Verdict.ALLOW, made.reason
    assert plan_of(decider, "support-bot", statement("SELECT email || '' FROM pg_temp.kept")).computed == NULL
