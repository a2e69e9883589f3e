"""Decisions on the shop: what each agent may do, why not, whose approval would help; a text seen before costs nothing."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from hostguard.policy.asks import Approval
from hostguard.policy.decide import Decider, Policy
from hostguard.policy.document import Document
from hostguard.policy.scope import MAX_TEXTS
from hostguard.policy.sql.catalog import Catalog
from hostguard.protocols.events import Operation, OperationKind, Session, Verdict

Statement = Callable[..., Operation]
Make = Callable[..., Policy]
ALLOW, DENY, HOLD = Verdict.ALLOW, Verdict.DENY, Verdict.HOLD


def verdict(decider: Decider, agent: str, operation: Operation) -> Verdict:
    return decider.open(agent, "shop").decide(operation).decision.verdict


@pytest.mark.parametrize(
    ("text", "support", "fraud"),
    [
        ("SELECT id FROM orders", ALLOW, ALLOW),
        ("DELETE FROM orders WHERE id = 1", HOLD, DENY),
        ("DELETE FROM orders", DENY, DENY),
        ("UPDATE orders SET total = 1 WHERE id = 1", ALLOW, DENY),
        ("UPDATE orders SET total = 1", DENY, DENY),
        ("UPDATE customers SET name = 'x' WHERE id = 1", DENY, DENY),
        ("INSERT INTO orders SELECT * FROM orders", DENY, DENY),
        ("DROP TABLE orders", DENY, DENY),
        ("SELECT 1; DROP TABLE orders", DENY, DENY),
        ("SELECT id FROM other.orders", DENY, DENY),
        ("SELECT id FROM shop.public.orders", ALLOW, ALLOW),
        ("SELECT id FROM mall.public.orders", DENY, DENY),
        ("SELECT * FROM nowhere", ALLOW, ALLOW),
        ("COPY orders TO STDOUT", ALLOW, ALLOW),
        ("COPY orders TO '/tmp/x'", DENY, DENY),
        ("COPY orders TO PROGRAM 'cat'", DENY, DENY),
        ("EXPLAIN SELECT * FROM orders", ALLOW, ALLOW),
        ("EXPLAIN SELECT * FROM other.orders", DENY, DENY),
        ("EXPLAIN ANALYZE DELETE FROM orders WHERE id = 1", HOLD, DENY),
        ("SELEC 1", DENY, DENY),
        ("DO $$ BEGIN END $$", DENY, DENY),
        ("LISTEN news", DENY, DENY),
    ],
)
def test_two_agents_get_their_own_answers_on_one_database(
    decider: Decider, statement: Statement, text: str, support: Verdict, fraud: Verdict
) -> None:
    operation = statement(text)
    assert (verdict(decider, "support-bot", operation), verdict(decider, "fraud-bot", operation)) == (support, fraud)


@pytest.mark.parametrize(
    "text",
    [
        "BEGIN ISOLATION LEVEL SERIALIZABLE",
        "COMMIT",
        "ROLLBACK TO SAVEPOINT a",
        "SHOW server_version",
        "SET TimeZone = 'UTC'",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "SET enable_seqscan = off",
        "SET NAMES 'utf8'",
        "SET client_encoding = 'UTF-8'",
        "SELECT set_config('statement_timeout', '1s', false)",
        "RESET ALL",
        "DISCARD ALL",
        "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;",
        "DEALLOCATE ALL",
        "SELECT current_setting('server_version_num')",
        "SELECT c.relname, pg_catalog.pg_get_expr(d.adbin, d.adrelid) FROM pg_class c JOIN pg_attrdef d ON d.adrelid = c.oid",
        "SELECT * FROM information_schema.columns",
        "SELECT version(), now(), current_database(), pg_backend_pid()",
    ],
)
def test_the_base_policy_lets_drivers_and_psql_do_their_housekeeping(decider: Decider, statement: Statement, text: str) -> None:
    judgement = decider.open("fraud-bot", "shop").decide(statement(text))
    assert judgement.decision.verdict is ALLOW, judgement.decision.reason
    assert all(policy.startswith("hostguard: ") for policy in judgement.decision.policies)


@pytest.mark.parametrize(
    "text",
    [
        "SET ROLE admin",
        "SET SESSION AUTHORIZATION admin",
        "SET search_path = evil",
        "SET standard_conforming_strings = off",
        "SET NAMES 'sjis'",
        "SET NAMES 'utf8'; SET client_encoding = 'sjis'",
        "SELECT set_config('search_path', 'evil', false)",
        "SELECT set_config('ro' || 'le', 'admin', false)",
        "ALTER SYSTEM SET work_mem = 1",
        "PREPARE TRANSACTION 'x'",
        "SELECT * FROM pg_authid",
        "SELECT * FROM pg_shadow",
        "SELECT * FROM pg_stats",
        "SELECT query FROM pg_stat_activity",
        "SELECT * FROM pg_largeobject",
        "SELECT * FROM pg_user_mappings",
        "SELECT * FROM information_schema.user_mapping_options",
        "SELECT pg_sleep(1)",
        "SELECT pg_advisory_lock(1)",
        "SELECT pg_terminate_backend(1)",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT lo_get(1)",
        "SELECT nextval('s')",
        "SELECT query_to_xml('select 1', true, true, '')",
        "SELECT pg_notify('a', 'b')",
    ],
)
def test_the_base_policy_permits_nothing_beyond_housekeeping(decider: Decider, statement: Statement, text: str) -> None:
    assert verdict(decider, "fraud-bot", statement(text)) is DENY


def test_without_the_base_policy_not_even_begin_is_permitted(with_rules: Make, statement: Statement) -> None:
    decider = Decider(with_rules(base=False))
    assert verdict(decider, "support-bot", statement("BEGIN")) is DENY
    assert verdict(decider, "support-bot", statement("SELECT id FROM public.orders")) is DENY  # tags, and no catalog


def test_a_forbid_of_the_user_wins_over_the_base_policy(with_rules: Make, statement: Statement) -> None:
    decider = Decider(with_rules('@id("no show") forbid (principal, action == Action::"show", resource);'))
    judgement = decider.open("support-bot", "shop").decide(statement("SHOW all"))
    assert judgement.decision.reason == '"no show" forbids show on shop/shop (all) for agent support-bot'
    assert judgement.decision.policies == ("no show",)


def test_a_denial_says_what_is_missing_and_where_to_look(decider: Decider, statement: Statement) -> None:
    decision = decider.open("support-bot", "shop").decide(statement("DROP TABLE customers")).decision
    assert decision.reason == "no policy permits drop on shop/shop/public/customers for agent support-bot"
    assert decision.hint == (
        "`hostguard policy explain --agent support-bot --resource shop 'STATEMENT'` tells which policies decide."
    )
    assert decision.plan is None


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("DELETE FROM orders", "With a WHERE that names the rows it waits for the approval of group dba."),
        ("UPDATE orders SET total = 1", "With a WHERE that names the rows it is permitted."),
        ("DELETE FROM other.orders", "`hostguard policy explain --agent support-bot"),
    ],
)
def test_a_missing_where_is_named_where_that_is_all(decider: Decider, statement: Statement, text: str, hint: str) -> None:
    decision = decider.open("support-bot", "shop").decide(statement(text)).decision
    assert decision.verdict is DENY
    assert decision.hint.startswith(hint)


def test_what_is_made_is_made_in_the_first_schema_of_the_path(decider: Decider, statement: Statement) -> None:
    session = Session("shop", "app", search_path=("pg_catalog", "other", "public"))
    flow = decider.open("support-bot", "shop")
    assert flow.decide(statement("CREATE TABLE orders (id int)", session=session)).accesses == (
        ("create", "shop/shop/other/orders"),
    )
    assert flow.decide(statement("CREATE INDEX ON orders (id)", session=session)).accesses == (
        ("create", "shop/shop/public/orders (index)"),
    )


def test_a_hold_says_which_policy_waits_for_whom(decider: Decider, statement: Statement) -> None:
    judgement = decider.open("support-bot", "shop").decide(statement("DELETE FROM orders WHERE id = 7"))
    assert judgement.decision.verdict is HOLD
    assert judgement.decision.policies == ("support deletes rows it names, with a DBA's approval",)
    assert judgement.helped_by == ("group dba",)
    assert judgement.decision.hint == ""
    assert judgement.needs == ("delete",)
    assert judgement.accesses == (("delete", "shop/shop/public/orders"),)
    assert judgement.summary == "deletes the rows of orders that match its conditions"


def test_an_approval_permits_what_was_held_and_nothing_more(decider: Decider, statement: Statement) -> None:
    flow, bob = decider.open("support-bot", "shop"), Approval(frozenset(["bob"]))
    assert flow.decide(statement("DELETE FROM orders WHERE id = 7"), bob).decision.verdict is ALLOW
    assert flow.decide(statement("DELETE FROM orders WHERE id = 7")).decision.verdict is HOLD
    assert flow.decide(statement("DELETE FROM orders"), bob).decision.verdict is DENY


def test_an_owner_who_is_the_only_approver_helps_nobody(with_rules: Make, document: Document, statement: Statement) -> None:
    agents = {name: msgspec.structs.replace(agent, owner="bob") for name, agent in document.agents.items()}
    decider = Decider(with_rules(agents=agents))
    assert verdict(decider, "support-bot", statement("DELETE FROM public.orders WHERE id = 7")) is DENY


TWO = """@id("two of them") permit (principal in Role::"support", action == Action::"truncate", resource)
when { context has approval && context.approval.count >= 2 };"""


def test_a_quorum_is_told_and_collected(with_rules: Make, document: Document, catalog: Catalog, statement: Statement) -> None:
    users = {**document.users, "dora": document.users["bob"]}
    decider = Decider(with_rules(TWO, users=users))
    decider.set_catalog("shop", "shop", catalog)
    flow = decider.open("support-bot", "shop")
    held = flow.decide(statement("TRUNCATE orders"))
    assert (held.decision.verdict, held.helped_by) == (HOLD, ("2 of group dba",))
    assert flow.decide(statement("TRUNCATE orders"), Approval(frozenset(["bob"]))).decision.verdict is HOLD
    assert flow.decide(statement("TRUNCATE orders"), Approval(frozenset(["bob", "dora"]))).decision.verdict is ALLOW


def test_a_quorum_that_nobody_can_reach_is_a_denial(with_rules: Make, statement: Statement) -> None:
    assert verdict(Decider(with_rules(TWO)), "support-bot", statement("TRUNCATE public.orders")) is DENY


def test_users_of_two_groups_can_be_needed_together(with_rules: Make, statement: Statement) -> None:
    cedar = """@id("both") permit (principal, action == Action::"vacuum", resource)
    when { context has approval && context.approval.by.containsAll([User::"bob", User::"carol"]) };
    @id("team approves") permit (principal in Group::"fraud-team", action == Action::"approve", resource);"""
    judgement = Decider(with_rules(cedar)).open("support-bot", "shop").decide(statement("VACUUM"))
    assert (judgement.decision.verdict, judgement.helped_by) == (HOLD, ("group dba and group fraud-team",))


def test_a_failing_policy_closes(with_rules: Make, statement: Statement) -> None:
    cedar = """@id("overflow") forbid (principal, action == Action::"show", resource)
    when { principal.workload == "support-bot" && 9223372036854775807 + (if context.flags.contains("x") then 0 else 1) > 0 };"""
    judgement = Decider(with_rules(cedar)).open("support-bot", "shop").decide(statement("SHOW all"))
    assert judgement.decision.verdict is DENY
    assert "integer overflow" in judgement.decision.reason


def test_a_function_of_unknown_body_must_be_named_by_its_policy(with_rules: Make, statement: Statement) -> None:
    wide = '@id("calls all") permit (principal, action == Action::"call", resource in Schema::"shop/shop/public");'
    exact = '@id("calls f") permit (principal, action == Action::"call", resource == Function::"shop/shop/public/f");'
    assert verdict(Decider(with_rules(wide, tags={})), "support-bot", statement("SELECT f()")) is DENY
    assert verdict(Decider(with_rules(wide + exact, tags={})), "support-bot", statement("SELECT f()")) is ALLOW
    assert verdict(Decider(with_rules(wide + exact, tags={})), "support-bot", statement("SELECT other.f()")) is DENY


def test_what_has_no_text_is_unknown(decider: Decider, statement: Statement) -> None:
    flow = decider.open("support-bot", "shop")
    assert flow.decide(statement(None, OperationKind.EXECUTE)).decision.verdict is DENY
    assert flow.decide(statement(None, OperationKind.FUNCTION_CALL, function=1)).decision.verdict is DENY


@pytest.mark.parametrize(
    ("session", "text", "expected"),
    [
        (Session("shop", "u", "SJIS", search_path=("pg_catalog", "public")), "SELECT 1", DENY),
        (Session("shop", "u", "LATIN1", search_path=("pg_catalog", "public")), "SELECT 1", ALLOW),
        (Session("shop", "u", "LATIN1", search_path=("pg_catalog", "public")), "SELECT 'é'", DENY),
        (Session("shop", "u", "utf8", search_path=("pg_catalog", "public")), "SELECT 'é'", ALLOW),
        (Session("shop", "u", standard_conforming_strings=False, search_path=("pg_catalog",)), r"SELECT '\''", DENY),
        (Session("shop", "u", search_path=("public", "pg_catalog")), "SELECT id FROM orders", DENY),
        (Session("shop", "u", search_path=("public", "pg_catalog")), "ROLLBACK", ALLOW),
        (Session("shop", "u", search_path=("pg_temp_3", "pg_catalog", "public")), "SELECT id FROM orders", ALLOW),
        (Session("shop", "u", search_path=("pg_catalog", "other")), "SELECT id FROM orders", DENY),
        (Session("shop", "u"), "SELECT id FROM orders", ALLOW),
        (Session("shop", "u"), "CREATE TABLE t (id int)", DENY),
    ],
)
def test_a_text_is_read_under_the_session_s_own_facts(
    decider: Decider, statement: Statement, session: Session, text: str, expected: Verdict
) -> None:
    assert verdict(decider, "support-bot", statement(text, session=session)) is expected


def test_without_a_certain_search_path_every_table_of_the_name_must_be_permitted(decider: Decider, statement: Statement) -> None:
    session = Session("shop", "u")
    flow = decider.open("support-bot", "shop")
    assert flow.decide(statement("SELECT id FROM orders", session=session)).accesses == (("select", "shop/shop/public/orders"),)
    decider.set_catalog(
        "shop", "shop", Catalog.from_rows([("relation", "1", "public", "orders", "r"), ("relation", "2", "x", "orders", "r")])
    )
    judgement = flow.decide(statement("SELECT id FROM orders", session=session))
    assert judgement.accesses == (("select", "shop/shop/public/orders"), ("select", "shop/shop/x/orders"))
    assert judgement.decision.verdict is DENY
    decider.set_catalog("shop", "shop", None)
    assert "search_path, which is not certain" in flow.decide(statement("SELECT id FROM orders", session=session)).decision.reason


def test_names_with_slashes_are_other_names(with_rules: Make, statement: Statement) -> None:
    cedar = '@id("a") permit (principal, action == Action::"select", resource == Table::"shop/shop/public/a/b");'
    decider = Decider(with_rules(cedar, shop=False, tags={}))
    assert verdict(decider, "support-bot", statement('SELECT 1 FROM public."a/b"')) is DENY
    assert verdict(decider, "support-bot", statement('SELECT 1 FROM "public/a".b')) is DENY


# -- prepared statements and cursors --------------------------------------------------------------------------------------------


def test_execute_is_judged_by_everything_that_its_name_may_stand_for(decider: Decider, statement: Statement) -> None:
    flow = decider.open("support-bot", "shop")
    assert flow.decide(statement("EXECUTE a")).decision.verdict is DENY
    assert flow.decide(statement("PREPARE a AS SELECT id FROM orders")).decision.verdict is ALLOW
    assert flow.decide(statement("EXECUTE a")).decision.verdict is ALLOW
    flow.decide(statement("DEALLOCATE a"))
    assert flow.decide(statement("PREPARE a AS DELETE FROM orders WHERE id = 1")).decision.verdict is HOLD
    held = flow.decide(statement("EXECUTE a"))
    assert (held.decision.verdict, held.needs) == (HOLD, ("delete",))
    assert len(held.depends) == 2


def test_execute_of_a_name_that_was_parsed_by_the_protocol(decider: Decider, statement: Statement) -> None:
    flow = decider.open("support-bot", "shop")
    for _ in range(2):  # the second time from the cache
        flow.decide(statement("SELECT id FROM orders", OperationKind.PREPARE, statement="b"))
    assert flow.decide(statement("EXECUTE b")).decision.verdict is ALLOW
    assert decider.open("support-bot", "shop").decide(statement("EXECUTE b")).decision.verdict is DENY


def test_what_was_denied_is_not_remembered(decider: Decider, statement: Statement) -> None:
    flow = decider.open("support-bot", "shop")
    flow.decide(statement("PREPARE a AS DROP TABLE orders"))
    flow.decide(statement("DROP TABLE orders", OperationKind.PREPARE, statement="a"))
    assert flow.decide(statement("EXECUTE a")).decision.reason.startswith('the prepared statement "a" was not prepared')


def test_a_flow_that_prepares_without_end_is_refused_not_forgotten(decider: Decider, statement: Statement) -> None:
    flow = decider.open("support-bot", "shop")
    for number in range(600):
        flow.decide(statement("SELECT id FROM orders", OperationKind.PREPARE, statement=f"s{number}"))
    assert flow.decide(statement("EXECUTE s1")).decision.verdict is ALLOW
    assert flow.decide(statement("EXECUTE s599")).decision.verdict is DENY
    for number in range(9):
        flow.decide(statement(f"SELECT {number} FROM orders", OperationKind.PREPARE, statement="s1"))
    assert flow.decide(statement("EXECUTE s1")).decision.verdict is DENY


# -- caches ---------------------------------------------------------------------------------------------------------------------


def test_a_text_that_was_seen_costs_no_parse_and_no_decision(decider: Decider, statement: Statement) -> None:
    first, second = decider.open("support-bot", "shop"), decider.open("support-bot", "shop")
    judgement = first.decide(statement("SELECT id FROM orders WHERE id = 1"))
    assert (decider.stats.parsed, decider.stats.decided) == (1, 1)
    assert first.decide(statement("SELECT id FROM orders WHERE id = 1", OperationKind.EXECUTE)) is judgement
    assert second.decide(statement("SELECT id FROM orders WHERE id = 1")) is judgement
    assert second.decide(statement("SELECT id FROM orders WHERE id = 2")) is judgement
    same_facts = Session("shop", "app", search_path=("pg_catalog", "public"))
    assert second.decide(statement("SELECT id FROM orders WHERE id = 1", session=same_facts)) is judgement
    assert (decider.stats.parsed, decider.stats.decided, decider.stats.shared) == (1, 1, 1)


def test_nothing_is_shared_between_agents_sessions_or_epochs(decider: Decider, document: Document, statement: Statement) -> None:
    text = "UPDATE orders SET total = 1 WHERE id = 1"
    support, fraud = decider.open("support-bot", "shop"), decider.open("fraud-bot", "shop")
    assert support.decide(statement(text)).decision.verdict is ALLOW
    assert fraud.decide(statement(text)).decision.verdict is DENY
    assert support.decide(statement(text, session=Session("mall", "app"))).decision.verdict is DENY
    assert support.decide(statement(text)).epoch == 1
    decider.reload(Policy(msgspec.structs.replace(document, sources=document.sources[:1])))
    after = support.decide(statement(text))
    assert (after.decision.verdict, after.epoch) == (DENY, 2)


def test_where_literals_matter_a_shape_is_not_enough(decider: Decider, statement: Statement) -> None:
    flow = decider.open("support-bot", "shop")
    assert flow.decide(statement("SELECT set_config('timezone', 'UTC', false)")).decision.verdict is ALLOW
    assert flow.decide(statement("SELECT set_config('role', 'UTC', false)")).decision.verdict is DENY
    assert flow.decide(statement("SET client_encoding = 'utf8'")).decision.verdict is ALLOW
    assert flow.decide(statement("SET client_encoding = 'sjis'")).decision.verdict is DENY
    assert flow.decide(statement("UPDATE orders SET total = 1 WHERE id = 1")).flags == ()
    assert "tautology" in flow.decide(statement("UPDATE orders SET total = 1 WHERE 1 = 1")).flags


def test_an_agent_that_a_reload_removes_may_do_nothing(decider: Decider, document: Document, statement: Statement) -> None:
    flow = decider.open("support-bot", "shop")
    agents = {name: agent for name, agent in document.agents.items() if name != "support-bot"}
    decider.reload(Policy(msgspec.structs.replace(document, agents=agents, workloads={})))
    assert flow.decide(statement("BEGIN")).decision.reason == "the policy no longer knows agent support-bot on shop"
    assert flow.owner == ""
    with pytest.raises(KeyError):
        decider.open("support-bot", "shop")


def test_caches_are_bounded(decider: Decider, statement: Statement) -> None:
    flow = decider.open("support-bot", "shop")
    for number in range(MAX_TEXTS + 10):
        flow.decide(statement(f"SELECT {number}"))
    assert decider.stats.dropped == 1
    long = "SELECT 1 /*" + "x" * 20_000 + "*/"
    before = decider.stats.parsed
    flow.decide(statement(long))
    flow.decide(statement(long))
    assert decider.stats.parsed == before + 2
