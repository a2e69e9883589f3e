"""What one value may carry: the base columns that it depends on."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

Column = tuple[str, str, str]
"""Schema, relation, column."""

NOTHING: frozenset[Column] = frozenset()


class Value(msgspec.Struct, frozen=True):
    """A column of some rows, or an expression's result."""

    columns: frozenset[Column] = NOTHING
    """The base columns that it depends on."""
    plain: bool = False
    """It *is* the one column in `columns`, unchanged."""
    sure: bool = True
    """False: it may depend on any column besides."""


CLEAN = Value()
"""Depends on no column: a constant, a parameter, a count."""
UNSURE = Value(sure=False)


def union(values: Iterable[Value]) -> Value:
    """One value computed from several, or one of several. See `either` for where a single one stays what it is."""
    columns: frozenset[Column] = NOTHING
    sure = True
    for value in values:
        if value.columns:
            columns = columns | value.columns if columns else value.columns
        sure = sure and value.sure
    if not columns:
        return CLEAN if sure else UNSURE
    return Value(columns, False, sure)


def either(values: list[Value]) -> Value:
    """One of several, it isn't known which; a single one stays what it is."""
    return values[0] if len(values) == 1 else union(values)


def computed(value: Value) -> Value:
    """Something made of the value, so no longer the column itself."""
    return Value(value.columns, False, value.sure) if value.plain else value
