"""Rules of SELECT, of WITH, of what stands in FROM."""

from __future__ import annotations

from ..sql.analysis import Name
from ..sql.found import Tree, relation_name, strings
from .colname import column_name
from .expressions import returned
from .rows import Frame, Range, Rows, rows_of
from .table import RANGE, ROWS, Joined, Scope, combine, concatenated, ranges, rows, rule, value, values
from .uses import Uses
from .value import CLEAN, UNSURE, Value, computed, either, union

MAX_ROUNDS = 12
"""Passes over recursive CTEs until their columns settle; a column moves one place a pass."""


@rule(ROWS, "SelectStmt")
def select(body: Tree, scope: Scope, uses: Uses) -> Rows:
    """SELECT, VALUES, TABLE, or a set operation of those, which leans left and is followed without nesting."""
    scope = with_clause(body, scope, uses)
    arms, distinct, rest = [], False, body
    inner = scope
    while "larg" in rest:
        uses.spend(1)
        arms.append(rest["rarg"])
        distinct |= rest["op"] != "SETOP_UNION" or not rest.get("all")
        rest = rest["larg"]
        if "larg" in rest and set(rest) & {"sortClause", "limitCount", "limitOffset", "withClause"}:
            arms.append(rest)
            break
    else:
        if arms:
            arms.append(rest)
    if arms:
        found = _either_arm([select(arm, scope, uses) for arm in reversed(arms)])
        if distinct:
            uses.match(found.whole(), "a set operation that compares rows")
    elif "valuesLists" in body:
        found = _values(body["valuesLists"], scope, uses)
    else:
        found, inner = _plain(body, scope, uses)
    for item in body.get("sortClause", []):
        uses.match(_key(item["SortBy"]["node"], found, inner, uses, outputs_first=True), "ORDER BY")
        if "useOp" in item["SortBy"]:
            value(item, inner, uses)
    for field in ("limitCount", "limitOffset"):
        if field in body:
            uses.match(value(body[field], scope, uses), "LIMIT")
    if "intoClause" in body:
        uses.assign(found.whole())
    return found


def _plain(body: Tree, scope: Scope, uses: Uses) -> tuple[Rows, Scope]:
    items = from_clause(body.get("fromClause", []), scope, uses)
    inner = scope.within(tuple(item for joined in items for item in joined.ranges))
    if "windowClause" in body:
        inner = Scope(inner.frames, inner.ctes, values(body["windowClause"], inner, uses))
    found = targets(body.get("targetList", []), items, inner, uses)
    for field, where in (("whereClause", "WHERE"), ("havingClause", "HAVING")):
        if field in body:
            uses.match(value(body[field], inner, uses), where)
    for node in body.get("groupClause", []):
        _group(node, found, inner, uses)
    if "distinctClause" in body:
        keys = [node for node in body["distinctClause"] if node]
        for node in keys:
            uses.match(_key(node, found, inner, uses, outputs_first=True), "DISTINCT")
        if not keys:
            uses.match(found.whole(), "DISTINCT")
    return found, inner


def _group(node: Tree, found: Rows, scope: Scope, uses: Uses) -> None:
    if "GroupingSet" in node:
        for item in node["GroupingSet"].get("content", []):
            _group(item, found, scope, uses)
    else:
        uses.match(_key(node, found, scope, uses, outputs_first=False), "GROUP BY")


def _key(node: Tree, found: Rows, scope: Scope, uses: Uses, *, outputs_first: bool) -> Value:
    """What a key of ORDER BY, DISTINCT ON, GROUP BY stands for: a place or a name among the outputs, or any expression."""
    place = node.get("A_Const", {}).get("ival", {}).get("ival")
    if place is not None:
        uses.by_place = True
        return found.columns[place - 1][1] if found.each is None and 0 < place <= len(found.columns) else found.whole()
    fields = strings(node["ColumnRef"]["fields"]) if "ColumnRef" in node else ()
    named = [item for name, item in found.columns if (name,) == fields]
    if named and outputs_first:
        return either(named)
    local = [item for item in (scope.frames[0] if scope.frames else ()) if not item.aside]
    if not named or any(item.listed(fields[0]) for item in local):
        return value(node, scope, uses)
    # GROUP BY looks among the inputs first. Where these can't be listed it may be either.
    return either([*named, *(guess for item in local if (guess := item.guessed(fields[0])) is not None)])


def _either_arm(arms: list[Rows]) -> Rows:
    """Place by place from any of them, under the first one's names."""
    first = arms[0]
    if all(arm.each is None and len(arm.columns) == len(first.columns) for arm in arms):
        return Rows(
            tuple((name, union([arm.columns[place][1] for arm in arms])) for place, (name, _) in enumerate(first.columns))
        )
    whole = union([arm.whole() for arm in arms])
    return Rows(tuple((name, whole) for name, _ in first.columns), whole)


