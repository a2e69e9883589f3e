"""Where the values of columns go in a statement, when the catalog lists the columns of relations."""

from __future__ import annotations

import inspect

import pglast.ast
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sql_corpus import cases

from hostguard.policy.lineage.follow import Flow, follow
from hostguard.policy.lineage.table import ASIDE, RULES
from hostguard.policy.lineage.uses import MAX_STEPS
from hostguard.policy.lineage.value import Value
from hostguard.policy.lineage.world import World
from hostguard.policy.sql.catalog import Catalog
from hostguard.policy.sql.found import Tree
from hostguard.policy.sql.parse import Unreadable, parse

T, U, S = ("20001", "20002", "20003")
CATALOG = Catalog.from_rows(
    [
        ("relation", T, "public", "t", "r"),
        *(("column", T, str(n), name, "") for n, name in enumerate(("id", "a", "secret", "doc"), 1)),
        ("relation", U, "public", "u", "r"),
        *(("column", U, str(n), name, "") for n, name in enumerate(("id", "b"), 1)),
        ("relation", S, "s", "t", "r"),
        *(("column", S, str(n), name, "") for n, name in enumerate(("id", "other"), 1)),
    ]
)
WORLD = World(lambda name: [(name.schema or "public", name.name)], CATALOG)


def flow(text: str) -> Flow:
    return follow([statement.tree for statement in parse(text)], WORLD.relation)


def spelled(value: Value) -> str:
    columns = " ".join(
        sorted(f"{table if schema == 'public' else schema + '.' + table}.{name}" for schema, table, name in value.columns)
    )
    return ("" if value.plain or not columns else "~") + columns + ("" if value.sure else " ?")


def outputs(text: str) -> list[str] | None:
    found = flow(text).outputs
    return None if found is None else [f"{name}: {spelled(value)}".rstrip(": ") for name, value in found]


