"""Rules of what stands in expressions."""

from __future__ import annotations

from ..derive import KEEPS_NOTHING
from ..sql.found import Tree, name_of, strings
from ..sql.functions import PURE, UNKNOWN, classify, is_builtin_operator
from ..sql.postgres_names import names
from .bodies import inlined
from .rows import reference, rows_of
from .table import PART, VALUE, Scope, combine, rows, rows_with_choice, rule, value, values
from .uses import Uses
from .value import CLEAN, UNSURE, Value, computed, union

KNOWN_CONTENT = frozenset([PURE, "reads_catalog", "reads_settings", "sequences", "locks", "sleeps", "settings", "notifies"])
"""Classes of functions whose result depends on no table beyond their arguments."""

NO_COMPARISONS = frozenset(["+", "-", "*", "/", "%", "^", "||", "->", "->>", "#>", "#>>", "#-", "@", "&", "|", "#", "|/", "||/"])
"""Operators that compute something; all others answer a question about their operands."""

MAKES_ROWS = names(
    """
    generate_series generate_subscripts unnest regexp_matches regexp_split_to_table string_to_table json_array_elements
    json_array_elements_text json_each json_each_text json_object_keys json_populate_recordset json_to_recordset
    jsonb_array_elements jsonb_array_elements_text jsonb_each jsonb_each_text jsonb_object_keys jsonb_path_query
    jsonb_path_query_tz jsonb_populate_recordset jsonb_to_recordset ts_debug ts_parse ts_token_type ts_stat
    """
)
"""Built-in functions of values whose number of rows depends on what they get (PostgreSQL 18, pg_proc.proretset)."""


TOTAL_OPERATORS = frozenset(["||", "->", "->>", "#>", "#>>"])
"""Those of the above that fail for no operands. Arithmetic overflows, divides by zero."""

TOTAL = names(
    """
    lower upper initcap casefold length char_length character_length octet_length bit_length reverse md5 ascii concat
    concat_ws to_json to_jsonb row_to_json array_to_json json_build_object json_build_array jsonb_build_object
    jsonb_build_array json_strip_nulls jsonb_strip_nulls jsonb_pretty json_typeof jsonb_typeof json_extract_path
    json_extract_path_text jsonb_extract_path jsonb_extract_path_text array_agg string_agg json_agg jsonb_agg xmlagg max min
    count any_value bool_and bool_or every first_value last_value lag lead array_to_string string_to_array unnest
    array_length cardinality array_append array_prepend ltrim rtrim btrim quote_literal quote_ident quote_nullable left
    right replace translate position strpos starts_with row_number rank dense_rank percent_rank cume_dist hashtext
    pg_typeof num_nulls num_nonnulls textcat
    """
)
"""Functions that fail for no value of the right type (PostgreSQL 18 docs §9; running out of memory left aside)."""

TOTAL_IN_FIRST = names(
    "substr substring encode split_part lpad rpad repeat nth_value regexp_replace regexp_substr overlay to_char"
)
"""Those that fail only for other arguments than the first."""

FAILS_IN_FIRST = names("format")
"""Those that fail for their first argument only."""

_SIMPLE = frozenset(["A_Const", "ColumnRef", "ParamRef", "SQLValueFunction"])

TOTAL_CASTS = names("text varchar bpchar name")


def may_fail(given: Value, what: str, uses: Uses) -> None:
    """An error, or none, answers a question about the value, as a comparison does."""
    uses.match(given, f"{what}, which may fail on it")


@rule(VALUE, "A_Const", "BitString", "Boolean", "CurrentOfExpr", "Float", "GroupingFunc", "Integer", "MergeSupportFunc")
@rule(VALUE, "ParamRef", "SQLValueFunction", "SetToDefault", "String")
def constant(_body: Tree, _scope: Scope, _uses: Uses) -> Value:
    """Carries no column's value: grouping() and merge_action() tell what the statement did."""
    return CLEAN


