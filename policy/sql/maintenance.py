"""Handlers of the statements that tend a database: EXPLAIN, VACUUM, COMMENT, ALTER SYSTEM, LOAD."""

from __future__ import annotations

from .analysis import Access
from .found import Found, Tree, relation_name
from .functions import UNKNOWN, classify
from .objects import act_on, parts_of
from .session import setting_names
from .visit import Scope, handles, visit

TRUE = frozenset({"true", "on", "1"})
FALSE = frozenset({"false", "off", "0"})


@handles("ExplainStmt")
def explain(body: Tree, scope: Scope, found: Found) -> None:
    """EXPLAIN plans only; with ANALYZE the statement runs."""
    found.effects.add("explain")
    if _is_on("analyze", body.get("options", []), found):
        found.flags.add("explain_analyze")
        found.session("explain")
        visit(body["query"], scope, found)
    else:
        _planned(body["query"], scope, found)


def _is_on(wanted: str, options: list[Tree], found: Found) -> bool:
    """A boolean option as defGetBoolean reads it; the last of several counts, a value that it would refuse counts as on."""
    on = False
    for item in options:
        option = item["DefElem"]
        if option["defname"] == wanted:
            on = "arg" not in option or _truth(option["arg"])
            found.literal_sensitive |= "arg" in option
    return on


def _truth(arg: Tree) -> bool:
    for kind, body in arg.items():
        if kind == "Integer":
            return bool(body.get("ival", 0) != 0)
        if kind in ("String", "Float"):
            return str(next(iter(body.values()), "")).lower() not in FALSE
        if kind == "Boolean":
            return bool(body.get("boolval", False))
    return True


def _planned(query: Tree, scope: Scope, found: Found) -> None:
    """What planning alone asks: `explain` on every relation, `call` on functions that folding may run."""
    inner = Found(found.text)
    visit(query, scope, inner)
    for reason in inner.reasons:
        found.unknown(reason)
    for access in inner.accesses:
        if access.kind == "function" and access.name is not None and classify(access.name) == UNKNOWN:
            found.accesses.add(access)
        elif access.kind == "table" and access.name is not None:
            found.accesses.add(Access("explain", "table", access.name))
    found.functions |= inner.functions
    found.literal_sensitive |= inner.literal_sensitive
    if not any(access.action == "explain" for access in found.accesses):
        found.session("explain")


@handles("VacuumStmt")
def vacuum(body: Tree, _scope: Scope, found: Found) -> None:
    """VACUUM, ANALYZE, or the first with the second as an option."""
    actions = ["vacuum"] if body.get("is_vacuumcmd") else ["analyze"]
    if body.get("is_vacuumcmd") and _is_on("analyze", body.get("options", []), found):
        actions.append("analyze")
    for action in actions:
        found.effects.add(action)
        for item in body.get("rels", []):
            found.touch(action, relation_name(item["VacuumRelation"]["relation"]))
        if not body.get("rels"):
            found.session(action)


@handles("ClusterStmt")
def cluster(body: Tree, _scope: Scope, found: Found) -> None:
    """CLUSTER."""
    if "relation" in body:
        found.touch("cluster", relation_name(body["relation"]))
    else:
        found.session("cluster")


@handles("ReindexStmt")
def reindex(body: Tree, _scope: Scope, found: Found) -> None:
    """REINDEX of a table, an index, a schema, a database."""
    if "relation" in body:
        found.touch("reindex", relation_name(body["relation"]), "index" if body["kind"] == "REINDEX_OBJECT_INDEX" else "")
    elif body["kind"] == "REINDEX_OBJECT_SCHEMA":
        act_on("reindex", "OBJECT_SCHEMA", (body.get("name", ""),), found)
    else:
        found.session("reindex", body.get("name", ""))


@handles("CommentStmt")
def comment(body: Tree, _scope: Scope, found: Found) -> None:
    """COMMENT ON."""
    act_on("comment", body["objtype"], parts_of(body["object"]), found)


@handles("SecLabelStmt")
def security_label(body: Tree, _scope: Scope, found: Found) -> None:
    """SECURITY LABEL."""
    act_on("security_label", body["objtype"], parts_of(body["object"]), found)


@handles("AlterSystemStmt")
def alter_system(body: Tree, _scope: Scope, found: Found) -> None:
    """ALTER SYSTEM: settings of the whole server."""
    found.flags.add("superuser")
    for name in setting_names(body["setstmt"]):
        found.session("alter_system", name)


@handles("LoadStmt")
def load(body: Tree, _scope: Scope, found: Found) -> None:
    """LOAD: a shared library's code runs in the server."""
    found.flags |= {"file", "opaque", "superuser"}
    found.session("load", body.get("filename", ""))


@handles("CheckPointStmt")
def checkpoint(_body: Tree, _scope: Scope, found: Found) -> None:
    """CHECKPOINT."""
    found.session("checkpoint")
