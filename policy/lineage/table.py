"""The table of node types, by which values are followed through a tree of PostgreSQL's grammar.

Every type of libpg_query's is in `RULES` in one of five roles, and has a function:

- ``value``: it stands in expressions; the function gives its `Value`;
- ``part``: it stands in expressions below one of these, which looks into it; by itself it is worth what it holds;
- ``rows``: a statement or query; the function gives the `Rows` that it returns;
- ``range``: it stands in FROM; the function gives a `Joined`;
- ``aside``: it is no part of what is followed. Met in an expression all the same, the value is unsure.

A type that isn't in the table is unsure as well: a new release can't open a hole. `tests/policy/lineage` fails when libpg_query
knows a type that the table doesn't.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from ..sql.found import Tree
from ..sql.visit import is_wrapped
from .rows import Frame, Frames, Named, Rows
from .uses import Uses
from .value import CLEAN, UNSURE, Value, union

VALUE, PART, ROWS, RANGE, ASIDE = "value", "part", "rows", "range", "aside"
NAMES_ONLY = frozenset(["alias", "typeName", "join_using_alias", "format", "funcname", "name", "operName", "useOp"])
"""Fields that hold nothing but names, types and keywords."""


class Scope(msgspec.Struct, frozen=True):
    """What names mean at one place of a statement."""

    frames: Frames = ()
    ctes: dict[str, Rows] = {}
    windows: Value = CLEAN
    """Of the WINDOW clause: what any named window depends on."""

    def within(self, frame: Frame) -> Scope:
        """Inside a query over these ranges."""
        return Scope((frame, *self.frames), self.ctes, self.windows)

    def beside(self, frame: Frame) -> Scope:
        """In a FROM clause, where what stands to the left can be seen."""
        return self.within(frame) if frame else self


class Joined(msgspec.Struct, frozen=True):
    """One item of FROM: its ranges, and what ``*`` makes of it."""

    ranges: Frame
    star: Rows


class Rule(msgspec.Struct, frozen=True):
    """What to do with one type of node."""

    role: str
    apply: Callable[..., Any]


RULES: dict[str, Rule] = {}


def rule(role: str, *kinds: str) -> Callable[[Any], Any]:
    """Enter a function into the table for these node types."""

    def enter(function: Any) -> Any:
        for kind in kinds:
            assert kind not in RULES, kind
            RULES[kind] = Rule(role, function)
        return function

    return enter


def value(node: Tree, scope: Scope, uses: Uses) -> Value:
    """What an expression depends on. ``{}`` stands for a null in a list."""
    uses.spend(1)
    for kind, body in node.items():
        found = RULES.get(kind)
        if found is None or found.role not in (VALUE, PART):
            return union([UNSURE, combine(body, scope, uses)])
        result: Value = found.apply(body, scope, uses)
        return result
    return CLEAN


def values(nodes: Iterable[Tree], scope: Scope, uses: Uses) -> Value:
    """Several expressions in one."""
    return union([value(node, scope, uses) for node in nodes])


def combine(body: Any, scope: Scope, uses: Uses, skip: tuple[str, ...] = ()) -> Value:
    """Everything below a body in one value; fields in `skip` have been taken care of."""
    parts: list[Value] = []
    for field, item in body.items():
        if field in skip or field in NAMES_ONLY:
            continue
        if item.__class__ is list:
            parts += [value(node, scope, uses) for node in item if node]
        elif item.__class__ is dict and item:
            parts.append(value(item, scope, uses) if is_wrapped(item) else combine(item, scope, uses))
    return union(parts)


def rows(node: Tree, scope: Scope, uses: Uses) -> Rows:
    """What a query or a statement returns."""
    uses.spend(1)
    for kind, body in node.items():
        found = RULES.get(kind)
        if found is not None and found.role == ROWS:
            result: Rows = found.apply(body, scope, uses)
            return result
    uses.lost = True
    return Rows(each=UNSURE)


def rows_with_choice(node: Tree, scope: Scope, uses: Uses) -> tuple[Value, Value]:
    """What a query within an expression returns, and what chooses its rows."""
    outside, unsure = uses.matched, uses.unsure_match
    uses.matched, uses.unsure_match = {}, False
    found = rows(node, scope, uses).whole()
    chosen = Value(frozenset(uses.matched), False, not uses.unsure_match)
    uses.matched, uses.unsure_match = {**uses.matched, **outside}, uses.unsure_match or unsure
    return found, chosen


def ranges(node: Tree, scope: Scope, beside: Frame, uses: Uses) -> Joined:
    """One item of FROM. `beside`: the ranges to its left."""
    uses.spend(1 + len(beside))
    for kind, body in node.items():
        found = RULES.get(kind)
        if found is not None and found.role == RANGE:
            result: Joined = found.apply(body, scope, beside, uses)
            return result
    uses.lost = True
    return Joined((), Rows(each=UNSURE))


def concatenated(parts: Iterable[Rows]) -> Rows:
    """Rows side by side, as in ``SELECT *``."""
    columns: list[tuple[str, Value]] = []
    each: list[Value] = []
    fixed = 0
    for part in parts:
        if not each:
            fixed = len(columns) + (len(part.columns) if part.each is None else part.fixed)
        columns += part.columns
        if part.each is not None:
            each.append(part.each)
    listed: Named = tuple(columns)
    return Rows(listed, union(each), fixed) if each else Rows(listed)
