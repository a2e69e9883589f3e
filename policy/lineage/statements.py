"""Rules of the statements that write, define, or run a query in some other way."""

from __future__ import annotations

from ..sql.analysis import Name
from ..sql.found import Tree, relation_name, strings
from .query import alone, from_clause, relation_range, targets, with_clause
from .rows import Range, Rows
from .table import ROWS, Joined, Scope, combine, ranges, rows, rule, value, values
from .uses import Uses
from .value import CLEAN, UNSURE, Value, either, union

NONE = Rows()


def _target(body: Tree, uses: Uses) -> Range:
    target = body["relation"]
    return relation_range(target, uses, target.get("alias", {}).get("aliasname") or target["relname"])


def _assigned(items: list[Tree], scope: Scope, uses: Uses) -> dict[str, Value]:
    """The columns with what they are given."""
    found: dict[str, Value] = {}
    for item in items:
        target = item["ResTarget"]
        given = value(target["val"], scope, uses) if "val" in target else CLEAN
        uses.assign(given)
        uses.match(values(target.get("indirection", []), scope, uses), "a subscript")
        name = target.get("name", "")
        found[name] = union([found.get(name, CLEAN), given])
    return found


def _name(body: Tree) -> Name:
    return Name(body["relname"], relation_name(body).schema, body.get("catalogname"))


def _inserted(target: Range, cols: list[Tree], count: int | None) -> frozenset[str] | None:
    """The columns that get values: those that are listed, else the first `count`, which is None where it isn't known."""
    if cols:
        return frozenset(item["ResTarget"]["name"] for item in cols)
    if count is None or target.rows.each is not None or target.open:
        return None
    return frozenset(name for name, _ in target.rows.columns[:count])


@rule(ROWS, "InsertStmt")
def insert(body: Tree, scope: Scope, uses: Uses) -> Rows:
    """INSERT; what it inserts is seen by ON CONFLICT as the row ``excluded``."""
    scope = with_clause(body, scope, uses)
    target = _target(body, uses)
    given = rows(body["selectStmt"], scope, uses) if "selectStmt" in body else NONE
    source = given.whole()
    uses.assign(source)
    name = body["relation"]["relname"]
    uses.write("insert", name, _inserted(target, body.get("cols", []), len(given.columns) if given.each is None else None))
    names = [item["ResTarget"]["name"] for item in body.get("cols", [])] or [column for column, _ in target.rows.columns]
    listed = given.each is None and target.rows.each is None and not target.open and len(given.columns) <= len(names)
    placed = {column: value for column, (_, value) in zip(names, given.columns, strict=False)} if listed else None
    uses.fill(_name(body["relation"]), placed, source)
    uses.match(
        values([i for c in body.get("cols", []) for i in c["ResTarget"].get("indirection", [])], scope, uses), "a subscript"
    )
    if "onConflictClause" in body:
        excluded = Range("excluded", Rows(tuple((n, source) for n, _ in target.rows.columns), source), aside=True)
        _on_conflict(body["onConflictClause"], scope.within((target, excluded)), target, body["relation"], uses)
    return _returning(body, [alone(target)], scope, uses)


def _on_conflict(body: Tree, scope: Scope, target: Range, relation: Tree, uses: Uses) -> None:
    infer = body.get("infer", {})
    for item in infer.get("indexElems", []):
        column = item["IndexElem"].get("name")
        found = target.listed(column) or [target.guessed(column) or CLEAN] if column else [value(item, scope, uses)]
        uses.match(union(found), "ON CONFLICT")
    for clause in (infer, body):
        if "whereClause" in clause:
            uses.match(value(clause["whereClause"], scope, uses), "WHERE")
    _updated(relation, _assigned(body.get("targetList", []), scope, uses), uses)


def _updated(relation: Tree, given: dict[str, Value], uses: Uses) -> None:
    uses.write("update", relation["relname"], frozenset(given))
    uses.fill(_name(relation), given, CLEAN)


@rule(ROWS, "UpdateStmt", "DeleteStmt")
def change(body: Tree, scope: Scope, uses: Uses) -> Rows:
    """UPDATE … FROM, DELETE … USING."""
    scope = with_clause(body, scope, uses)
    items = [alone(_target(body, uses)), *from_clause([*body.get("fromClause", []), *body.get("usingClause", [])], scope, uses)]
    inner = scope.within(tuple(item for joined in items for item in joined.ranges))
    _updated(body["relation"], _assigned(body.get("targetList", []), inner, uses), uses)
    if "whereClause" in body:
        uses.match(value(body["whereClause"], inner, uses), "WHERE")
    return _returning(body, items, scope, uses)