KNOWN = [
    ("SELECT secret FROM t", ["secret: t.secret"]),
    ("SELECT * FROM t", ["id: t.id", "a: t.a", "secret: t.secret", "doc: t.doc"]),
    ("SELECT x.*, 1 AS n FROM u x", ["id: u.id", "b: u.b", "n"]),
    ("SELECT * FROM u, s.t", ["id: u.id", "b: u.b", "id: s.t.id", "other: s.t.other"]),
    ("SELECT * FROM t JOIN u USING (id)", ["id: ~t.id u.id", "a: t.a", "secret: t.secret", "doc: t.doc", "b: u.b"]),
    ("SELECT * FROM u NATURAL JOIN s.t", ["id: ~s.t.id u.id", "b: u.b", "other: s.t.other"]),
    ("SELECT j.b FROM (u JOIN s.t USING (id)) AS j", ["b: u.b"]),
    ("SELECT j.x, j.y FROM (u CROSS JOIN s.t) AS j (x, y)", ["x: u.id", "y: u.b"]),
    ("SELECT y.id, b FROM u JOIN s.t USING (id) AS y", ["id: ~s.t.id u.id", "b: u.b"]),
    ("SELECT b FROM t, u", ["b: u.b"]),
    ("SELECT public.t.a, t.secret FROM t", ["a: t.a", "secret: t.secret"]),
    ("SELECT upper(a), a || secret FROM t", ["upper: ~t.a", "?column?: ~t.a t.secret"]),
    ("SELECT x FROM (SELECT secret AS x, a FROM t) s", ["x: t.secret"]),
    ("SELECT q FROM (TABLE u) AS s (p, q)", ["q: u.b"]),
    ("WITH c AS (SELECT secret AS z FROM t) SELECT z, 1 FROM c", ["z: t.secret", "?column?"]),
    ("WITH t AS (SELECT 1 AS secret) SELECT secret FROM t", ["secret"]),
    ("WITH t AS (SELECT 1 AS secret) SELECT secret FROM public.t", ["secret: t.secret"]),
    ("WITH c AS (SELECT 1 AS x), d AS (SELECT x FROM c) SELECT x FROM d", ["x"]),
    (
        "WITH RECURSIVE r (p, q) AS (SELECT id, secret FROM t UNION ALL SELECT q, p FROM r) SELECT * FROM r",
        ["p: ~t.id t.secret", "q: ~t.id t.secret"],
    ),
    ("WITH RECURSIVE r AS (SELECT id, b FROM u UNION ALL SELECT * FROM r) SELECT b FROM r", ["b: ~u.b"]),
    ("WITH d AS (DELETE FROM t RETURNING secret, id) SELECT id FROM d", ["id: t.id"]),
    ("SELECT a FROM t UNION ALL SELECT b FROM u", ["a: ~t.a u.b"]),
    ("SELECT 1, b FROM u UNION ALL SELECT id, 'x' FROM u ORDER BY 1", ["?column?: ~u.id", "b: ~u.b"]),
    ("VALUES (1, 'x'), (2, 'y')", ["column1", "column2"]),
    ("SELECT v FROM t, LATERAL (VALUES (secret)) AS l (v)", ["v: t.secret"]),
    ("SELECT (SELECT y FROM u, (SELECT a AS y) AS s) FROM t", ["y: ~t.a"]),
    # Without LATERAL a subquery does not see what stands beside it: the name is the outer query's.
    ("SELECT (SELECT y FROM (SELECT 1 AS secret) AS i, (SELECT secret AS y) AS s) FROM t", ["y: ~t.secret"]),
    ("SELECT (SELECT y FROM (SELECT 1 AS secret) AS i, LATERAL (SELECT secret AS y) AS s) FROM t", ["y"]),
    ("SELECT (SELECT max(b) FROM u WHERE u.id = t.id) FROM t", ["max: ~t.id u.b u.id"]),
    ("SELECT EXISTS (SELECT secret FROM t)", ["exists"]),
    ("SELECT EXISTS (SELECT 1 FROM t WHERE secret = 'x')", ["exists: ~t.secret"]),
    ("SELECT t FROM t", ["t: ~t.a t.doc t.id t.secret"]),
    ("SELECT row_to_json(t), (t).a FROM t", ["row_to_json: ~t.a t.doc t.id t.secret", "a: ~t.a t.doc t.id t.secret"]),
    ("SELECT t.row_to_json FROM t", ["row_to_json: ~t.a t.doc t.id t.secret ?"]),
    ("SELECT count(*), count(secret), count(t) FROM t", ["count", "count", "count"]),
    ("SELECT count(*) OVER (PARTITION BY a) FROM t", ["count: ~t.a"]),
    ("SELECT sum(id) OVER w FROM t WINDOW w AS (ORDER BY a)", ["sum: ~t.a t.id"]),
    ("SELECT string_agg(a, ',' ORDER BY secret) FILTER (WHERE id > 1) FROM t", ["string_agg: ~t.a t.id t.secret"]),
    ("SELECT a, grouping(a) FROM t GROUP BY ROLLUP (a)", ["a: t.a", "grouping"]),
    (
        "SELECT CASE WHEN id = 1 THEN a END, coalesce(a, 'x'), a IS NULL FROM t",
        ["case: ~t.a t.id", "coalesce: ~t.a", "?column?: ~t.a"],
    ),
    ("SELECT ARRAY[a, 'x'], (ARRAY[secret])[id] FROM t", ["array: ~t.a", "array: ~t.id t.secret"]),
    ('SELECT ROW(a, id), a::int, a COLLATE "C" FROM t', ["row: ~t.a t.id", "a: ~t.a", "a: ~t.a"]),
    (
        "SELECT greatest(id, 1), xmlelement(name x, a), xmlserialize(content doc AS text) FROM t",
        ["greatest: ~t.id", "xmlelement: ~t.a", "xmlserialize: ~t.doc"],
    ),
    (
        "SELECT JSON_OBJECT('k': a), JSON_ARRAY(id), JSON_VALUE(doc, '$.x') FROM t",
        ["json_object: ~t.a", "json_array: ~t.id", "json_value: ~t.doc"],
    ),
    ("SELECT JSON_ARRAY(SELECT b FROM u)", ["json_array: ~u.b"]),
    (
        "SELECT JSON_OBJECTAGG(a: id), JSON_ARRAYAGG(a ORDER BY secret) FROM t",
        ["json_objectagg: ~t.a t.id", "json_arrayagg: ~t.a t.secret"],
    ),
    ("SELECT j.x FROM t, JSON_TABLE(doc, '$' COLUMNS (x int)) j", ["x: ~t.doc"]),
    ("SELECT j.x FROM t, XMLTABLE('/r' PASSING doc COLUMNS x int) j", ["x: ~t.doc"]),
    ("SELECT g FROM generate_series(1, 3) g", ["g"]),
    ("SELECT e.value, e FROM t, jsonb_each(doc) e", ["value: ~t.doc", "e: ~t.doc"]),
    ("SELECT f.a, b FROM u, f(b) AS f (a int)", ["a: ~u.b ?", "b: u.b"]),
    ("SELECT x FROM ROWS FROM (unnest(ARRAY[1]), generate_series(1, 2)) AS r (x, y)", ["x"]),
    ("SELECT tableoid, ctid, t.xmin FROM t", ["tableoid", "ctid", "xmin"]),
    ("SELECT relname, secret FROM pg_class, t", ["relname", "secret: t.secret"]),
    ("SELECT relname FROM t, pg_class", ["relname"]),
    ("SELECT x FROM unknown", ["x:  ?"]),
    ("SELECT nowhere.x FROM u", ["x: ~u.b u.id ?"]),
    ("SELECT evil.upper(b) FROM u", ["upper: ~u.b ?"]),
    ("SELECT b OPERATOR(evil.||) 'x' FROM u", ["?column?: ~u.b ?"]),
    ("SELECT b FROM u TABLESAMPLE system (10)", ["b: u.b"]),
    ("SELECT b FROM ONLY u FOR UPDATE", ["b: u.b"]),
    ("INSERT INTO u VALUES (1) RETURNING id, b || 'x'", ["id: u.id", "?column?: ~u.b"]),
    (
        "UPDATE t SET a = 'x' FROM u WHERE u.id = t.id RETURNING old.secret, b, t.*",
        ["secret: t.secret", "b: u.b", "id: t.id", "a: t.a", "secret: t.secret", "doc: t.doc"],
    ),
    (
        "DELETE FROM t USING u RETURNING WITH (OLD AS o) o.a, *",
        ["a: t.a", "id: t.id", "a: t.a", "secret: t.secret", "doc: t.doc", "id: u.id", "b: u.b"],
    ),
    (
        "MERGE INTO t USING u ON t.id = u.id WHEN MATCHED THEN DELETE RETURNING merge_action(), u.b, t.a",
        ["merge_action", "b: u.b", "a: t.a"],
    ),
    ("DECLARE c CURSOR FOR SELECT secret FROM t", ["secret: t.secret"]),
    ("PREPARE p AS SELECT secret FROM t WHERE id = $1", ["secret: t.secret"]),
    ("COPY (SELECT a FROM t) TO STDOUT", ["a: t.a"]),
    ("COPY t (id, secret) TO STDOUT", ["id: t.id", "secret: t.secret"]),
    ("EXPLAIN ANALYZE SELECT secret FROM t", ["QUERY PLAN"]),
    ("BEGIN; SELECT a FROM t; COMMIT", ["a: t.a"]),
    ("SELECT a FROM t; SELECT b FROM u", None),
    ("SELECT * FROM f()", None),
    ("FETCH c", None),
    ("SELECT secret INTO x FROM t", None),
]


