"""A SQL text's effects, accesses, flags: the front door of this room.

Each statement family has a module of handlers; importing them here is what fills the table of `visit`. Reading and walking a
short statement costs about 100 µs, so the daemon does it once per shape (`shape`) wherever no literal's value mattered.
"""

from __future__ import annotations

from . import definitions, dml, expressions, maintenance, privileges, query, relations, session
from .analysis import Analysis
from .found import Found
from .functions import UNKNOWN
from .outputs import describe_outputs
from .parse import Misspelt, Statement, Unreadable, parse
from .postgres_names import names
from .visit import visit

FAMILIES = (definitions, dml, expressions, maintenance, privileges, query, relations, session)
"""The modules whose handlers make up the table."""

SHAPED = names(
    """
    SelectStmt InsertStmt UpdateStmt DeleteStmt MergeStmt TransactionStmt DeclareCursorStmt FetchStmt ClosePortalStmt ExecuteStmt
    DeallocateStmt ListenStmt UnlistenStmt NotifyStmt TruncateStmt LockStmt
    """
)
"""Statements whose literals are values unless a handler says otherwise. In all others a string may be a keyword in disguise
(``LANGUAGE 'c'``), a setting's value, a file."""

NO_CTES: frozenset[str] = frozenset()


def analyse(text: str, *, standard_conforming_strings: bool = True) -> Analysis:
    """What running this text (one or several statements) amounts to. Never raises for any text: what can't be read is unknown."""
    try:
        statements = parse(text, standard_conforming_strings=standard_conforming_strings)
        return _analyse(text, statements)
    except Misspelt as error:
        return _unreadable(str(error), error.position if error.position > 0 else len(text) + 1)
    except Unreadable as error:
        return _unreadable(str(error))
    except RecursionError:
        return _unreadable("nested too deeply")


def _analyse(text: str, statements: tuple[Statement, ...]) -> Analysis:
    found = Found()
    octets = text.encode() if any("PrepareStmt" in statement.tree for statement in statements) else b""
    for statement in statements:
        found.text = statement.part_of(octets) if "PrepareStmt" in statement.tree else ""
        if "valuesLists" in statement.tree.get("SelectStmt", {}):
            found.effects.add("select")
        found.literal_sensitive |= next(iter(statement.tree)) not in SHAPED
        visit(statement.tree, NO_CTES, found)
    calls_unknown = any(kind == UNKNOWN for _, kind in found.functions)
    outputs, shown = describe_outputs([statement.tree for statement in statements], calls_unknown=calls_unknown)
    return found.analysis(len(statements), outputs, shown)


def _unreadable(reason: str, misspelt: int = 0) -> Analysis:
    return Analysis(("unknown",), (), (), (), (), statements=0, unknown=reason, misspelt=misspelt, ends_transaction=True)
