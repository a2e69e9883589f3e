"""The policies against Cedar itself: slices decide like the whole set, and the schema knows every effect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cedarpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostguard.policy.asks import Approval, Ask, Uid
from hostguard.policy.cedar import Rulebook, policy_set
from hostguard.policy.cedar_text import pieces
from hostguard.policy.decide import Policy
from hostguard.policy.explain import explain
from hostguard.policy.judge import MAX_ANSWERS, Asker
from hostguard.policy.paths import path, split
from hostguard.policy.rules import RuleError, Source, actions, base_source, entity_types, parse, schema_text

Make = Callable[..., Policy]

# policy.md, "The vocabulary of effects". `unknown` is no action: nothing can permit it.
EFFECTS = set(
    str.split(
        """
        select insert update delete merge truncate create alter drop grant revoke copy_in copy_out call do set show transaction
        explain prepare execute deallocate declare_cursor fetch close_cursor lock listen notify unlisten vacuum analyze cluster
        reindex refresh comment security_label checkpoint load discard alter_system
        """
    )
)

SCOPES = [
    "principal",
    'principal == Agent::"a"',
    'principal == Agent::"b"',
    'principal in Agent::"a"',
    'principal in Role::"r"',
    'principal in Role::"s"',
    'principal in Role::"none"',
    "principal is Agent",
    "principal is User",
    'principal is Agent in Role::"r"',
    'principal == User::"u"',
    'principal in Group::"g"',
]
ACTIONS = ["action", 'action == Action::"select"', 'action in [Action::"read", Action::"write"]', 'action in Action::"write"']
RESOURCES = ["resource", 'resource in Schema::"x/y/z"', 'resource == Table::"x/y/z/t"', "resource is Table"]
WHEN = [
    "",
    'when { context.flags.contains("no_where") }',
    "when { context has approval }",
    "when { 9223372036854775807 + 1 > 0 }",
]
RULE = st.tuples(*map(st.sampled_from, (["permit", "forbid"], SCOPES, ACTIONS, RESOURCES, WHEN)))
STANDING: list[dict[str, Any]] = [
    {"uid": {"type": kind, "id": name}, "attrs": {}, "parents": [{"type": "Resource", "id": "x"}] if kind == "Database" else []}
    for kind, name in [("Role", "r"), ("Role", "s"), ("Group", "g"), ("Database", "x/y")]
] + [
    {"uid": {"type": "Resource", "id": "x"}, "attrs": {"protocol": "postgres"}, "parents": []},
    {"uid": {"type": "User", "id": "u"}, "attrs": {}, "parents": [{"type": "Group", "id": "g"}]},
    *(
        {
            "uid": {"type": "Agent", "id": name},
            "attrs": {"owner": {"__entity": {"type": "User", "id": "u"}}, "workload": "", "claims": {}},
            "parents": [{"type": "Role", "id": role} for role in roles],
        }
        for name, roles in [("a", ["r"]), ("b", ["r", "s"])]
    ),
]
ASKS = [
    Ask("select", "Table", "x/y/z/t", (("detail", ""),)),
    Ask("delete", "Table", "x/y/z/t", (("detail", ""),)),
    Ask("insert", "Table", "x/y/other/t", (("detail", ""),)),
]


def book(cedar: str) -> Rulebook:
    """The policies of the text that fit the schema; others can't be in force."""
    return Rulebook(parse([Source("t.cedar", cedar)], []), STANDING, {})


@settings(max_examples=60, deadline=None)
@given(st.lists(RULE, max_size=8), st.booleans(), st.booleans())
def test_a_slice_decides_like_the_whole_set(rules: list[tuple[str, ...]], flagged: bool, approved: bool) -> None:
    cedar = "\n".join(f'@id("{n}") {effect} ({", ".join(scope)}) {when};' for n, (effect, *scope, when) in enumerate(rules))
    whole = book(cedar)
    everything = policy_set(whole.rules.values())
    flags = ["no_where"] if flagged else []
    approval = Approval(frozenset("u")) if approved else None
    principals: list[tuple[Uid, list[Uid]]] = [
        (("Agent", "a"), [("Role", "r")]),
        (("Agent", "b"), [("Role", "r"), ("Role", "s")]),
    ]
    for principal, groups in principals:
        part = whole.slice(principal, groups)
        assert whole.answer(part, principal, ASKS, flags, approval) == whole.answer(everything, principal, ASKS, flags, approval)


def test_a_slice_leaves_out_what_can_t_match() -> None:
    whole = book("".join(f'@id("{n}") permit ({scope}, action, resource);' for n, scope in enumerate(SCOPES)))
    kept = {rule.id for rule in whole.concerning(("Agent", "a"), [("Role", "r")])}
    assert kept == {"0", "1", "3", "4", "7", "9"}


def test_every_effect_has_its_action_and_unknown_has_none() -> None:
    assert actions() >= EFFECTS
    assert "unknown" not in actions()
    schema = cedarpy.Schema.from_str(schema_text())
    assert schema is not None
    assert {"Agent", "User", "Table", "Column", "FunctionClass", "Request"} <= entity_types()


def test_the_base_policy_loads_under_ids_of_its_own() -> None:
    errors: list[RuleError] = []
    rules = parse([base_source()], errors)
    assert not errors
    assert all(rule.id.startswith("hostguard: ") for rule in rules)


def test_everything_the_analyser_finds_fits_the_schema(with_rules: Make) -> None:
    """A request that doesn't fit is denied with Cedar's error, not for a policy's sake: none may be among these."""
    policy = with_rules()
    for text in STATEMENTS:
        reason = explain(policy, "support-bot", "shop", text)["reason"]
        assert "can't be evaluated" not in reason, (text, reason)