@pytest.mark.parametrize(("text", "expected"), KNOWN, ids=[text for text, _ in KNOWN])
def test_outputs_depend_on_these_columns(text: str, expected: list[str] | None) -> None:
    found = outputs(text)
    assert found == expected


WRITTEN = [
    ("INSERT INTO u SELECT id, secret FROM t", "~t.id t.secret"),
    ("INSERT INTO u VALUES (1, (SELECT a FROM t))", "~t.a"),
    ("INSERT INTO u SELECT id, a FROM t ON CONFLICT (id) DO UPDATE SET b = excluded.b || u.b", "~t.a t.id u.b"),
    ("UPDATE u SET b = secret FROM t", "~t.secret"),
    ("UPDATE u SET (id, b) = (SELECT id, a FROM t)", "~t.a t.id"),
    ("UPDATE u SET b = b || 'x'", "~u.b"),
    (
        "MERGE INTO u USING t ON u.id = t.id WHEN MATCHED THEN UPDATE SET b = a WHEN NOT MATCHED THEN INSERT VALUES (1, secret)",
        "~t.a t.secret",
    ),
    ("CREATE TABLE n AS SELECT a FROM t", "~t.a"),
    ("CREATE VIEW n AS TABLE u", "~u.b u.id"),
    ("SELECT a INTO n FROM t", "~t.a"),
    ("WITH w AS (INSERT INTO u SELECT id, secret FROM t RETURNING id) SELECT * FROM w", "~t.id t.secret"),
    ("DELETE FROM t", ""),
]


