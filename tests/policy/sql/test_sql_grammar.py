"""Nothing of PostgreSQL's grammar is passed over, no text makes the analyser fail."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pglast.ast
import pglast.parser
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sql_corpus import cases

from hostguard.policy.sql.effects import analyse
from hostguard.policy.sql.parse import MAX_TEXT
from hostguard.policy.sql.visit import HANDLERS

NEVER_WRAPPED = {
    "Alias",
    "CTECycleClause",
    "CTESearchClause",
    "CommonTableExpr",
    "InferClause",
    "IntoClause",
    "JsonBehavior",
    "JsonFormat",
    "JsonReturning",
    "MergeWhenClause",
    "OnConflictClause",
    "PublicationObjSpec",
    "PublicationTable",
    "VacuumRelation",
    "WithClause",
}
"""Types that the raw grammar makes only in fields whose handler takes them apart."""

NOT_RAW = {
    "Aggref",
    "AlternativeSubPlan",
    "ArrayCoerceExpr",
    "ArrayExpr",
    "CallContext",
    "CaseTestExpr",
    "CoerceToDomain",
    "CoerceToDomainValue",
    "CoerceViaIO",
    "CollateExpr",
    "ConvertRowtypeExpr",
    "Expr",
    "FieldSelect",
    "FieldStore",
    "FromExpr",
    "FuncExpr",
    "InferenceElem",
    "InlineCodeBlock",
    "JsonConstructorExpr",
    "JsonExpr",
    "MergeAction",
    "Node",
    "OnConflictExpr",
    "OpExpr",
    "Param",
    "Query",
    "RTEPermissionInfo",
    "RangeTblEntry",
    "RangeTblFunction",
    "RangeTblRef",
    "RawStmt",
    "RelabelType",
    "ReturningExpr",
    "RowCompareExpr",
    "RowMarkClause",
    "ScalarArrayOpExpr",
    "SetOperationStmt",
    "SortGroupClause",
    "SubPlan",
    "SubscriptingRef",
    "TableFunc",
    "TableSampleClause",
    "TargetEntry",
    "ValUnion",
    "Var",
    "WindowClause",
    "WindowFunc",
    "WindowFuncRunCondition",
    "WithCheckOption",
}
"""Types of analysed trees, which the raw grammar never makes."""

UNKNOWN_ON_PURPOSE = {"PLAssignStmt"}
"""Parsed only inside PL/pgSQL."""


def node_types() -> set[str]:
    found = vars(pglast.ast).items()
    return {name for name, kind in found if isinstance(kind, type) and issubclass(kind, pglast.ast.Node)}


def test_every_node_type_has_a_handler_or_a_reason() -> None:
    reasons = NEVER_WRAPPED | NOT_RAW | UNKNOWN_ON_PURPOSE
    assert node_types() - set(HANDLERS) == reasons
    assert set(HANDLERS) - node_types() == {"List"}


def test_a_node_type_without_handler_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(HANDLERS, "CoalesceExpr")
    analysis = analyse("SELECT 1 FROM t WHERE coalesce(x, y)")
    assert "unknown" in analysis.effects
    assert "CoalesceExpr" in analysis.unknown


def relations(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for kind, value in node.items():
            if kind == "RangeVar" or (isinstance(value, dict) and "relname" in value):
                yield (value if "relname" in value else node).get("relname", "")
            if kind not in ("LockingClause", "CompositeTypeStmt", "ConstraintsSetStmt", "typevar"):
                yield from relations(value)
    elif isinstance(node, list):
        for item in node:
            yield from relations(item)


def named(node: Any, kind: str, field: str) -> Iterator[str]:
    if isinstance(node, dict):
        if kind in node:
            yield node[kind][field]
        for value in node.values():
            yield from named(value, kind, field)
    elif isinstance(node, list):
        for item in node:
            yield from named(item, kind, field)


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.place)
def test_no_relation_of_the_tree_is_lost(case: Any) -> None:
    """A second, cruder walk over the whole tree finds no relation that the analysis does not ask about."""
    analysis = analyse(case.text)
    if "unknown" in analysis.effects:
        return
    tree = json.loads(pglast.parser.parse_sql_json(case.text))
    asked = {access.name.name for access in analysis.accesses if access.name is not None}
    details = " ".join(access.detail for access in analysis.accesses)
    lost = set(relations(tree)) - asked - set(named(tree, "CommonTableExpr", "ctename"))
    assert {name for name in lost if name not in details} == set()


@pytest.mark.parametrize("depth", [100, 1000, 10_000])
@pytest.mark.parametrize(
    "text",
    [
        "SELECT {open}1{close}",
        "SELECT {nots}true",
        "SELECT {selects}1{close}",
        "SELECT {arrays}1{brackets}",
        "SELECT 1{casts}",
        "SELECT {pluses}1",
        "SELECT 1 {unions}",
        "SELECT * FROM t WHERE {ors}true",
        "SELECT * FROM t WHERE x = {pluses}1 OR {nots}x",
        "SELECT * FROM {open}a{joins}",
        "SELECT {minuses}1",
        "WITH x AS {ctes}1{close} SELECT * FROM x",
    ],
)
def test_deep_nesting_is_read_or_unknown(text: str, depth: int) -> None:
    pieces = {
        "open": "(",
        "close": ")",
        "nots": "NOT ",
        "selects": "(SELECT ",
        "arrays": "ARRAY[",
        "brackets": "]",
        "casts": "::int",
        "pluses": "1 + ",
        "unions": "UNION SELECT 1 ",
        "ors": "x OR ",
        "joins": " JOIN b ON true)",
        "minuses": "- ",
        "ctes": "(SELECT ",
    }
    analysis = analyse(text.format(**{name: piece * depth for name, piece in pieces.items()}))
    assert set(analysis.effects) <= {"select", "unknown"}
    assert bool(analysis.unknown) == ("unknown" in analysis.effects)
    assert depth > 100 or not analysis.unknown


def test_depth_is_bounded_by_the_callers_stack_too() -> None:
    def deeper(levels: int) -> str:
        return deeper(levels - 1) if levels else analyse("SELECT " + "(SELECT " * 60 + "1" + ")" * 60).unknown

    assert deeper(sys.getrecursionlimit() - 150) == "nested too deeply"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("SELECT 1\0; DROP TABLE x", "NUL"),
        ("SELECT '\ud800'", "not valid text"),
        ("SELECT 1 -- " + "x" * MAX_TEXT, "longer"),
        ("SELEC", "syntax error"),
        ("CREATE STATISTICS s ON a FROM t JOIN u ON true", "on one table"),
        ("CREATE STATISTICS s ON a FROM f(1)", "on one table"),
    ],
)
def test_unreadable(text: str, reason: str) -> None:
    analysis = analyse(text)
    assert analysis.effects == ("unknown",)
    assert reason in analysis.unknown


COSTLY = {
    "columns times expression": f"UPDATE t SET ({','.join(['a'] * 1000)}) /* x */ = (SELECT {','.join(['1'] * 2500)})",
    "columns times row": f"UPDATE t SET ({','.join(['a'] * 1000)}) = ROW({','.join(['1'] * 2500)})",
    "comment marks": "SELECT 1 " + "/*" * 50_000,
    "nested BETWEEN": "SELECT 1 FROM t WHERE " + "(" * 60 + "a" + " BETWEEN 1 AND 2)" * 60,
    "nested EXISTS": "SELECT " + "EXISTS(SELECT 1 FROM (SELECT " * 25 + "1" + " x) y)" * 25,
    "nested recursion": "WITH RECURSIVE a AS (" * 25 + "SELECT 1 x" + " UNION ALL SELECT x FROM a) SELECT x FROM a" * 25,
    "tables times columns": f"SELECT {','.join(['a'] * 3000)} FROM {','.join(f't{n}' for n in range(3000))}",
    "many tables": f"SELECT a FROM {','.join(f't{n}' for n in range(20_000))}",
    "many CTEs": f"WITH {','.join(f'a{n} AS (SELECT 1)' for n in range(20_000))} SELECT 1",
    "many statements": "PREPARE a AS SELECT 1;" * 5000,
    "many constants": f"DELETE FROM t WHERE a IN ({','.join(['1'] * 20_000)})",
}


@pytest.mark.parametrize("text", COSTLY.values(), ids=COSTLY.keys())
@pytest.mark.timeout(20)
def test_no_text_takes_long(text: str) -> None:
    """Each of these once took seconds, minutes or all memory."""
    check_answer(text)


def test_standard_conforming_strings_off_refuses_backslashes() -> None:
    hidden = r"SELECT '\'; DELETE FROM t; --'"
    assert analyse(hidden).effects == ("delete", "select")
    assert analyse(hidden, standard_conforming_strings=False).effects == ("unknown",)
    assert analyse("SELECT 'a''b'", standard_conforming_strings=False).effects == ("select",)


WORDS = st.sampled_from(
    [
        "SELECT",
        "FROM",
        "WHERE",
        "t",
        "a.b",
        "*",
        ",",
        "(",
        ")",
        "[",
        "]",
        ";",
        "'x'",
        "1",
        "1.5",
        "$1",
        '"q"',
        "WITH",
        "x",
        "AS",
        "DELETE",
        "UPDATE",
        "SET",
        "=",
        "INSERT",
        "INTO",
        "VALUES",
        "RETURNING",
        "UNION",
        "ALL",
        "OR",
        "AND",
        "NOT",
        "NULL",
        "IS",
        "IN",
        "(",
        "SELECT",
        ")",
        "JOIN",
        "ON",
        "USING",
        "LATERAL",
        "f(",
        ")",
        "OVER",
        "GROUP",
        "BY",
        "ORDER",
        "LIMIT",
        "FOR",
        "MERGE",
        "WHEN",
        "MATCHED",
        "THEN",
        "DO",
        "COPY",
        "TO",
        "STDOUT",
        "CASE",
        "END",
        "EXPLAIN",
        "ANALYZE",
        "CREATE",
        "TABLE",
        "VIEW",
        "DROP",
        "ALTER",
        "ADD",
        "CAST",
        "::",
        "int",
        "EXISTS",
        "BETWEEN",
        "LIKE",
        "+",
        "-",
        "||",
        "<=>",
        "/*",
        "*/",
        "--",
        "$$",
        "E'",
        'U&"',
        "\\",
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(WORDS, max_size=25).map(" ".join))
@example("")
def test_any_words_are_analysed(text: str) -> None:
    check_answer(text)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_analysed(text: str) -> None:
    check_answer(text)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(cases()), st.data())
def test_a_statement_with_a_piece_cut_out_is_analysed(case: Any, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(case.text)))
    end = data.draw(st.integers(start, len(case.text)))
    check_answer(case.text[:start] + case.text[end:])


def check_answer(text: str) -> None:
    analysis = analyse(text)
    assert bool(analysis.unknown) == ("unknown" in analysis.effects)
    for field in (analysis.effects, analysis.flags):
        assert list(field) == sorted(set(field))
    assert len(set(analysis.accesses)) == len(analysis.accesses)
    assert set(analysis.reads) | set(analysis.writes) <= {access.name for access in analysis.accesses}
