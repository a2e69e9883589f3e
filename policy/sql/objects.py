"""What a DDL statement's object is, as an access: a relation, a function, a schema, or something else of the database."""

from __future__ import annotations

from .analysis import Access, Name
from .found import Found, Tree, name_of, relation_name, strings
from .functions import PURE, classify
from .visit import Scope, children, visit

DEFINES = frozenset({"create", "alter", "drop"})

RELATIONS = frozenset(
    {"OBJECT_TABLE", "OBJECT_VIEW", "OBJECT_MATVIEW", "OBJECT_FOREIGN_TABLE", "OBJECT_SEQUENCE", "OBJECT_INDEX"}
)

PARTS = frozenset({"OBJECT_TRIGGER", "OBJECT_POLICY", "OBJECT_RULE", "OBJECT_COLUMN", "OBJECT_TABCONSTRAINT"})
"""Parts of a relation, named by the relation's name and their own behind it."""

FUNCTIONS = frozenset({"OBJECT_FUNCTION", "OBJECT_PROCEDURE", "OBJECT_ROUTINE", "OBJECT_AGGREGATE", "OBJECT_OPERATOR"})

GLOBAL = frozenset(
    {
        "OBJECT_ACCESS_METHOD",
        "OBJECT_CAST",
        "OBJECT_DATABASE",
        "OBJECT_DOMCONSTRAINT",
        "OBJECT_EVENT_TRIGGER",
        "OBJECT_EXTENSION",
        "OBJECT_FDW",
        "OBJECT_FOREIGN_SERVER",
        "OBJECT_LANGUAGE",
        "OBJECT_LARGEOBJECT",
        "OBJECT_OPCLASS",
        "OBJECT_OPFAMILY",
        "OBJECT_PARAMETER_ACL",
        "OBJECT_PUBLICATION",
        "OBJECT_ROLE",
        "OBJECT_SUBSCRIPTION",
        "OBJECT_TABLESPACE",
        "OBJECT_TRANSFORM",
    }
)
"""Objects that no schema holds, or whose list of names says more than a qualified name."""


def word(objtype: str) -> str:
    """``OBJECT_FOREIGN_TABLE`` → ``foreign table``."""
    return objtype.removeprefix("OBJECT_").replace("_", " ").lower()


def parts_of(node: Tree) -> tuple[str, ...]:
    """The parts of the name of an object, in whichever node the grammar put it."""
    for kind, body in node.items():
        if kind == "List":
            return tuple(".".join(parts_of(item)) for item in body.get("items", []))
        if kind == "String":
            return (body.get("sval", ""),)
        if kind == "ObjectWithArgs":
            return strings(body["objname"])
        if kind == "TypeName":
            return strings(body["names"])
        if kind == "RangeVar":
            name = relation_name(body)
            return tuple(part for part in (name.database, name.schema, name.name) if part is not None)
    return ()


def act_on(action: str, objtype: str, parts: tuple[str, ...], found: Found) -> None:
    """Enter the access to one object, under the kind that policies know it by."""
    found.effects.add(action)
    if action in DEFINES:
        found.flags.add("ddl")
    if objtype in RELATIONS or objtype in PARTS:
        _on_relation(action, objtype, parts, found)
    elif objtype in FUNCTIONS:
        found.accesses.add(Access(action, "function", name_of(parts)))
    elif objtype == "OBJECT_SCHEMA":
        found.accesses.add(Access(action, "schema", Name(parts[-1] if parts else "")))
    elif objtype not in GLOBAL and len(parts) > 1:
        found.accesses.add(Access(action, "schema", Name(parts[-2]), f"{word(objtype)} {parts[-1]}"))
    else:
        found.accesses.add(Access(action, "database", None, f"{word(objtype)} {'.'.join(parts)}".rstrip()))


def _on_relation(action: str, objtype: str, parts: tuple[str, ...], found: Found) -> None:
    detail = ""
    if objtype in PARTS:
        parts, detail = parts[:-1], f"{word(objtype)} {parts[-1] if parts else ''}"
    elif objtype != "OBJECT_TABLE":
        detail = word(objtype)
    schema = parts[-2] if len(parts) > 1 else None
    name = relation_name({"relname": parts[-1] if parts else "", **({"schemaname": schema} if schema is not None else {})})
    name = Name(name.name, name.schema, ".".join(parts[:-2]) or None)
    found.accesses.add(Access(action, "table", name, detail))
    if action in DEFINES and objtype != "OBJECT_INDEX":
        found.writes.add(name)


def act_on_relation(action: str, body: Tree, found: Found, detail: str = "") -> None:
    """CREATE, ALTER, DROP of a relation, or of something on it, given as a RangeVar."""
    found.flags.add("ddl")
    found.write(action, relation_name(body), detail)


def stored(body: Tree, scope: Scope, found: Found, *, skip: tuple[str, ...] = ()) -> None:
    """Walk expressions that a definition keeps (defaults, checks, index columns).

    They run with somebody's later statement, so they have no effects now; but nobody is asked again then, so what they call,
    read must be permitted now.
    """
    inner = Found(found.text)
    children(body, scope, inner, skip=skip)
    found.accesses |= inner.accesses
    found.functions |= inner.functions
    found.literal_sensitive |= inner.literal_sensitive
    for reason in inner.reasons:
        found.unknown(reason)


def refer(parts: tuple[str, ...], found: Found) -> None:
    """A definition names a function that will run under another name: as a trigger, an operator, an aggregate."""
    name = name_of(parts)
    kind = classify(name)
    found.functions.add((name, kind))
    found.flags.add("deferred")
    if kind != PURE:
        found.accesses.add(Access("call", "function", name))


def later(node: Tree, scope: Scope, found: Found) -> None:
    """A statement that a definition keeps (a view's query, a rule's action): its effects count, since the text shows them."""
    found.flags.add("deferred")
    visit(node, scope, found)
