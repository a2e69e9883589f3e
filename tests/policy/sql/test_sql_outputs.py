"""The columns a statement returns, with what each depends on."""

from __future__ import annotations

import pytest

from hostguard.policy.sql.analysis import Output
from hostguard.policy.sql.effects import analyse


def spelled(output: Output) -> str:
    marks = [
        mark
        for mark, on in (("computed", output.computed), ("uncertain", not output.certain), ("harmless", output.harmless))
        if on
    ]
    return f"{output.name}: {' '.join(output.sources)} {' '.join(marks)}".rstrip().replace(":  ", ": ")


KNOWN = [
    ("SELECT email FROM customers", ["email: customers.email"]),
    ("SELECT c.email AS e FROM public.customers c", ["e: public.customers.email"]),
    ("SELECT public.customers.email FROM public.customers", ["email: public.customers.email"]),
    (
        "SELECT upper(email), email || 'x' FROM customers",
        ["upper: customers.email computed", "?column?: customers.email computed"],
    ),
    (
        "SELECT 1, 'x', NULL, $1, now(), 1 + 2 * $2",
        ["?column?: computed harmless"] * 4 + ["now: computed harmless", "?column?: computed harmless"],
    ),
    (
        "SELECT count(*), count(email), count(DISTINCT email) + 1 FROM customers",
        ["count: computed harmless", "count: customers.email computed harmless", "?column?: customers.email computed harmless"],
    ),
    ("SELECT max(email), min(1) FROM customers", ["max: customers.email computed", "min: computed harmless"]),
    ("SELECT evil.count(email) FROM customers", ["count: customers.email computed uncertain"]),
    ("SELECT a.x, y FROM a JOIN b USING (id)", ["x: a.x", "y: a.y b.y"]),
    ("SELECT e FROM (SELECT email AS e FROM customers) x", ["e: customers.email"]),
    ("SELECT x.b FROM (SELECT email, id FROM customers) AS x (a, b)", ["b: customers.id"]),
    ("SELECT * FROM (SELECT email e, 1 n FROM customers) x", ["e: customers.email", "n: computed harmless"]),
    ("SELECT email FROM (SELECT * FROM customers) x", ["email: customers.email"]),
    ("WITH x AS (SELECT email AS e FROM customers) SELECT e FROM x", ["e: customers.email"]),
    ("WITH x (q) AS (SELECT email FROM customers) SELECT q FROM x y", ["q: customers.email"]),
    ("WITH customers AS (SELECT 1 AS email) SELECT email FROM customers", ["email: computed harmless"]),
    ("WITH customers AS (SELECT 1 AS email) SELECT email FROM public.customers", ["email: public.customers.email"]),
    ("WITH d AS (DELETE FROM customers RETURNING email) SELECT email FROM d", ["email: customers.email"]),
    ("WITH RECURSIVE r (a, b) AS (SELECT id, email FROM t UNION SELECT b, a FROM r) SELECT a FROM r", ["a: t.email t.id"]),
    ("SELECT id FROM a UNION SELECT email FROM b", ["id: a.id b.email"]),
    ("SELECT 1 UNION SELECT 2", ["?column?: computed harmless"]),
    ("SELECT 1 UNION SELECT email FROM b", ["?column?: b.email computed"]),
    ("VALUES (1, 'x'), (2, 'y')", ["column1: computed harmless", "column2: computed harmless"]),
    ("SELECT c FROM customers c", ["c: customers.* customers.c computed"]),
    (
        "SELECT row_to_json(c), c.* IS NULL FROM customers c",
        ["row_to_json: customers.* customers.c computed", "?column?: customers.* computed"],
    ),
    ("SELECT (SELECT max(x) FROM s WHERE s.id = t.id) FROM t", ["max: s.x t.x computed"]),
    ("SELECT EXISTS (SELECT 1 FROM s WHERE s.secret = 'x')", ["exists: s.* s.secret computed"]),
    ("SELECT 'a' IN (SELECT secret FROM s)", ["?column?: s.* s.secret computed"]),
    ("SELECT CASE WHEN secret = 'a' THEN 1 END FROM s", ["case: s.secret computed"]),
    (
        "SELECT coalesce(email, 'none'), email::text, email IS NULL FROM s",
        ["coalesce: s.email computed", "email: s.email computed", "?column?: s.email computed"],
    ),
    ("SELECT e.value FROM customers c, jsonb_each(c.doc) e", ["value: customers.doc computed"]),
    ("SELECT g FROM generate_series(1, 3) g", ["g: computed harmless"]),
    ("SELECT x FROM my_function(1) x", ["x: computed uncertain"]),
    (
        "SELECT pg_read_file('x'), lo_get(1), current_setting('x')",
        ["pg_read_file: computed uncertain", "lo_get: computed uncertain", "current_setting: computed"],
    ),
    ("SELECT a <=> b FROM t", ["?column?: t.a t.b computed uncertain"]),
    ("SELECT b FROM t AS x (a, b)", ["b: t.*"]),
    ("SELECT sum(x) OVER (PARTITION BY email) FROM t", ["sum: t.email t.x computed"]),
    ("SELECT no_such.x FROM t", ["x: computed uncertain"]),
    ("DELETE FROM t RETURNING id, upper(email)", ["id: t.id", "upper: t.email computed"]),
    ("UPDATE t SET x = 1 FROM u WHERE true RETURNING old.email, u.y, z", ["email: t.email", "y: u.y", "z: t.z u.z"]),
    ("INSERT INTO t AS a VALUES (1) RETURNING a.id, 1", ["id: t.id", "?column?: computed harmless"]),
    (
        "MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE RETURNING merge_action(), s.x",
        ["merge_action: computed harmless", "x: s.x"],
    ),
    ("COPY (SELECT email FROM t) TO STDOUT", ["email: t.email"]),
    ("COPY t (id, email) TO STDOUT", ["id: t.id", "email: t.email"]),
    ("DECLARE c CURSOR FOR SELECT email FROM t", ["email: t.email"]),
    ("EXPLAIN SELECT email FROM t", ["QUERY PLAN: computed harmless"]),
    ("SHOW search_path", ["search_path: computed harmless"]),
    ("BEGIN; SELECT email FROM t; COMMIT", ["email: t.email"]),
]