_STATEMENTS = """
ALTER SCHEMA public RENAME TO p|ALTER TABLE t SET SCHEMA x|ALTER DATABASE shop RENAME TO y|REINDEX SCHEMA public
REINDEX TABLE t|GRANT ALL ON t TO x|GRANT ALL ON ALL TABLES IN SCHEMA public TO x|GRANT EXECUTE ON FUNCTION f() TO x
GRANT a TO b|REVOKE a FROM b|COMMENT ON TABLE t IS 'x'|COMMENT ON SCHEMA s IS 'x'|COMMENT ON FUNCTION f() IS 'x'
COMMENT ON DATABASE shop IS 'x'|CREATE TRIGGER t AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()|LOCK TABLE t
CREATE STATISTICS s ON a, b FROM t|SECURITY LABEL ON TABLE t IS 'x'
CREATE FUNCTION f() RETURNS int AS 'select 1' LANGUAGE sql|ALTER FUNCTION f() OWNER TO x|DROP FUNCTION f
DROP SCHEMA x CASCADE|CREATE ROLE x|VACUUM FULL t|VACUUM|ANALYZE|ANALYZE t|CLUSTER|CLUSTER t|CHECKPOINT|LOAD 'x'
ALTER SYSTEM SET a = 1|CREATE EXTENSION x|ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO x|REASSIGN OWNED BY a TO b
DROP OWNED BY a|FETCH 1 FROM c|MOVE 1 IN c|CLOSE c|NOTIFY x, 'y'|UNLISTEN *|SHOW ALL|CREATE TEMP TABLE t (id int)
REFRESH MATERIALIZED VIEW v|DECLARE c CURSOR FOR SELECT 1|PREPARE p AS SELECT 1|DEALLOCATE p|DISCARD PLANS|SAVEPOINT a
SELECT * FROM t FOR UPDATE|TRUNCATE t|MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE|COPY t FROM STDIN
COPY t TO PROGRAM 'x'|COPY (VALUES (1)) TO STDOUT|CREATE TYPE e AS ENUM ('a')|ALTER TYPE e ADD VALUE 'b'
CREATE DOMAIN d AS int|CREATE SEQUENCE s|CREATE VIEW v AS SELECT 1|CREATE POLICY p ON t
CREATE RULE r AS ON INSERT TO t DO NOTHING|CREATE INDEX ON t (a)|DROP INDEX i|CREATE PUBLICATION p|CALL p()
EXPLAIN SELECT 1|EXPLAIN ANALYZE SELECT * FROM t|SET ROLE x|SELECT lo_get(1)|ALTER OPERATOR + (int, int) OWNER TO x
CREATE SCHEMA s
"""
STATEMENTS = [text for line in _STATEMENTS.strip().splitlines() for text in line.split("|")]


@given(st.lists(st.text(min_size=1), min_size=1, max_size=5))
def test_a_path_gives_back_its_names(names: list[str]) -> None:
    assert split(path(*names)) == tuple(names)


@given(st.lists(st.text(), min_size=1, max_size=3), st.lists(st.text(), min_size=1, max_size=3))
def test_two_paths_are_alike_only_for_the_same_names(one: list[str], two: list[str]) -> None:
    assert (path(*one) == path(*two)) == (one == two)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a;b;", [("a;", 1), ("b;", 1)]),
        ("// a;\n\n b\n;", [("b\n;", 3)]),
        ('a ";" // ;\n ;c', [('a ";" // ;\n ;', 1), ("c", 2)]),
        ('a "\\";" ;', [('a "\\";" ;', 1)]),
        (" \n// only a comment", []),
        ('a "unfinished; b;', [('a "unfinished;', 1), ("b;", 1)]),
        ("a / b;", [("a / b;", 1)]),
    ],
)
def test_policies_are_cut_where_cedar_ends_them(text: str, expected: list[tuple[str, int]]) -> None:
    assert [(piece.text, piece.line) for piece in pieces(text)] == expected


@given(st.text(alphabet='ab;"\\/\n '))
def test_cutting_loses_nothing_but_space_and_comments(text: str) -> None:
    """Whatever the cut, the pieces stand in the text in order."""
    position = 0
    for piece in pieces(text):
        position = text.index(piece.text, position) + len(piece.text)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(RULE, max_size=8),
    st.lists(
        st.tuples(st.lists(st.sampled_from(ASKS)), st.sampled_from([(), ("no_where",), ("no_where", "ddl")]), st.booleans()),
        max_size=6,
    ),
)
def test_an_answer_that_was_kept_is_the_one_that_would_be_given(
    rules: list[tuple[str, ...]], asked: list[tuple[list[Ask], tuple[str, ...], bool]]
) -> None:
    cedar = "\n".join(f'@id("{n}") {effect} ({", ".join(scope)}) {when};' for n, (effect, *scope, when) in enumerate(rules))
    asker = Asker(book(cedar), "b", ["r", "s"])
    for asks, flags, approved in asked:
        approval = Approval(frozenset("u")) if approved else None
        fresh = Asker(book(cedar), "b", ["r", "s"])
        assert asker.ask(asks, flags, approval) == [fresh.ask([ask], flags, approval)[0] for ask in asks]


def test_answers_are_not_kept_without_end() -> None:
    asker = Asker(book('@id("1") permit (principal, action, resource == Table::"x/y/z/7");'), "a", ["r"])
    asks = [Ask("select", "Table", f"x/y/z/{n}", (("detail", ""),)) for n in range(MAX_ANSWERS + 20)]
    for start in range(0, len(asks), 500):
        answers = asker.ask(asks[start : start + 500], ())
        assert [answer.allowed for answer in answers] == [start + n == 7 for n in range(len(answers))]
    assert asker.kept <= MAX_ANSWERS
