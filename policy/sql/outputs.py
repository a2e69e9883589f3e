"""The columns a text returns, with the base columns each depends on, as far as the text tells.

This is a first cut of lineage: it names sources for plain and computed columns through aliases, subqueries, CTEs, set
operations, and proves some columns harmless (constants, parameters, counts). Everything it can't follow says so with
``certain=False``.
"""

from __future__ import annotations

from .analysis import Output
from .expression_sources import Lineage, TooComplex
from .found import Tree
from .ranges import STAR, Outputs

RETURNING = ("InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt")


def describe_outputs(trees: list[Tree], *, calls_unknown: bool) -> tuple[Outputs | None, Outputs]:
    """(outputs, shown) as `Analysis` has them, for the one statement of the text that returns rows.

    `calls_unknown`: functions of unknown body are called; planning may run them, so that a plan may show what they return.
    """
    answering = [tree for tree in trees if _returns_rows(tree) or (len(trees) == 1 and "DeclareCursorStmt" in tree)]
    if len(answering) != 1:
        return None, ()
    if "ExplainStmt" in answering[0]:
        return (Output("QUERY PLAN", computed=True, certain=not calls_unknown, harmless=not calls_unknown),), ()
    try:
        outputs = _columns(answering[0])
    except TooComplex:
        return None, ()
    if not outputs or any(output.name == STAR for output in outputs):
        return None, outputs
    return outputs, ()


def _returns_rows(tree: Tree) -> bool:
    """Whether a statement answers with rows, COPY TO STDOUT included."""
    for kind, body in tree.items():
        if kind == "SelectStmt":
            return not _goes_into_a_table(body)
        if kind in RETURNING:
            return "returningClause" in body
        if kind == "CopyStmt":
            return not body.get("is_from") and "filename" not in body
        return kind in ("FetchStmt", "ExecuteStmt", "ExplainStmt", "VariableShowStmt", "CallStmt")
    return False


def _goes_into_a_table(body: Tree) -> bool:
    """INTO stands in the first SELECT of a set operation."""
    while "larg" in body:
        body = body["larg"]
    return "intoClause" in body


def _columns(tree: Tree) -> Outputs:
    """The columns of a statement that returns rows; empty where they can't be told. Raises TooComplex."""
    for kind, body in tree.items():
        if kind == "SelectStmt":
            return Lineage().select(body) or ()
        if kind in RETURNING:
            return Lineage().returning(body) or () if "returningClause" in body else ()
        if kind == "VariableShowStmt":
            return (Output(str(body.get("name", "")), computed=True, harmless=True),)
        if kind in ("CopyStmt", "DeclareCursorStmt"):
            return _columns(body["query"]) if "query" in body else Lineage().table(body["relation"], body.get("attlist", []))
    return ()
