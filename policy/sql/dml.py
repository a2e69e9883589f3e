"""Handlers of the statements that change rows: INSERT, UPDATE, DELETE, MERGE, TRUNCATE, COPY."""

from __future__ import annotations

from .analysis import Access, Name
from .found import Found, Tree, relation_name
from .query import with_clause
from .tautology import note_tautology
from .visit import Scope, children, handles, visit

ACTIONS = {"CMD_INSERT": "insert", "CMD_UPDATE": "update", "CMD_DELETE": "delete"}


@handles("InsertStmt")
def insert(body: Tree, scope: Scope, found: Found) -> None:
    """INSERT; ``ON CONFLICT DO UPDATE`` makes it an update as well."""
    target = relation_name(body["relation"])
    found.write("insert", target)
    scope = with_clause(body, scope, found)
    if body.get("onConflictClause", {}).get("action") == "ONCONFLICT_UPDATE":
        found.write("update", target)
    _returning(body, target, found)
    children(body, scope, found, skip=("relation", "withClause"))


@handles("UpdateStmt")
def update(body: Tree, scope: Scope, found: Found) -> None:
    """UPDATE. Through ``pg_settings`` it is a SET: the view has a rule that calls set_config."""
    target = relation_name(body["relation"])
    found.write("update", target)
    if target == Name("pg_settings", "pg_catalog"):
        found.flags |= {"session_setting", "role_change"}
        found.session("set", "*")
    _restricted(body, target, scope, found)


@handles("DeleteStmt")
def delete(body: Tree, scope: Scope, found: Found) -> None:
    """DELETE."""
    target = relation_name(body["relation"])
    found.write("delete", target)
    _restricted(body, target, scope, found)


def _restricted(body: Tree, target: Name, scope: Scope, found: Found) -> None:
    """What UPDATE, DELETE share: WITH, a WHERE or none, RETURNING, other relations."""
    scope = with_clause(body, scope, found)
    if "whereClause" not in body:
        found.flags.add("no_where")
    else:
        note_tautology(body["whereClause"], found)
    _returning(body, target, found)
    children(body, scope, found, skip=("relation", "withClause"))


def _returning(body: Tree, target: Name, found: Found) -> None:
    """RETURNING shows the target's rows, which takes more than the right to change them."""
    if "returningClause" in body:
        found.flags.add("returning")
        found.accesses.add(Access("select", "table", target, "returning"))


@handles("MergeStmt")
def merge(body: Tree, scope: Scope, found: Found) -> None:
    """MERGE, with the actions of its branches. A join condition that is always true restricts nothing."""
    target = relation_name(body["relation"])
    found.write("merge", target)
    scope = with_clause(body, scope, found)
    note_tautology(body["joinCondition"], found)
    for item in body.get("mergeWhenClauses", []):
        branch = item["MergeWhenClause"]
        if (action := ACTIONS.get(branch["commandType"])) is not None:
            found.write(action, target)
        elif branch["commandType"] != "CMD_NOTHING":
            found.unknown(f"MERGE branch {branch['commandType']}")
        children(branch, scope, found)
    _returning(body, target, found)
    children(body, scope, found, skip=("relation", "withClause", "mergeWhenClauses"))


@handles("TruncateStmt")
def truncate(body: Tree, _scope: Scope, found: Found) -> None:
    """TRUNCATE."""
    for item in body["relations"]:
        found.write("truncate", relation_name(item["RangeVar"]))
    if body.get("behavior") == "DROP_CASCADE":
        found.flags.add("cascade")


@handles("CopyStmt")
def copy(body: Tree, scope: Scope, found: Found) -> None:
    """COPY in both directions, of a table or a query, with the client, a server file or a program."""
    if "filename" in body:
        found.flags.add("program" if body.get("is_program") else "file")
    if "query" in body:
        _copy_query(body["query"], scope, found)
    elif body.get("is_from"):
        target = relation_name(body["relation"])
        found.write("copy_in", target)
        found.accesses.add(Access("insert", "table", target, "copy"))
    else:
        source = relation_name(body["relation"])
        found.touch("copy_out", source)
        found.reads.add(source)
        found.accesses.add(Access("select", "table", source, "copy"))
    if "whereClause" in body:
        visit(body["whereClause"], scope, found)


def _copy_query(query: Tree, scope: Scope, found: Found) -> None:
    """COPY (query) TO copies out whatever the query reads, returns."""
    inner = Found(found.text)
    visit(query, scope, inner)
    sources = inner.reads | {access.name for access in inner.accesses if access.detail == "returning" and access.name is not None}
    found.absorb(inner)
    found.effects.add("copy_out")
    if not sources:
        found.session("copy_out")
    for source in sources:
        found.touch("copy_out", source)
