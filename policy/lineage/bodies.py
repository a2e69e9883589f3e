"""Functions that are texts in SQL: what they return is what their query does.

Names in the text mean what they mean to the caller, whose search_path is in force. A parameter is found behind the columns of the
query, as the server finds it (PostgreSQL 18 docs §36.5.1).
"""

from __future__ import annotations

import msgspec

from ..sql.analysis import Name
from ..sql.parse import Unreadable, parse
from .rows import Range, Rows
from .table import Scope, rows_with_choice
from .uses import Uses
from .value import Value, union

MAX_DEPTH = 8
"""Functions that call functions."""


class Body(msgspec.Struct, frozen=True):
    """One function that a call may mean."""

    text: str
    parameters: tuple[str, ...]


def inlined(name: Name, given: Value, uses: Uses) -> Value | None:
    """What a call returns that is given `given`; None where that can't be told from the texts of all that it may mean."""
    bodies = uses.bodies(name)
    if not bodies or uses.depth >= MAX_DEPTH:
        return None
    uses.depth += 1
    found = [_returned(name, body, given, uses) for body in bodies]
    uses.depth -= 1
    known = [value for value in found if value is not None]
    return union([given, *known]) if len(known) == len(found) else None


def _returned(name: Name, body: Body, given: Value, uses: Uses) -> Value | None:
    try:
        statements = parse(body.text)
    except Unreadable:
        return None
    if len(statements) != 1 or "SelectStmt" not in statements[0].tree:
        return None
    parameters = Range(name.name, Rows(tuple((parameter, given) for parameter in body.parameters)))
    return union(rows_with_choice(statements[0].tree, Scope(((parameters,),)), uses))