@rule(VALUE, "A_ArrayExpr", "A_Indices", "A_Indirection", "BooleanTest", "CollateClause")
@rule(VALUE, "JsonAggConstructor", "JsonArrayConstructor", "JsonArrayAgg", "JsonIsPredicate", "JsonScalarExpr")
@rule(VALUE, "JsonSerializeExpr", "List", "MinMaxExpr", "MultiAssignRef", "NamedArgExpr", "RowExpr")
@rule(PART, "JsonArgument", "JsonBehavior", "JsonFormat", "JsonKeyValue", "JsonOutput", "JsonReturning", "ResTarget", "TypeName")
@rule(PART, "A_Star", "IndexElem", "JsonTableColumn", "JsonTablePathSpec", "RangeTableFuncCol", "ReturningOption", "DefElem")
def combination(body: Tree, scope: Scope, uses: Uses) -> Value:
    """Depends on what its parts depend on."""
    found = combine(body, scope, uses)
    for aggregate in (body, body.get("constructor", {})):
        if "agg_filter" in aggregate or "agg_order" in aggregate or "over" in aggregate:
            found = union([found, around(aggregate, scope, uses)])
    return computed(found)


@rule(VALUE, "NullTest")
def null_test(body: Tree, scope: Scope, uses: Uses) -> Value:
    """IS NULL, IS NOT NULL: of a column whose mask leaves NULL, and nothing else, as NULL it tells no more than the mask."""
    if "ColumnRef" in body["arg"]:
        tested, whole = _referred(body["arg"]["ColumnRef"], scope, uses)
        if not whole and tested.plain and tested.sure and tested.columns <= uses.nullness_shown:
            return CLEAN
    found: Value = combination(body, scope, uses)
    return found


@rule(VALUE, "BoolExpr")
def condition(body: Tree, scope: Scope, uses: Uses) -> Value:
    """AND and OR: whether what stands on the right is looked at, and may fail, depends on what stands on the left."""
    found: Value = combination(body, scope, uses)
    if body["boolop"] != "NOT_EXPR":
        uses.match(found, "AND or OR")
    return found


@rule(VALUE, "CoalesceExpr")
def coalesce(body: Tree, scope: Scope, uses: Uses) -> Value:
    """COALESCE: what follows a value runs only where that is NULL."""
    args = body["args"]
    parts = [value(arg, scope, uses) for arg in args]
    last = max((place for place, arg in enumerate(args) if not _is_simple(arg)), default=0)
    uses.match(union(parts[:last]), "COALESCE")
    return computed(union(parts))


def _is_simple(node: Tree) -> bool:
    """Whether it neither fails nor does anything."""
    return bool(_SIMPLE & node.keys()) or "A_Const" in node.get("TypeCast", {}).get("arg", {})


@rule(VALUE, "JsonFuncExpr", "JsonObjectAgg", "JsonObjectConstructor", "JsonValueExpr", "XmlSerialize")
def checked(body: Tree, scope: Scope, uses: Uses) -> Value:
    """Fails on demand: ERROR ON EMPTY, WITH UNIQUE KEYS, FORMAT JSON, DOCUMENT."""
    found: Value = combination(body, scope, uses)
    reads = body.get("format", {}).get("format_type", "JS_FORMAT_DEFAULT") != "JS_FORMAT_DEFAULT"
    if reads or "context_item" in body or body.get("unique") or body.get("xmloption") == "XMLOPTION_DOCUMENT":
        may_fail(found, "JSON or XML", uses)
    return found


@rule(VALUE, "TypeCast")
def cast(body: Tree, scope: Scope, uses: Uses) -> Value:
    """A cast. To text nothing fails."""
    given = computed(value(body["arg"], scope, uses))
    names_ = strings(body["typeName"].get("names", []))
    if names_[-1:] and (names_[-1] not in TOTAL_CASTS or "arrayBounds" in body["typeName"]):
        may_fail(given, f"a cast to {names_[-1]}", uses)
    return given


@rule(VALUE, "XmlExpr")
def xml(body: Tree, scope: Scope, uses: Uses) -> Value:
    """XMLPARSE, XMLPI and the like fail on what is no XML."""
    given = computed(combine(body, scope, uses))
    if body["op"] not in ("IS_XMLELEMENT", "IS_XMLFOREST", "IS_XMLCONCAT", "IS_DOCUMENT"):
        may_fail(given, "reading as XML", uses)
    return given


