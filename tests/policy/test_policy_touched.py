"""Which rows a statement would touch, asked by its own words; against what a real server makes of both."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers import Server

from hostguard.policy.sql.touched import question


@pytest.mark.parametrize(
    ("text", "rows", "parameters"),
    [
        ("DELETE FROM t", "FROM t", ()),
        ("delete from only a.t as x where x.n = 1 returning n;", "FROM only a.t as x\nwhere x.n = 1", ()),
        ("DELETE FROM t WHERE n = $2 AND (n) = $2 OR s = $1", "FROM t\nWHERE n = $1 AND (n) = $1 OR s = $2", (2, 1)),
        ("UPDATE t SET s = (SELECT 'x' WHERE true), n = $1 WHERE n = $2", "FROM t\nWHERE n = $1", (2,)),
        (
            "UPDATE t -- where\n SET s = 'where' /* where */ WHERE s = 'é' -- the end",
            "FROM t -- where\nWHERE s = 'é' -- the end",
            (),
        ),
        ("UPDATE t SET s[(1)] = 'x' WHERE n = ANY(ARRAY[1, 2])", "FROM t\nWHERE n = ANY(ARRAY[1, 2])", ()),
    ],
)
def test_what_is_plain_is_asked_in_its_own_words(text: str, rows: str, parameters: tuple[int, ...]) -> None:
    found = question(text)
    assert found is not None
    assert (found.rows, found.parameters) == (rows, parameters)
    assert question(found.count) is None, "no question about a question"


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1",
        "INSERT INTO t VALUES (1)",
        "TRUNCATE t",
        "DELETE FROM t; DELETE FROM t",
        "DELETE FROM t USING u WHERE t.n = u.n",
        "UPDATE t SET s = '' FROM u WHERE t.n = u.n",
        "WITH x AS (DELETE FROM t RETURNING *) DELETE FROM t",
        "DELETE FROM t WHERE n = (SELECT 1)",
        "DELETE FROM t WHERE EXISTS (SELECT 1)",
        "DELETE FROM t WHERE f(n)",
        "DELETE FROM t WHERE n = nextval('s')",
        "DELETE FROM t WHERE s SIMILAR TO 'x'",
        "DELETE FROM t WHERE n OPERATOR(mine.=) 1",
        "DELETE FROM t WHERE CURRENT OF c",
        "UPDATE t SET n = $1 WHERE n = $1",
        "DELETE FROM",
        "",
    ],
)
def test_what_is_not_plain_is_not_asked(text: str) -> None:
    assert question(text) is None


def test_a_parameter_that_has_a_type_may_stand_twice() -> None:
    assert question("UPDATE t SET n = $1 WHERE n = $1", (23,)) is not None


PIECES = st.sampled_from(
    ["n = 1", "s = 'x'", "n IN (1, 2)", "NOT n > 3", "s LIKE '%y'", "n IS NULL", "/* where */ true", "n BETWEEN 0 AND 9 -- x\n"]
)


@given(st.lists(PIECES, min_size=1, max_size=4), st.sampled_from([" AND ", " OR ", "\nAND/**/"]), st.sampled_from(["", "t."]))
def test_as_many_are_counted_as_are_deleted(postgres18: Server, pieces: list[str], join: str, prefix: str) -> None:
    condition = join.join(f"({piece})" for piece in pieces).replace("(n", f"({prefix}n").replace("(s", f"({prefix}s")
    text = f"DELETE FROM t WHERE {condition}"
    found = question(text)
    assert found is not None
    with postgres18.connect("postgres") as connection:
        connection.execute(
            "CREATE TEMP TABLE t AS SELECT n, CASE WHEN n % 2 = 0 THEN 'x' ELSE 'xy' END AS s FROM generate_series(-2, 12) n"
        )
        row = connection.execute(found.count.encode()).fetchone()
        assert row is not None
        assert row[0] == connection.execute(text.encode()).rowcount
