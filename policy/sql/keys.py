"""Which rows a statement is about, by the values of one column that it names; nothing where that can't be told.

Only what is plain is read: one statement on one relation, without subqueries, CTEs or joins, in which the column is compared with
constants or parameters, or set to them. Everything else may be about any row.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

from .found import Tree
from .parse import Unreadable, parse

MAX_KEYS = 64
"""More rows in one statement are any rows."""
MAX_DIGITS = 60
_ELSEWHERE = ("RangeSubselect", "SubLink", "JoinExpr", "CommonTableExpr", "RangeFunction", "RangeTableFunc", "JsonTable")

Value = str | int
"""A constant in `canonical` form, or the number of a parameter, from 1."""


def keys_of(text: str, column: str, *, standard_conforming_strings: bool = True) -> tuple[Value, ...]:
    """The values of the column in all rows that the text can touch; none where that can't be told. Raises nothing."""
    try:
        statements = parse(text, standard_conforming_strings=standard_conforming_strings)
        if len(statements) != 1:
            return ()
        ((kind, node),) = statements[0].tree.items()
        if not _plain(statements[0].tree):
            return ()
        found = _READERS[kind](node, column) if kind in _READERS else None
    except (Unreadable, RecursionError):
        return ()
    return tuple(found) if found is not None and len(found) <= MAX_KEYS else ()


def canonical(text: str) -> str:
    """One form for all texts that PostgreSQL may take for the same value of a number, a uuid, or a text in some collation.

    Values that differ may become the same: then a rule about the one counts for the other.
    """
    word = unicodedata.normalize("NFKC", text).strip().casefold()
    bare = word.strip("{}").replace("-", "")
    if len(bare) == 32 and all(digit in "0123456789abcdef" for digit in bare):
        return bare
    if len(word) <= MAX_DIGITS:
        try:
            number = Decimal(word)
        except InvalidOperation:
            return word
        # Zero has no sign and no exponent; else what normalize() does is one form for each value.
        return str(number.normalize()) if number.is_finite() and number else "0" if number == 0 else word
    return word


def _plain(tree: Tree) -> bool:
    """One relation, nothing nested."""
    kinds = list(_kinds(tree))
    return not any(kind in _ELSEWHERE for kind in kinds) and kinds.count("RangeVar") <= 1


def _kinds(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield key
            yield from _kinds(value)
    elif isinstance(node, list):
        for value in node:
            yield from _kinds(value)


def _inserted(node: Tree, column: str) -> list[Value] | None:
    columns = [each["ResTarget"]["name"] for each in node.get("cols", ())]
    rows = node.get("selectStmt", {}).get("SelectStmt", {}).get("valuesLists", ())
    # ON CONFLICT may be on a row that another column names.
    if columns.count(column) != 1 or not rows or "onConflictClause" in node or "withClause" in node:
        return None
    place = columns.index(column)
    cells = [row["List"].get("items", ()) for row in rows]
    return _values([cell[place] for cell in cells]) if all(len(cell) > place for cell in cells) else None


def _updated(node: Tree, column: str) -> list[Value] | None:
    if "fromClause" in node or "withClause" in node:
        return None
    targets = [each["ResTarget"] for each in node.get("targetList", ())]
    where = _where(node.get("whereClause"), column)
    new = _values([each.get("val", {}) for each in targets if each.get("name") == column])
    return None if where is None or new is None else [*where, *new]


def _deleted(node: Tree, column: str) -> list[Value] | None:
    return None if "usingClause" in node or "withClause" in node else _where(node.get("whereClause"), column)


def _selected(node: Tree, column: str) -> list[Value] | None:
    plain = len(node.get("fromClause", ())) == 1 and node.get("op") == "SETOP_NONE" and "withClause" not in node
    return _where(node.get("whereClause"), column) if plain else None


_READERS = {"InsertStmt": _inserted, "UpdateStmt": _updated, "DeleteStmt": _deleted, "SelectStmt": _selected}


def _where(node: Tree | None, column: str) -> list[Value] | None:
    """The values that the column must have for a row to be touched; None when it may have any."""
    if node is None:
        return None
    if "BoolExpr" in node and node["BoolExpr"]["boolop"] == "AND_EXPR":
        found = [_where(each, column) for each in node["BoolExpr"]["args"]]
        return next((each for each in found if each is not None), None)
    if "A_Expr" not in node:
        return None
    compared = node["A_Expr"]
    operator = [each.get("String", {}).get("sval") for each in compared.get("name", ())]
    left, right = compared.get("lexpr", {}), compared.get("rexpr", {})
    if operator != ["="]:
        return None
    if compared["kind"] == "AEXPR_IN" and _is_column(left, column):
        return _values(right.get("List", {}).get("items", ()))
    if compared["kind"] != "AEXPR_OP":
        return None
    if _is_column(left, column):
        return _values([right])
    return _values([left]) if _is_column(right, column) else None


def _is_column(node: Tree, column: str) -> bool:
    fields = node.get("ColumnRef", {}).get("fields", ())
    return bool(fields) and fields[-1].get("String", {}).get("sval") == column


def _values(nodes: Any) -> list[Value] | None:
    found = [_value(node) for node in nodes]
    return None if any(each is None for each in found) else [each for each in found if each is not None]


def _value(node: Tree) -> Value | None:
    if "TypeCast" in node:
        # A cast may round or cut what it is given; those that only name the type of a number or a text don't.
        name = [each.get("String", {}).get("sval") for each in node["TypeCast"]["typeName"].get("names", ())][-1:]
        kind = node["TypeCast"]["typeName"]
        keeps = name[:1] and name[0] in ("int2", "int4", "int8", "text", "uuid") and "arrayBounds" not in kind
        return _value(node["TypeCast"]["arg"]) if keeps else None
    if "ParamRef" in node:
        number = node["ParamRef"].get("number", 0)
        return int(number) if number else None
    constant = node.get("A_Const")
    if constant is None or constant.get("isnull"):
        return None
    if "ival" in constant:
        return canonical(str(constant["ival"].get("ival", 0)))
    for kind in ("fval", "sval"):
        if kind in constant:
            return canonical(str(constant[kind].get(kind, "")))
    return None