@rule(VALUE, "JsonParseExpr")
def json_parse(body: Tree, scope: Scope, uses: Uses) -> Value:
    """``JSON(…)`` fails on what is no JSON."""
    given = computed(combine(body, scope, uses))
    may_fail(given, "reading as JSON", uses)
    return given


@rule(VALUE, "ColumnRef")
def column(body: Tree, scope: Scope, uses: Uses) -> Value:
    """A column, a whole row, ``alias.*`` as a row."""
    found = _referred(body, scope, uses)[0]
    uses.use(found)
    return found


def _referred(body: Tree, scope: Scope, uses: Uses) -> tuple[Value, bool]:
    uses.spend(1 + sum(map(len, scope.frames)))
    fields = strings(body["fields"])
    if "A_Star" not in body["fields"][-1]:
        return reference(fields, scope.frames)
    if not fields:
        return union([item.whole() for frame in scope.frames[:1] for item in frame]), True
    found = rows_of(fields, scope.frames)
    return (found.whole(), True) if found is not None else (UNSURE, True)


def returned(node: Tree, scope: Scope, uses: Uses) -> Value:
    """An expression that is returned: a column as it is counts as no use of it."""
    if "ColumnRef" in node and (found := _referred(node["ColumnRef"], scope, uses)[0]).plain:
        return found
    return value(node, scope, uses)


@rule(VALUE, "A_Expr")
def operator(body: Tree, scope: Scope, uses: Uses) -> Value:
    """An operator with its operands. Chains lean left (``a || b || c …``) and are followed without nesting."""
    parts: list[Value] = []
    fails = ""
    while True:
        right = body.get("rexpr")
        if right is not None:
            parts.append(values(right, scope, uses) if isinstance(right, list) else value(right, scope, uses))
        name, left = name_of(strings(body["name"])), body.get("lexpr")
        known = "BETWEEN" in body["kind"] or is_builtin_operator(name)
        computes = body["kind"] == "AEXPR_OP" and known and (name.name in NO_COMPARISONS or (name.name == "~" and left is None))
        if computes and name.name not in TOTAL_OPERATORS:
            fails = name.name
        if computes and left is not None and "A_Expr" in left:
            body = left["A_Expr"]
            continue
        if left is not None:
            parts.append(value(left, scope, uses))
        whole = union(parts)
        if not known:
            uses.stashed.append((f"the operator {name}", whole))
            if uses.computes("operator", name):
                uses.match(whole, "a comparison")
                return whole
            uses.unknown_call = True
            return union([whole, UNSURE])
        if not computes:
            uses.match(whole, "a comparison")
        elif fails:
            may_fail(whole, f"the operator {fails}", uses)
        return whole


@rule(VALUE, "CaseExpr")
def case(body: Tree, scope: Scope, uses: Uses) -> Value:
    """CASE: its conditions decide which of its values it is."""
    conditions = [value(body["arg"], scope, uses)] if "arg" in body else []
    results = [value(body["defresult"], scope, uses)] if "defresult" in body else []
    for item in body.get("args", []):
        conditions.append(value(item["CaseWhen"]["expr"], scope, uses))
        results.append(value(item["CaseWhen"]["result"], scope, uses))
    decides = union(conditions)
    uses.match(decides, "CASE")
    return union([decides, *results])


@rule(VALUE, "SubLink")
def subquery(body: Tree, scope: Scope, uses: Uses) -> Value:
    """EXISTS, IN, ANY, ALL, ARRAY, a scalar subquery. What chooses its rows is in its value."""
    found, chosen = rows_with_choice(body["subselect"], scope, uses)
    if body["subLinkType"] == "EXISTS_SUBLINK":
        return chosen
    if "testexpr" in body:
        tested = union([value(body["testexpr"], scope, uses), found])
        uses.match(tested, "a comparison")
        return union([tested, chosen])
    uses.use(found)
    return union([found, chosen])


@rule(VALUE, "JsonArrayQueryConstructor")
def json_array_of_rows(body: Tree, scope: Scope, uses: Uses) -> Value:
    """``JSON_ARRAY(SELECT …)``."""
    found = rows(body["query"], scope, uses).whole()
    uses.use(found)
    return found


