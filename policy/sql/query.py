"""Handlers of SELECT, of what stands in FROM, WITH."""

from __future__ import annotations

from collections.abc import Iterator

from .analysis import Access, Name
from .found import Found, Tree, name_of, relation_name, strings
from .tautology import note_tautology
from .visit import Scope, children, handles, nothing

MAX_CTES = 500
"""Most CTEs in one WITH: each makes a scope of its own, of which the time is quadratic."""

MODIFIES = ("InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt")

handles("JoinExpr", "RangeFunction", "RangeSubselect", "RangeTableFunc", "JsonTable")(children)


def with_clause(body: Tree, scope: Scope, found: Found) -> Scope:
    """Walk a statement's WITH; the scope of the statement's own body.

    Without RECURSIVE a CTE sees those before it; with it, all of the list, forward too.
    """
    clause = body.get("withClause")
    if clause is None:
        return scope
    ctes = [item["CommonTableExpr"] for item in clause["ctes"]]
    everything = scope | {cte["ctename"] for cte in ctes}
    if len(ctes) > MAX_CTES:
        found.unknown(f"more than {MAX_CTES} CTEs in one WITH")
        return everything
    visible = everything if clause.get("recursive") else scope
    for cte in ctes:
        if next(iter(cte["ctequery"])) in MODIFIES:
            found.flags.add("data_modifying_cte")
        children(cte, visible, found)
        visible = visible | {cte["ctename"]}
    return everything


def is_cte(body: Tree, scope: Scope) -> bool:
    """Whether a RangeVar names a CTE that is visible here. A qualified name never does."""
    return "schemaname" not in body and body.get("relname") in scope


@handles("RangeVar")
def range_var(body: Tree, scope: Scope, found: Found) -> None:
    """A relation in FROM: its rows are read, unless it is a CTE, whose own walk has said what is read."""
    if not is_cte(body, scope):
        found.read(relation_name(body))


@handles("RangeTableSample")
def table_sample(body: Tree, scope: Scope, found: Found) -> None:
    """TABLESAMPLE: its method is a function."""
    found.function(name_of(strings(body["method"])))
    children(body, scope, found, skip=("method",))


@handles("SelectStmt")
def select(body: Tree, scope: Scope, found: Found) -> None:
    """SELECT, TABLE, VALUES, set operations of those. VALUES alone reads nothing, so it adds no effect here."""
    while True:
        scope = with_clause(body, scope, found)
        if "valuesLists" not in body and "larg" not in body:
            found.effects.add("select")
        if "intoClause" in body:
            found.flags |= {"into", "ddl"}
            created(body["intoClause"], scope, found)
        if "whereClause" in body:
            note_tautology(body["whereClause"], found)
        if "lockingClause" in body:
            _locking(body, scope, found)
        children(body, scope, found, skip=("withClause", "intoClause", "larg", "rarg", "lockingClause"))
        if "larg" not in body:
            return
        select(body["rarg"], scope, found)
        body = body["larg"]


handles("LockingClause")(nothing)


def created(into: Tree, scope: Scope, found: Found) -> None:
    """The table that SELECT INTO, CREATE TABLE AS makes."""
    found.write("create", created_name(into["rel"]))
    children(into, scope, found, skip=("rel", "viewQuery"))


def created_name(body: Tree) -> Name:
    """The name of a relation to be made: never a system relation by its bare name; temporary ones are in pg_temp."""
    schema = body.get("schemaname")
    if schema is None and body.get("relpersistence") == "t":
        schema = "pg_temp"
    return Name(body.get("relname", ""), schema, body.get("catalogname"))


def _locking(body: Tree, scope: Scope, found: Found) -> None:
    """FOR UPDATE, FOR SHARE: rows are read, and kept from others until the transaction ends."""
    found.flags.add("locking")
    named: set[str] | None = set()
    for clause in body["lockingClause"]:
        of = clause["LockingClause"].get("lockedRels")
        named = None if of is None or named is None else named | {item["RangeVar"].get("relname", "") for item in of}
    for alias, name in _ranges(body.get("fromClause", []), scope):
        if named is None or alias in named:
            found.accesses.add(_lock(name))


def _lock(name: Name) -> Access:
    return Access("lock", "table", name, "rows")


def _ranges(items: list[Tree], scope: Scope, within: str = "") -> Iterator[tuple[str, Name]]:
    """(alias, relation) of the tables in a FROM; those of a subquery under the subquery's alias, as locks reach into it."""
    for item in items:
        for kind, body in item.items():
            alias = within or body.get("alias", {}).get("aliasname") or body.get("relname", "")
            if kind == "RangeVar" and not is_cte(body, scope):
                yield alias, relation_name(body)
            elif kind == "JoinExpr":
                yield from _ranges([body["larg"], body["rarg"]], scope, within or body.get("alias", {}).get("aliasname", ""))
            elif kind == "RangeSubselect":
                yield from _select_ranges(body["subquery"]["SelectStmt"], scope, alias)
            elif kind == "RangeTableSample":
                yield from _ranges([body["relation"]], scope, within)


def _select_ranges(body: Tree, scope: Scope, within: str) -> Iterator[tuple[str, Name]]:
    scope = scope | {item["CommonTableExpr"]["ctename"] for item in body.get("withClause", {}).get("ctes", [])}
    yield from _ranges(body.get("fromClause", []), scope, within)
