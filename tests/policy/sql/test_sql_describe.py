"""The line that an approver reads."""

from __future__ import annotations

import pytest
from sql_corpus import cases

from hostguard.policy.sql.describe import ORDER, PHRASES, describe
from hostguard.policy.sql.effects import analyse


def test_every_effect_has_a_phrase_and_a_place() -> None:
    effects = {effect for case in cases() for effect in case.effects}
    assert effects == set(PHRASES) == set(ORDER)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("SELECT 1", "computes values without reading a table"),
        ("", "does nothing"),
        ("SELECT * FROM a, b.c", "reads a and b.c"),
        ("SELECT * FROM a, b, c, d, e, f", "reads a, b, c, d and 2 more"),
        (
            "DELETE FROM public.orders WHERE id = 1 RETURNING *",
            "deletes the rows of public.orders that match its conditions; returns the changed rows",
        ),
        ("DELETE FROM t", "deletes every row of t (no WHERE clause)"),
        ("UPDATE t SET x = 1 WHERE 1 = 1", "changes every row of t (its WHERE clause is always true)"),
        ("INSERT INTO t SELECT * FROM u", "inserts rows into t; reads u"),
        ("DROP TABLE t CASCADE", "drops t; takes everything that depends on it along"),
        ("COPY t TO PROGRAM 'x'", "copies out rows of t; runs a program on the server"),
        ("CREATE INDEX ON t (x)", "creates index on t"),
        ("CREATE VIEW v AS SELECT * FROM t", "creates view v; reads t; keeps statements that run later"),
        ("DROP TRIGGER x ON t", "drops trigger x on t"),
        ("SET search_path = x", "changes the setting search_path"),
        ("SELECT * FROM t FOR UPDATE", "reads t; locks the rows it reads"),
        ("SELECT f(1)", "computes values without reading a table; calls the function f, whose body is not in the text"),
        ("BEGIN; TRUNCATE t", "2 statements: empties t; controls the transaction: begin"),
        ("SELEC", 'does something that can\'t be told (syntax error at or near "selec")'),
        ('SELECT 1 AS "deletes nothing" /* only reads */ FROM t; DROP TABLE u', "2 statements: drops u; reads t"),
    ],
)
def test_lines(text: str, line: str) -> None:
    assert describe(analyse(text)).lower() == line.lower()


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.place)
def test_every_statement_has_a_line(case: object) -> None:
    line = describe(analyse(case.text))  # type: ignore[attr-defined]
    assert line
    assert "\n" not in line
