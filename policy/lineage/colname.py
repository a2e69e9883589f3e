"""The name that a column without AS gets.

As FigureColname does (PostgreSQL 18, parser/parse_target.c): a wrong one would make a reference to a subquery's column mean
another.
"""

from __future__ import annotations

from typing import Any

from ..sql.found import Tree, strings

FIXED = {
    "GroupingFunc": "grouping",
    "MergeSupportFunc": "merge_action",
    "A_ArrayExpr": "array",
    "RowExpr": "row",
    "CoalesceExpr": "coalesce",
    "XmlSerialize": "xmlserialize",
    "JsonParseExpr": "json",
    "JsonScalarExpr": "json_scalar",
    "JsonSerializeExpr": "json_serialize",
    "JsonObjectConstructor": "json_object",
    "JsonArrayConstructor": "json_array",
    "JsonArrayQueryConstructor": "json_array",
    "JsonObjectAgg": "json_objectagg",
    "JsonArrayAgg": "json_arrayagg",
}
BY_OP = {
    "MinMaxExpr": {"IS_GREATEST": "greatest", "IS_LEAST": "least"},
    "JsonFuncExpr": {"JSON_EXISTS_OP": "json_exists", "JSON_QUERY_OP": "json_query", "JSON_VALUE_OP": "json_value"},
    "XmlExpr": {f"IS_{name.upper()}": name for name in ("xmlconcat", "xmlelement", "xmlforest", "xmlparse", "xmlpi", "xmlroot")},
}
NAMELESS = "?column?"
_WEAK, _STRONG = 1, 2


def column_name(node: Tree) -> str:
    """The name of an output column by its expression."""
    return _figure(node)[0] or NAMELESS


def _figure(node: Tree) -> tuple[str, int]:
    """A name and how good it is; empty and 0 for none."""
    for kind, body in node.items():
        if kind in FIXED:
            return FIXED[kind], _STRONG
        if kind in BY_OP:
            name = BY_OP[kind].get(body.get("op", ""), "")
            return name, _STRONG if name else 0
        return _by_parts(kind, body)
    return "", 0


def _by_parts(kind: str, body: Any) -> tuple[str, int]:
    match kind:
        case "ColumnRef":
            return _last(strings(body["fields"]))
        case "A_Indirection":
            named = _last(strings(body["indirection"]))
            return named if named[0] else _figure(body["arg"])
        case "FuncCall":
            return _last(strings(body["funcname"]))
        case "A_Expr":
            return ("nullif", _STRONG) if body["kind"] == "AEXPR_NULLIF" else ("", 0)
        case "CollateClause":
            return _figure(body["arg"])
        case "TypeCast":
            return _weaker(_figure(body["arg"]), (strings(body["typeName"].get("names", [])) or ("",))[-1])
        case "CaseExpr":
            return _weaker(_figure(body["defresult"]) if "defresult" in body else ("", 0), "case")
        case "SQLValueFunction":
            return body["op"].removeprefix("SVFOP_").removesuffix("_N").lower(), _STRONG
        case "SubLink":
            return _subquery(body)
    return "", 0


def _last(names: tuple[str, ...]) -> tuple[str, int]:
    return (names[-1], _STRONG) if names else ("", 0)


def _weaker(inner: tuple[str, int], name: str) -> tuple[str, int]:
    return inner if inner[1] > _WEAK or not name else (name, _WEAK)


def _subquery(body: Tree) -> tuple[str, int]:
    match body["subLinkType"]:
        case "EXISTS_SUBLINK":
            return "exists", _STRONG
        case "ARRAY_SUBLINK":
            return "array", _STRONG
        case "EXPR_SUBLINK":
            query = body["subselect"]["SelectStmt"]
            while "larg" in query:
                query = query["larg"]
            if "valuesLists" in query:
                return "column1", _STRONG
            targets = query.get("targetList", [])
            # A column of ``*`` has its own name, which takes the relations to know: none is a name that nothing refers to.
            if targets and not _is_star(targets[0]["ResTarget"]["val"]):
                target = targets[0]["ResTarget"]
                return (target["name"], _STRONG) if "name" in target else (_figure(target["val"])[0] or NAMELESS, _STRONG)
    return "", 0


def _is_star(node: Tree) -> bool:
    return "ColumnRef" in node and "A_Star" in node["ColumnRef"]["fields"][-1]