@pytest.mark.parametrize(("text", "expected"), KNOWN, ids=[text for text, _ in KNOWN])
def test_outputs(text: str, expected: list[str]) -> None:
    analysis = analyse(text)
    assert analysis.outputs is not None
    assert [spelled(output) for output in analysis.outputs] == expected
    assert analysis.shown == ()


STARRED = [
    ("SELECT * FROM t", ["*: t.*"]),
    ("SELECT id, t.*, u.* FROM t, s.u", ["id: s.u.id t.id", "*: t.*", "*: s.u.*"]),
    ("SELECT * FROM a JOIN b USING (id)", ["*: a.* b.*"]),
    ("SELECT * FROM (SELECT 1 AS id) a NATURAL JOIN (SELECT 1 AS id, 2 AS x) b", ["*: uncertainty"]),
    ("DELETE FROM t RETURNING *", ["*: t.*"]),
    ("SELECT (c).* FROM c", ["*: c.* c.c computed"]),
    ("SELECT * FROM my_function()", ["*: computed uncertain"]),
    ("COPY t TO STDOUT", ["*: t.*"]),
    ("SELECT * FROM a UNION SELECT * FROM b", ["*: a.* b.*"]),
]


@pytest.mark.parametrize(("text", "expected"), STARRED, ids=[text for text, _ in STARRED])
def test_with_a_star_positions_are_not_told(text: str, expected: list[str]) -> None:
    analysis = analyse(text)
    assert analysis.outputs is None
    if expected != ["*: uncertainty"]:
        assert [spelled(output) for output in analysis.shown] == expected


@pytest.mark.parametrize(
    "text", ["FETCH ALL FROM c", "EXECUTE p", "SELECT 1; SELECT 2", "DELETE FROM t", "SELECT 1 INTO x", "COMMIT", "SELEC"]
)
def test_no_outputs(text: str) -> None:
    analysis = analyse(text)
    assert (analysis.outputs, analysis.shown) == (None, ())


@pytest.mark.parametrize(
    "expression",
    [
        "email",
        "lower(email)",
        "(SELECT email)",
        "ARRAY[email]",
        "row(email)",
        "count(*) + length(email)",
        "$1 || email",
        "max(email)",
        "nullif(email, '')",
        "email IS NULL",
        "email = 'x'",
        "CASE email WHEN 'x' THEN 1 END",
        "xmlelement(name a, email)",
        "c",
        "c.*::text",
        "JSON_OBJECT('a': email)",
        'email COLLATE "C"',
        "(ARRAY[email])[1]",
        "EXISTS (SELECT 1 FROM t WHERE email = 'x')",
        "f(1)",
    ],
)
def test_nothing_made_from_a_column_is_harmless(expression: str) -> None:
    (output,) = analyse(f"SELECT {expression} FROM customers c").outputs or ()
    assert not output.harmless
    assert output.sources or not output.certain
