"""Rows under a name: which value a column reference stands for.

With a catalog every relation's columns are listed, so a name is found where the server finds it: in the nearest query that has
it. Rows whose columns can't be listed (functions, relations without a catalog) have one value that stands for each of them; a
name that only they could have may as well be an outer query's, so it is either.
"""

from __future__ import annotations

import msgspec

from .value import CLEAN, UNSURE, Column, Value, computed, either, union

SYSTEM_COLUMNS = frozenset(["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"])
"""Of every table (PostgreSQL 18 docs §5.6): they tell nothing of its data."""

Named = tuple[tuple[str, Value], ...]


class Rows(msgspec.Struct, frozen=True):
    """The columns that a query, a relation, a function gives."""

    columns: Named = ()
    each: Value | None = None
    """Stands for every column that isn't listed; None when all are."""
    fixed: int = 0
    """With `each`: how many of `columns` surely stand at their places."""

    def whole(self) -> Value:
        """Everything in one value."""
        values = [value for _, value in self.columns]
        return union(values if self.each is None else [*values, self.each])

    def renamed(self, names: tuple[str, ...]) -> Rows:
        """The first columns under other names. Where places are not certain, all become one."""
        if not names:
            return self
        if self.each is not None and len(names) > self.fixed:
            whole = self.whole()
            return Rows(tuple((name, whole) for name in names), whole)
        named = [(name, value) for name, (_, value) in zip(names, self.columns, strict=False)]
        return Rows((*named, *self.columns[len(named) :]), self.each, self.fixed)


class Range(msgspec.Struct, frozen=True):
    """Rows in a FROM clause."""

    alias: str
    rows: Rows
    place: tuple[str, str] | None = None
    """Schema and name of a relation."""
    open: bool = False
    """A relation whose columns no catalog has listed: it may have any."""
    aside: bool = False
    """Reached by its alias only and no part of ``*``, as ``excluded``, ``old``, ``new`` are."""

    def listed(self, name: str) -> list[Value]:
        """The columns that are surely here under this name."""
        found = [value for column, value in self.rows.columns if column == name]
        return found or ([CLEAN] if self.place is not None and name in SYSTEM_COLUMNS else [])

    def guessed(self, name: str) -> Value | None:
        """What it would be if it were here, where not all columns are listed."""
        if self.open and self.place is not None:
            column: Column = (*self.place, name)
            return Value(frozenset([column]), True)
        return self.rows.each

    def whole(self) -> Value:
        """The row as one value."""
        if self.open and self.place is not None:
            return Value(frozenset([(*self.place, "*")]))
        return computed(self.rows.whole())

    def answers_to(self, qualifier: tuple[str, ...]) -> bool:
        """Whether ``qualifier.column`` means a column of these rows."""
        if len(qualifier) == 1:
            return self.alias == qualifier[0]
        return self.place is not None and self.place == qualifier[-2:] and self.alias == self.place[1]


Frame = tuple[Range, ...]
Frames = tuple[Frame, ...]
"""The ranges of the query at hand, then of the queries around it."""


def reference(fields: tuple[str, ...], frames: Frames) -> tuple[Value, bool]:
    """What a column reference stands for, with whether it is a whole row."""
    return _bare(fields[0], frames) if len(fields) == 1 else _qualified(fields, frames)


def _bare(name: str, frames: Frames) -> tuple[Value, bool]:
    guesses: list[Value] = []
    for frame in frames:
        found = [value for item in frame if not item.aside for value in item.listed(name)]
        if found:
            return either([*found, *guesses]), False
        guesses += [guess for item in frame if not item.aside and (guess := item.guessed(name)) is not None]
    rows = [item.whole() for frame in frames for item in frame if item.alias == name]
    if rows or guesses:
        return either([*rows, *guesses]), bool(rows) and not guesses
    return union([UNSURE, *(item.whole() for frame in frames for item in frame)]), False


def _qualified(fields: tuple[str, ...], frames: Frames) -> tuple[Value, bool]:
    *qualifier, name = fields
    for frame in frames:
        for item in frame:
            if item.answers_to(tuple(qualifier)):
                found = item.listed(name)
                if found:
                    return either(found), False
                guess = item.guessed(name)
                # ``row.function`` calls the function with the row (PostgreSQL 18 docs §8.16.5).
                return (guess if guess is not None else union([item.whole(), UNSURE])), False
    return union([UNSURE, *(item.whole() for frame in frames for item in frame)]), False


def rows_of(qualifier: tuple[str, ...], frames: Frames) -> Range | None:
    """The range that ``qualifier.*`` means."""
    return next((item for frame in frames for item in frame if item.answers_to(qualifier)), None)