def _values(lists: list[Tree], scope: Scope, uses: Uses) -> Rows:
    found: list[Value] = []
    for row in lists:
        items = [returned(item, scope, uses) for item in row["List"].get("items", [])]
        found = [either([a, b]) if a != b else a for a, b in zip(found, items, strict=False)] if found else items
    return Rows(tuple((f"column{place}", item) for place, item in enumerate(found, 1)))


def targets(items: list[Tree], joined: list[Joined], scope: Scope, uses: Uses) -> Rows:
    """The columns of a target list."""
    parts: list[Rows] = []
    for item in items:
        target = item["ResTarget"]
        fields = target["val"].get("ColumnRef", {}).get("fields")
        if fields is not None and "A_Star" in fields[-1]:
            parts.append(_starred(strings(fields), joined, scope))
        elif "A_Indirection" in target["val"] and "A_Star" in target["val"]["A_Indirection"]["indirection"][-1]:
            parts.append(Rows(each=computed(value(target["val"]["A_Indirection"]["arg"], scope, uses))))
        else:
            name = target.get("name") or column_name(target["val"])
            parts.append(Rows(((name, returned(target["val"], scope, uses)),)))
    return concatenated(parts)


def _starred(qualifier: tuple[str, ...], joined: list[Joined], scope: Scope) -> Rows:
    if not qualifier:
        return concatenated(item.star for item in joined)
    found = rows_of(qualifier, scope.frames)
    return found.rows if found is not None else Rows(each=UNSURE)


# -- WITH ------------------------------------------------------------------------------------------------------------------------


def with_clause(body: Tree, scope: Scope, uses: Uses) -> Scope:
    """The scope of a statement's own body, behind its CTEs."""
    clause = body.get("withClause")
    if clause is None:
        return scope
    ctes = [item["CommonTableExpr"] for item in clause["ctes"]]
    uses.spend(len(ctes) + len(scope.ctes))
    known = dict(scope.ctes)
    inside = Scope(scope.frames, known, scope.windows)
    if not clause.get("recursive"):
        for cte in ctes:
            known[cte["ctename"]] = _cte(cte, Scope(scope.frames, dict(known), scope.windows), uses)
        return inside
    # Before its first pass a recursive CTE has any columns, without a source.
    known.update({cte["ctename"]: Rows(each=CLEAN) for cte in ctes})
    for cte in ctes:
        first = cte["ctequery"].get("SelectStmt", {})
        if "larg" in first and "withClause" not in first:
            known[cte["ctename"]] = select(first["larg"], inside, uses).renamed(strings(cte.get("aliascolnames", [])))
    for _ in range(MAX_ROUNDS):
        before = dict(known)
        for cte in ctes:
            known[cte["ctename"]] = _cte(cte, Scope(scope.frames, dict(known), scope.windows), uses)
        if known == before:
            return inside
    for cte in ctes:
        known[cte["ctename"]] = Rows(each=union([UNSURE, known[cte["ctename"]].whole()]))
    return inside


def _cte(cte: Tree, scope: Scope, uses: Uses) -> Rows:
    found = rows(cte["ctequery"], scope, uses).renamed(strings(cte.get("aliascolnames", [])))
    if "search_clause" not in cte and "cycle_clause" not in cte:
        return found
    by = {
        name
        for field, names in (("search_clause", "search_col_list"), ("cycle_clause", "cycle_col_list"))
        for name in strings(cte.get(field, {}).get(names, []))
    }
    keys = union([item for name, item in found.columns if name in by])
    uses.match(keys, "CYCLE")
    return Rows(found.columns, keys if found.each is None else union([keys, found.each]), len(found.columns))


# -- FROM ------------------------------------------------------------------------------------------------------------------------


def from_clause(items: list[Tree], scope: Scope, uses: Uses) -> list[Joined]:
    """Each item of a FROM list, which sees those before it."""
    found: list[Joined] = []
    beside: Frame = ()
    for item in items:
        found.append(ranges(item, scope, beside, uses))
        beside = (*beside, *found[-1].ranges)
    return found


def alone(item: Range) -> Joined:
    return Joined((item,), item.rows)


def _alias(body: Tree) -> tuple[str, tuple[str, ...]]:
    alias = body.get("alias", {})
    return alias.get("aliasname", ""), strings(alias.get("colnames", []))


def relation_range(body: Tree, uses: Uses, alias: str) -> Range:
    """A relation, never a CTE."""
    return uses.relation(Name(body["relname"], relation_name(body).schema, body.get("catalogname")), alias)