@rule(ROWS, "MergeStmt")
def merge(body: Tree, scope: Scope, uses: Uses) -> Rows:
    """MERGE with its branches."""
    scope = with_clause(body, scope, uses)
    items = [ranges(body["sourceRelation"], scope, (), uses), alone(_target(body, uses))]
    inner = scope.within(tuple(item for joined in items for item in joined.ranges))
    uses.match(value(body["joinCondition"], inner, uses), "MERGE … ON")
    for item in body.get("mergeWhenClauses", []):
        branch = item["MergeWhenClause"]
        if "condition" in branch:
            uses.match(value(branch["condition"], inner, uses), "WHEN")
        given = branch.get("values", [])
        named = _assigned(branch.get("targetList", []), inner, uses)
        uses.assign(values(given, inner, uses))
        if branch["commandType"] == "CMD_UPDATE":
            _updated(body["relation"], named, uses)
        elif branch["commandType"] == "CMD_INSERT":
            columns = frozenset(named) or _inserted(items[1].ranges[0], [], len(given))
            uses.write("insert", body["relation"]["relname"], columns)
            uses.fill(_name(body["relation"]), None, values(given, inner, uses))
    return _returning(body, items, scope, uses)


def _returning(body: Tree, items: list[Joined], scope: Scope, uses: Uses) -> Rows:
    clause = body.get("returningClause")
    if clause is None:
        return NONE
    target = items[-1].ranges[0] if "sourceRelation" in body else items[0].ranges[0]
    options = {item["ReturningOption"].get("value", "") for item in clause.get("options", [])}
    states = tuple(Range(name, target.rows, target.place, target.open, aside=True) for name in sorted({"old", "new"} | options))
    inner = scope.within((*(item for joined in items for item in joined.ranges), *states))
    starred = [Joined(i.ranges, Rows(each=i.ranges[0].whole()) if i.ranges and i.ranges[0].open else i.star) for i in items]
    return targets(clause["exprs"], starred, inner, uses)


@rule(ROWS, "CreateTableAsStmt", "ViewStmt")
def keep_rows(body: Tree, scope: Scope, uses: Uses) -> Rows:
    """CREATE TABLE AS, CREATE VIEW: what the query returns can be read later. EXECUTE's text is looked at by itself."""
    if "ExecuteStmt" in body["query"]:
        uses.lost = True
    else:
        uses.assign(rows(body["query"], scope, uses).whole())
    return NONE


@rule(ROWS, "DeclareCursorStmt", "PrepareStmt")
def later(body: Tree, scope: Scope, uses: Uses) -> Rows:
    """DECLARE CURSOR, PREPARE: a query whose rows come later."""
    return rows(body["query"], scope, uses)


@rule(ROWS, "CopyStmt")
def copy(body: Tree, scope: Scope, uses: Uses) -> Rows:
    """COPY TO with its rows, which a file or a program keeps; COPY FROM reads none."""
    if body.get("is_from"):
        uses.write("insert", body["relation"]["relname"], frozenset(strings(body.get("attlist", []))) or None)
        return NONE
    found = rows(body["query"], scope, uses) if "query" in body else _copied_table(body, uses)
    if "filename" in body:
        uses.assign(found.whole())
    return found


def _copied_table(body: Tree, uses: Uses) -> Rows:
    target = _target(body, uses)
    columns = strings(body.get("attlist", []))
    if target.open and columns:
        return Rows(tuple((name, target.guessed(name) or CLEAN) for name in columns))
    if columns:
        return Rows(tuple((name, either(target.listed(name) or [target.whole()])) for name in columns))
    return Rows(target.rows.columns, target.whole()) if target.open else target.rows


@rule(ROWS, "ExplainStmt")
def explain(body: Tree, scope: Scope, uses: Uses) -> Rows:
    """EXPLAIN: a plan shows what the text says and what planning finds out, not what the rows hold."""
    rows(body["query"], scope, uses)
    # Planning may run a function of unknown body, so the plan may show what it returns.
    return Rows((("QUERY PLAN", UNSURE if uses.unknown_call else CLEAN),))


@rule(ROWS, "VariableShowStmt")
def show(body: Tree, _scope: Scope, _uses: Uses) -> Rows:
    """SHOW: a setting, into which nothing hidden may have been written."""
    return Rows(((str(body.get("name", "")), CLEAN),))


@rule(ROWS, "CallStmt", "ExecuteStmt")
def arguments(body: Tree, scope: Scope, uses: Uses) -> Rows:
    """CALL, EXECUTE: what they return is not in this text."""
    given: Value = combine(body, scope, uses)
    uses.assign(given)
    return Rows(each=Value(given.columns, False, False))
