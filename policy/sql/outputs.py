"""The columns a text returns, with the base columns each depends on, as far as the text tells.

This is a first cut of lineage: it names sources for plain and computed columns through aliases, subqueries, CTEs, set
operations, and proves some columns harmless (constants, parameters, counts). Everything it can't follow says so with
``certain=False``.
"""

from __future__ import annotations

from typing import Any

from .analysis import Output
from .expression_sources import Lineage
from .found import Tree
from .ranges import STAR, Outputs

RETURNING = ("InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt")


def describe_outputs(trees: list[Tree]) -> tuple[Outputs | None, Outputs]:
    """(outputs, shown) as `Analysis` has them, for the one statement of the text that returns rows."""
    answers = [answer for tree in trees if (answer := _rows_of(tree, alone=len(trees) == 1)) is not None]
    if len(answers) != 1:
        return None, ()
    outputs = answers[0]
    if not outputs or any(output.name == STAR for output in outputs):
        return None, outputs
    return outputs, ()


def _rows_of(tree: Tree, *, alone: bool) -> Outputs | None:
    """What a statement returns: None for no rows at all, empty where the columns can't be told."""
    for kind, body in tree.items():
        if kind == "SelectStmt":
            return None if _goes_into_a_table(body) else Lineage().select(body) or ()
        if kind in RETURNING:
            return Lineage().returning(body) or () if "returningClause" in body else None
        if kind in ("FetchStmt", "ExecuteStmt"):
            return ()
        if kind == "ExplainStmt":
            return (Output("QUERY PLAN", computed=True, harmless=True),)
        if kind == "VariableShowStmt":
            return (Output(str(body.get("name", "")), computed=True, harmless=True),)
        if kind == "CopyStmt" and not body.get("is_from") and "filename" not in body:
            return _copied(body)
        if kind == "DeclareCursorStmt" and alone:
            return _rows_of(body["query"], alone=True)
    return None


def _goes_into_a_table(body: dict[str, Any]) -> bool:
    """INTO stands in the first SELECT of a set operation."""
    while "larg" in body:
        body = body["larg"]
    return "intoClause" in body


def _copied(body: dict[str, Any]) -> Outputs:
    if "query" in body:
        return _rows_of(body["query"], alone=True) or ()
    return Lineage().table(body["relation"], body.get("attlist", []))
