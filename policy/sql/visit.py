"""The table of node types, by which a tree of PostgreSQL's grammar is walked.

Theory of operation ------------------- libpg_query's JSON knows two kinds of objects. A field of type ``Node *`` holds a
*wrapped* node, ``{"SelectStmt": {…}}``; a field of a concrete type (``RangeVar *relation``) holds the *bare* body. Type names
begin with a capital, field names never do, so one look at the first key tells them apart, and no description of the structures
is needed at run time.

Every node type has a handler in `HANDLERS`, put there with `handles` by the module of its family. A type without one makes the
text unknown: a new PostgreSQL release cannot open a hole, it can only close a door. Bare bodies met by `children` are walked
like their parent, except relations: a relation that no handler expected is unknown too, so a forgotten field cannot hide a
table.

A scope is the set of CTE names visible at a place. That is all name resolution needs from the text: an unqualified relation of
that name is the CTE, anything else is a relation of the database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .found import Found, Tree

Scope = frozenset[str]
"""Names of the CTEs that an unqualified relation may stand for here."""

Handler = Callable[[Tree, Scope, Found], None]

HANDLERS: dict[str, Handler] = {}
"""Node type → what to do with its body."""

NAMES_ONLY = frozenset({"alias", "typeName", "join_using_alias", "format", "returning"})
"""Bare fields that hold nothing but names, types and keywords."""


def handles(*kinds: str) -> Callable[[Handler], Handler]:
    """Enter a handler into the table for these node types."""

    def enter(handler: Handler) -> Handler:
        for kind in kinds:
            assert kind not in HANDLERS, kind
            HANDLERS[kind] = handler
        return handler

    return enter


def visit(node: Tree, scope: Scope, found: Found) -> None:
    """Walk one wrapped node. ``{}`` stands for a null in a list."""
    for kind, body in node.items():
        handler = HANDLERS.get(kind)
        if handler is None:
            found.unknown(f"{kind} is not a part of SQL that hostguard knows")
        else:
            handler(body, scope, found)


def visit_all(nodes: Iterable[Tree], scope: Scope, found: Found) -> None:
    """Walk each of a list of wrapped nodes. Long lists are lists of leaves, which cost no call."""
    for node in nodes:
        for kind in node:
            if HANDLERS.get(kind) is not nothing:
                visit(node, scope, found)


def is_wrapped(value: Tree) -> bool:
    """Whether this object is a wrapped node rather than a bare body."""
    return next(iter(value), "a")[0].isupper()


def children(body: Tree, scope: Scope, found: Found, *, skip: tuple[str, ...] = ()) -> None:
    """Walk everything below a body, whatever its type; fields in `skip` have been taken care of."""
    for field, value in body.items():
        if value.__class__ is list:
            if field not in skip:
                visit_all(value, scope, found)
        elif value.__class__ is dict and field not in skip and field not in NAMES_ONLY and value:
            if is_wrapped(value):
                visit(value, scope, found)
            elif "relname" in value:
                found.unknown(f"a relation ({value['relname']}) where none was expected")
            else:
                children(value, scope, found)


def nothing(_body: Tree, _scope: Scope, _found: Found) -> None:
    """For leaves: constants, names, keywords."""