@rule(VALUE, "FuncCall")
def function(body: Tree, scope: Scope, uses: Uses) -> Value:
    """A function, aggregate or window function with its arguments."""
    name = name_of(strings(body["funcname"]))
    args = body.get("args", [])
    kind = classify(name)
    beside = around(body, scope, uses)
    if name.name == "count" and kind == PURE:
        return union([_count(body, args, scope, uses), beside])
    parts = [value(arg, scope, uses) for arg in args]
    given = union(parts)
    if kind in KEEPS_NOTHING and name.name not in TOTAL and name.name not in MAKES_ROWS:
        may_fail(_failing(name.name, parts), f"{name}()", uses)
    if body.get("agg_distinct"):
        uses.match(given, "DISTINCT")
    if kind == PURE and name.name in MAKES_ROWS:
        uses.match(given, f"{name}(), of which the number of rows tells")
    if kind not in KEEPS_NOTHING or kind == "sleeps":
        uses.stashed.append((f"{name}()", given))
    uses.unknown_call |= kind == UNKNOWN
    if kind == UNKNOWN and (returned_by := inlined(name, given, uses)) is not None:
        return union([returned_by, beside])
    if kind == UNKNOWN and uses.computes("function", name):
        return union([given, beside])
    if kind not in KNOWN_CONTENT:
        return union([given, beside, UNSURE])
    return union([given, beside])


def _failing(name: str, parts: list[Value]) -> Value:
    """The arguments for which a function that is not total may fail."""
    if name in TOTAL_IN_FIRST:
        return union(parts[1:])
    return union(parts[:1] if name in FAILS_IN_FIRST else parts)


def _count(body: Tree, args: list[Tree], scope: Scope, uses: Uses) -> Value:
    """``count(x)`` tells how many values there are. Whether a computed one is NULL may depend on what the column holds."""
    for arg in args:
        if "ColumnRef" in arg:
            found, whole = _referred(arg["ColumnRef"], scope, uses)
            if whole or (found.plain and not body.get("agg_distinct")):
                continue
        counted = value(arg, scope, uses)
        uses.match(counted, "DISTINCT" if body.get("agg_distinct") else "a count of computed values")
    return CLEAN


def around(body: Tree, scope: Scope, uses: Uses) -> Value:
    """FILTER, ORDER BY, OVER of an aggregate: which rows it is of, in which order."""
    parts: list[Value] = []
    if "agg_filter" in body:
        parts.append(value(body["agg_filter"], scope, uses))
        uses.match(parts[-1], "FILTER")
    if "agg_order" in body:
        parts.append(values(body["agg_order"], scope, uses))
        if not body.get("agg_within_group"):
            uses.match(parts[-1], "ORDER BY")
    if "over" in body:
        parts.append(window(body["over"], scope, uses))
    return union(parts)


@rule(PART, "WindowDef")
def window(body: Tree, scope: Scope, uses: Uses) -> Value:
    """How rows are seen from each row: by PARTITION BY, ORDER BY, the frame; a named one by any of the WINDOW clause's."""
    found = values(
        [
            *body.get("partitionClause", []),
            *body.get("orderClause", []),
            *(body[field] for field in ("startOffset", "endOffset") if field in body),
        ],
        scope,
        uses,
    )
    uses.match(found, "OVER")
    return union([found, scope.windows])


@rule(PART, "SortBy")
def sort_key(body: Tree, scope: Scope, uses: Uses) -> Value:
    """One item of ORDER BY."""
    if "useOp" in body and not is_builtin_operator(name := name_of(strings(body["useOp"]))):
        found = value(body["node"], scope, uses)
        uses.unknown_call = True
        uses.stashed.append((f"the operator {name}", found))
        return found
    return value(body["node"], scope, uses)


@rule(PART, "CaseWhen")
def case_branch(body: Tree, scope: Scope, uses: Uses) -> Value:
    """Below CASE alone."""
    return combine(body, scope, uses)


@rule(PART, "GroupingSet")
def grouping_set(body: Tree, scope: Scope, uses: Uses) -> Value:
    """ROLLUP, CUBE, GROUPING SETS."""
    return values(body.get("content", []), scope, uses)
