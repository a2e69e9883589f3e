"""Follows the values of one text: the front door of this folder."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import msgspec

from ..sql.analysis import Name
from ..sql.found import Tree, strings
from . import asides, expressions, query, statements
from .bodies import Body
from .rows import Named, Range, Rows
from .table import ROWS, RULES, Scope, rows
from .uses import TooComplex, Uses
from .value import UNSURE, Column, Value, union

FAMILIES = (asides, expressions, query, statements)
"""The modules whose rules make up the table."""

RETURNING = frozenset(["InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"])
QUIET = frozenset(
    str.split(
        """
        TransactionStmt ClosePortalStmt DeallocateStmt FetchStmt DiscardStmt LockStmt ListenStmt UnlistenStmt NotifyStmt
        TruncateStmt VariableSetStmt ConstraintsSetStmt
        """
    )
)
"""Statements without expressions over columns: what they are given stands in the text."""
RETURNS = frozenset(["SelectStmt", "CopyStmt", "FetchStmt", "ExecuteStmt", "ExplainStmt", "VariableShowStmt", "CallStmt"])


class Flow(msgspec.Struct, frozen=True):
    """Where the values of a text go."""

    outputs: Named | None = None
    """The columns of its one answer, in order; None when there are several answers, or their columns can't be counted."""
    answer: Value = UNSURE
    """All that is returned, in one value."""
    matched: dict[Column, str] = {}
    used: frozenset[Column] = frozenset()
    assigned: Value = Value()
    stashed: tuple[tuple[str, Value], ...] = ()
    written: dict[tuple[str, str], frozenset[str] | None] = {}
    """As `Uses` has it; what isn't in it may be given to any column."""
    referred: dict[str, frozenset[str]] = {}
    """A relation's last name to the columns that foreign keys refer to; ``""`` stands for its primary key."""
    by_place: bool = False
    """A literal's value mattered, so this holds for the very text."""
    skipped: bool = True
    """A statement that may keep what it reads was not followed."""
    lost: bool = True
    """Something in it can't be followed: everything may go anywhere."""
    unsure: bool = True
    """Something that may depend on any column goes into an expression."""
    called: bool = True
    """What a function or operator of unknown body gives decides about rows, or may: it can depend on any column."""


def follow(
    trees: Sequence[Tree],
    relation: Callable[[Name, str], Range],
    bodies: Callable[[Name], Sequence[Body] | None] = lambda _: None,
    nullness_shown: Collection[Column] = frozenset(),
    computes: Callable[[str, Name], bool] = lambda *_: False,
) -> Flow:
    """What a text's statements do with the values of columns. `relation`, `bodies`, `nullness_shown`,
    `computes`: as `Uses` has them.

    Never raises for a tree that the grammar made. O(nodes), up to `MAX_STEPS`.
    """
    uses = Uses(relation, bodies, nullness_shown, computes)
    answers: list[Rows | None] = []
    defining: list[Tree] = []
    try:
        for tree in trees:
            kind, body = next(iter(tree.items()))
            if kind not in RULES or RULES[kind].role != ROWS:
                uses.skipped |= kind not in QUIET
                defining.append(tree)
                if kind in RETURNS:
                    answers.append(None)
                continue
            found = rows(tree, Scope(), uses)
            if _returns(kind, body, alone=len(trees) == 1):
                answers.append(found)
    except (TooComplex, RecursionError):
        return Flow()
    known = [found for found in answers if found is not None]
    answer = union([found.whole() for found in known])
    if len(known) < len(answers):
        answer = union([answer, UNSURE])
    one = known[0] if len(answers) == 1 and known else None
    outputs = one.columns if one is not None and one.each is None else None
    return Flow(
        outputs,
        answer,
        uses.matched,
        frozenset(uses.used),
        uses.assigned,
        tuple(uses.stashed),
        uses.written,
        referred(defining),
        uses.by_place,
        uses.skipped,
        uses.lost,
        uses.unsure_use,
        uses.unknown_call and uses.unsure_match,
    )


def referred(node: Any) -> dict[str, frozenset[str]]:
    """The keys to which definitions of foreign keys refer: relation to columns, as `Flow` has them. O(nodes)."""
    found: dict[str, frozenset[str]] = {}
    waiting = [node]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if "pktable" in item:
                relation = item["pktable"]["relname"]
                found[relation] = found.get(relation, frozenset()) | (frozenset(strings(item.get("pk_attrs", []))) or {""})
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
    return found


def _returns(kind: str, body: Tree, *, alone: bool) -> bool:
    """Whether the statement answers with rows. A cursor's come later, and are told of where it is the whole text."""
    if kind == "SelectStmt":
        while "larg" in body:
            body = body["larg"]
        return "intoClause" not in body
    if kind in RETURNING:
        return "returningClause" in body
    if kind == "CopyStmt":
        return not body.get("is_from") and "filename" not in body
    return kind in RETURNS or (alone and kind in ("DeclareCursorStmt", "PrepareStmt"))
