"""What a database holds, one piece each."""

from __future__ import annotations

import msgspec


class Relation(msgspec.Struct, frozen=True):
    """One relation of the database."""

    oid: int
    schema: str
    name: str
    kind: str
    """pg_class.relkind: r table, p partitioned, v view, m materialized view, f foreign table, S sequence."""


class Constraint(msgspec.Struct, frozen=True):
    """What the server checks or computes when a row is written, and may fail."""

    oid: int
    """The table's."""
    columns: frozenset[int]
    """Attribute numbers of the columns that it looks at; of a generated column also its own."""
    what: str
    """``primary key``, ``unique index``, ``exclusion constraint``, ``index of expressions``, ``index``, ``check constraint``,
    ``generated column``, ``trigger that skips what changes nothing``."""


class ForeignKey(msgspec.Struct, frozen=True):
    """Columns of one table whose values have to be in columns of another."""

    oid: int
    parent: int
    pairs: tuple[tuple[int, int], ...]
    """Attribute number in the one, that of the column in the other which it refers to."""

    @property
    def columns(self) -> frozenset[int]:
        """Of the one."""
        return frozenset(column for column, _ in self.pairs)

    @property
    def keys(self) -> frozenset[int]:
        """Of the other."""
        return frozenset(key for _, key in self.pairs)


class Function(msgspec.Struct):
    """A function, procedure or aggregate that PostgreSQL did not bring."""

    schema: str
    name: str
    language: str
    text: str | None = None
    """Its body, where that is SQL and all that it depends on."""
    parameters: tuple[str, ...] = ()
    code: str | None = None
    """What runs, in SQL or PL/pgSQL, where all of it is known."""
    computes: bool = False
    """An extension's, which works with nothing but what it is given."""


class Unasked(msgspec.Struct, frozen=True):
    """A function or rule that a statement runs without naming it."""

    place: int
    """OID of the relation or the type that it is attached to."""
    function: Function | None
    """None for a rule."""
    actions: frozenset[str]
    """What a statement does to the relation when it runs: ``select``, ``insert``, ``update``, ``delete``, ``truncate``."""
    what: str
    """``trigger``, ``trigger before`` (which may change the row), ``rule``, ``default``, ``generated column``, ``index``,
    ``check constraint``, ``row-level policy``; of a type ``check constraint`` or ``cast``; of an operator its name."""
    column: int = 0
    """Of a default or a generated column its attribute number."""
