"""Handlers of what stands in expressions: operators, function calls, subqueries, constants."""

from __future__ import annotations

from .found import Found, Tree, name_of, strings
from .visit import Scope, children, handles, nothing, visit

handles(
    "A_Const",
    "A_Star",
    "AccessPriv",
    "BitString",
    "Boolean",
    "ColumnRef",
    "CurrentOfExpr",
    "Float",
    "Integer",
    "ObjectWithArgs",
    "ParamRef",
    "ReturningOption",
    "RoleSpec",
    "SQLValueFunction",
    "SetToDefault",
    "String",
    "TriggerTransition",
    "TypeName",
)(nothing)

handles(
    "A_ArrayExpr",
    "A_Indices",
    "A_Indirection",
    "BoolExpr",
    "BooleanTest",
    "CaseExpr",
    "CaseWhen",
    "CoalesceExpr",
    "CollateClause",
    "GroupingFunc",
    "GroupingSet",
    "JsonAggConstructor",
    "JsonArgument",
    "JsonArrayAgg",
    "JsonArrayConstructor",
    "JsonArrayQueryConstructor",
    "JsonFuncExpr",
    "JsonIsPredicate",
    "JsonKeyValue",
    "JsonObjectAgg",
    "JsonObjectConstructor",
    "JsonOutput",
    "JsonParseExpr",
    "JsonScalarExpr",
    "JsonSerializeExpr",
    "JsonTablePathSpec",
    "JsonTableColumn",
    "JsonValueExpr",
    "List",
    "MergeSupportFunc",
    "MinMaxExpr",
    "MultiAssignRef",
    "NamedArgExpr",
    "NullTest",
    "RangeTableFuncCol",
    "ResTarget",
    "ReturningClause",
    "RowExpr",
    "TypeCast",
    "WindowDef",
    "XmlExpr",
    "XmlSerialize",
)(children)

SPELLED_OPERATORS = ("AEXPR_BETWEEN", "AEXPR_NOT_BETWEEN", "AEXPR_BETWEEN_SYM", "AEXPR_NOT_BETWEEN_SYM")
"""Kinds of A_Expr whose name is a keyword, which stands for built-in comparisons."""

ROLE_SETTINGS = frozenset({"role", "session_authorization"})


@handles("A_Expr")
def operator(body: Tree, scope: Scope, found: Found) -> None:
    """An operator with its operands. Chains lean left (``a || b || c …``) and are walked without nesting."""
    while True:
        if body["kind"] not in SPELLED_OPERATORS:
            found.operator(strings(body["name"]))
        if "rexpr" in body:
            visit(body["rexpr"], scope, found)
        left = body.get("lexpr")
        if left is None:
            return
        if "A_Expr" not in left:
            visit(left, scope, found)
            return
        body = left["A_Expr"]


@handles("SubLink")
def subquery(body: Tree, scope: Scope, found: Found) -> None:
    """EXISTS, IN, ANY, ALL, ARRAY, or a scalar subquery."""
    if "operName" in body:
        found.operator(strings(body["operName"]))
    children(body, scope, found, skip=("operName",))


@handles("SortBy")
def sort_by(body: Tree, scope: Scope, found: Found) -> None:
    """One item of ORDER BY, which may name its operator."""
    if "useOp" in body:
        found.operator(strings(body["useOp"]))
    children(body, scope, found, skip=("useOp",))


@handles("FuncCall")
def function_call(body: Tree, scope: Scope, found: Found) -> None:
    """A function, aggregate or window function with its arguments."""
    name = name_of(strings(body["funcname"]))
    kind = found.function(name, len(body.get("args", ())))
    if kind == "settings":
        _set_config(body.get("args", []), found)
    elif kind == "notifies":
        found.session("notify", _constant(body.get("args", []), 0, found) or "*")
    children(body, scope, found, skip=("funcname",))


def _constant(args: list[Tree], position: int, found: Found) -> str | None:
    """The text of a constant argument; None where it is computed."""
    if position >= len(args):
        return None
    arg = args[position]
    while "TypeCast" in arg:
        arg = arg["TypeCast"]["arg"]
    if "A_Const" not in arg or "sval" not in arg["A_Const"]:
        return None
    found.literal_sensitive = True
    text: str = arg["A_Const"]["sval"].get("sval", "")
    return text


def shadows_catalog(schemas: list[str]) -> bool:
    """Whether a search_path names pg_catalog anywhere but first, so that other schemas' functions hide the built-in ones."""
    return any("pg_catalog" in schema.lower() for schema in schemas[1:])


def _set_config(args: list[Tree], found: Found) -> None:
    """``set_config`` is SET by another name. A name that is computed may be any, ``role`` included."""
    setting = None if any("NamedArgExpr" in arg for arg in args) else _constant(args, 0, found)
    found.session("set", setting.lower() if setting is not None else "*")
    value = _constant(args, 1, found)
    if (setting is None or setting.lower() == "search_path") and (value is None or shadows_catalog(value.split(","))):
        found.flags.add("shadows_catalog")
    if setting is None or setting.lower() in ROLE_SETTINGS:
        found.flags.add("role_change")


@handles("DefElem")
def option(body: Tree, scope: Scope, found: Found) -> None:
    """An option of some statement; only a handler that knows the option reads more into it."""
    if "arg" in body:
        visit(body["arg"], scope, found)