@rule(RANGE, "RangeVar")
def relation(body: Tree, scope: Scope, _beside: Frame, uses: Uses) -> Joined:
    """A relation or a CTE."""
    alias, columns = _alias(body)
    name = alias or body["relname"]
    if "schemaname" not in body and body["relname"] in scope.ctes:
        return alone(Range(name, scope.ctes[body["relname"]].renamed(columns)))
    found = relation_range(body, uses, name)
    if columns and found.open:
        whole = found.whole()
        return alone(Range(name, Rows(tuple((column, whole) for column in columns), whole)))
    if found.open:
        return Joined((found,), Rows(each=found.whole()))
    return alone(Range(name, found.rows.renamed(columns), found.place))


@rule(RANGE, "RangeSubselect")
def derived(body: Tree, scope: Scope, beside: Frame, uses: Uses) -> Joined:
    """A subquery; it sees what stands to the left only with LATERAL."""
    alias, columns = _alias(body)
    found = rows(body["subquery"], scope.beside(beside) if body.get("lateral") else scope, uses)
    return alone(Range(alias, found.renamed(columns)))


@rule(RANGE, "RangeFunction")
def functions(body: Tree, scope: Scope, beside: Frame, uses: Uses) -> Joined:
    """The rows of one or several functions, whose columns' names are theirs to know."""
    alias, columns = _alias(body)
    calls = [item["List"]["items"][0] for item in body["functions"]]
    found = computed(values(calls, scope.beside(beside), uses))
    defined = [
        item["ColumnDef"]["colname"]
        for items in (body.get("coldeflist", []), *(call["List"]["items"][1:] for call in body["functions"]))
        for definition in items
        for item in (definition.get("List", {}).get("items", []) if "List" in definition else [definition])
        if "ColumnDef" in item
    ]
    name = alias or (column_name(calls[0]) if calls else "")
    return alone(Range(name, Rows(tuple((column, found) for column in (*columns, *defined)), found)))


@rule(RANGE, "JsonTable", "RangeTableFunc")
def document_rows(body: Tree, scope: Scope, beside: Frame, uses: Uses) -> Joined:
    """JSON_TABLE, XMLTABLE: how many rows there are is in the document."""
    alias, columns = _alias(body)
    found = computed(combine(body, scope.beside(beside), uses))
    uses.match(found, "JSON_TABLE or XMLTABLE, of which the number of rows tells")
    return alone(Range(alias or "xmltable", Rows(tuple((column, found) for column in columns), found)))


@rule(RANGE, "RangeTableSample")
def sample(body: Tree, scope: Scope, beside: Frame, uses: Uses) -> Joined:
    """TABLESAMPLE."""
    arguments = [*body.get("args", []), *([body["repeatable"]] if "repeatable" in body else [])]
    uses.match(values(arguments, scope.beside(beside), uses), "TABLESAMPLE")
    return ranges(body["relation"], scope, beside, uses)


@rule(RANGE, "JoinExpr")
def join(body: Tree, scope: Scope, beside: Frame, uses: Uses) -> Joined:
    """A join; USING and NATURAL merge columns, which then come first."""
    left = ranges(body["larg"], scope, beside, uses)
    right = ranges(body["rarg"], scope, (*beside, *left.ranges), uses)
    both = (*left.ranges, *right.ranges)
    if "quals" in body:
        uses.match(value(body["quals"], scope.within(both), uses), "JOIN")
    star = concatenated([left.star, right.star])
    if "usingClause" in body or body.get("isNatural"):
        star = _merged(strings(body.get("usingClause", [])), left, right, uses)
    if "join_using_alias" in body:
        both = (*both, Range(body["join_using_alias"]["aliasname"], Rows(star.columns, star.each), aside=True))
    alias, columns = _alias(body)
    if alias:
        return alone(Range(alias, star.renamed(columns)))
    return Joined(both, star)


def _merged(using: tuple[str, ...], left: Joined, right: Joined, uses: Uses) -> Rows:
    listed = left.star.each is None and right.star.each is None
    if not using and listed:
        known = {name for name, _ in right.star.columns}
        using = tuple(dict.fromkeys(name for name, _ in left.star.columns if name in known))
    elif not using:
        whole = union([left.star.whole(), right.star.whole()])
        uses.match(whole, "NATURAL JOIN")
        return Rows((*left.star.columns, *right.star.columns), whole)
    merged: list[tuple[str, Value]] = []
    for name in using:
        sides = [_side(name, left), _side(name, right)]
        uses.match(union(sides), "JOIN … USING")
        merged.append((name, union(sides)))
    rest = [(name, item) for side in (left, right) for name, item in side.star.columns if name not in using]
    if listed:
        return Rows((*merged, *rest))
    return Rows((*merged, *rest), union([side.star.whole() for side in (left, right)]), len(merged))


def _side(name: str, side: Joined) -> Value:
    found = [item for column, item in side.star.columns if column == name]
    found = found or [guess for item in side.ranges if (guess := item.guessed(name)) is not None]
    return either(found) if found else UNSURE