@pytest.mark.parametrize(("text", "expected"), WRITTEN, ids=[text for text, _ in WRITTEN])
def test_what_is_written_comes_from_these_columns(text: str, expected: str) -> None:
    assert spelled(flow(text).assigned) == expected


def test_every_node_type_of_the_grammar_has_a_rule() -> None:
    kinds = {name for name, kind in vars(pglast.ast).items() if inspect.isclass(kind) and issubclass(kind, pglast.ast.Node)}
    kinds.discard("Node")
    assert kinds - RULES.keys() == set()
    assert RULES.keys() - kinds == {"List"}


def test_a_node_type_without_a_rule_is_unsure() -> None:
    tree: Tree = {"SelectStmt": {"targetList": [{"ResTarget": {"val": {"NewNode": {"arg": {"A_Const": {}}}}}}]}}
    found = follow([tree], WORLD.relation)
    assert not found.answer.sure
    assert RULES["Aggref"].role == ASIDE


def test_nothing_of_the_corpus_raises() -> None:
    followed = 0
    for case in cases():
        try:
            trees = [statement.tree for statement in parse(case.text)]
        except Unreadable:
            continue
        followed += isinstance(follow(trees, WORLD.relation), Flow)
    assert followed > 500


def test_what_would_take_too_long_is_lost() -> None:
    nested = "SELECT 1 AS x"
    for level in range(40):
        nested = f"WITH RECURSIVE r{level} AS ({nested} UNION ALL SELECT x FROM r{level}) SELECT x FROM r{level}"
    assert flow(nested).lost
    many = "SELECT " + ", ".join(["x"] * 2000) + " FROM " + ", ".join(f"u u{n}" for n in range(MAX_STEPS // 1000))
    assert flow(many).lost


# -- never less tainted by wrapping -----------------------------------------------------------------------------------

EXPRESSIONS = st.recursive(
    st.sampled_from(["secret", "a", "t.id", "1", "'x'", "$1", "t", "(SELECT b FROM u LIMIT 1)", "doc", "count(secret)"]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]} || {pair[1]})"),
        inner.map(lambda one: f"lower({one})"),
        inner.map(lambda one: f"coalesce({one}, 'n')"),
        st.tuples(inner, inner).map(lambda pair: f"CASE WHEN {pair[0]} IS NULL THEN {pair[1]} END"),
        inner.map(lambda one: f"(SELECT {one})"),
        inner.map(lambda one: f"ARRAY[{one}]"),
        inner.map(lambda one: f"max({one}) OVER (ORDER BY id)"),
        inner.map(lambda one: f"{one}::text"),
        inner.map(lambda one: f"row({one})"),
        inner.map(lambda one: f"EXISTS (SELECT 1 FROM u WHERE b = {one})"),
    ),
    max_leaves=6,
)
TABLES = st.sampled_from(["t", "t JOIN u USING (id)", "t LEFT JOIN LATERAL (SELECT t.secret AS k) AS l ON true", "u, t"])
WRAPS = st.sampled_from(
    [
        "SELECT * FROM ({}) AS w",
        "WITH w AS ({}) SELECT * FROM w",
        "WITH RECURSIVE w AS ({}) TABLE w",
        "SELECT w.* FROM ({}) AS w WHERE true",
        "SELECT p, q FROM ({}) AS w (p, q)",
        "{} UNION ALL SELECT NULL, NULL",
        "SELECT w.* FROM u AS o, LATERAL ({}) AS w",
        "SELECT w.* FROM (SELECT 1 AS one) AS o CROSS JOIN ({}) AS w",
    ]
)


def tainted(value: Value) -> set[object]:
    return {*value.columns} | ({"?"} if not value.sure else set())


@settings(max_examples=150, deadline=None)
@given(EXPRESSIONS, EXPRESSIONS, TABLES, st.lists(WRAPS, min_size=1, max_size=3))
def test_wrapping_a_query_never_cleans_it(first: str, second: str, table: str, wraps: list[str]) -> None:
    text = f"SELECT {first} AS x, {second} AS y FROM {table}"
    before = flow(text)
    for wrap in wraps:
        text = wrap.format(text)
    after = flow(text)
    assert before.outputs is not None
    assert after.outputs is not None
    wanted = [value for _, value in before.outputs]
    got = [value for _, value in after.outputs][-2:]
    for one, other in zip(wanted, got, strict=True):
        assert tainted(one) <= tainted(other), text
        assert other.plain <= one.plain, text
    assert before.matched.keys() <= after.matched.keys()
