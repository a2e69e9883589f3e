"""What one SQL text amounts to, as plain data: effects, accesses, flags, output columns."""

from __future__ import annotations

import msgspec


class Name(msgspec.Struct, frozen=True, order=True):
    """A relation or function as the text names it, case folded and unquoted as PostgreSQL would."""

    name: str
    schema: str | None = None
    """None: not qualified, to be found along the search_path."""
    database: str | None = None
    """Only in the three-part form; PostgreSQL accepts none but the current database."""

    def __str__(self) -> str:
        return ".".join(part for part in (self.database, self.schema, self.name) if part is not None)


class Access(msgspec.Struct, frozen=True, order=True):
    """One (action, object) pair that the text amounts to; every one must be permitted."""

    action: str
    """An effect of policy.md's vocabulary: ``select``, ``delete``, ``call``, ``set``, ``transaction``, …"""
    kind: str
    """What the object is: ``table`` (any relation), ``function``, ``schema`` or ``database`` (session-level accesses)."""
    name: Name | None = None
    """None for accesses to the database as a whole."""
    detail: str = ""
    """What the action is about where that matters: the setting's name, the channel, the cursor."""


class Output(msgspec.Struct, frozen=True):
    """One column that a statement returns, as far as the text alone tells."""

    name: str
    sources: tuple[str, ...] = ()
    """Base columns it depends on, ``schema.table.column`` as far as known, ``table.*`` where only the relation is known."""
    computed: bool = False
    """Not a plain reference to one column."""
    certain: bool = True
    """False: may depend on any column of any relation in the statement."""
    harmless: bool = False
    """Proven to carry no column's value whatever the table holds: a constant, a parameter, ``count(…)``."""


class Analysis(msgspec.Struct, frozen=True):
    """Everything policy needs to know of one text. All tuples are sorted and without repeats unless said otherwise."""

    effects: tuple[str, ...]
    accesses: tuple[Access, ...]
    reads: tuple[Name, ...]
    writes: tuple[Name, ...]
    flags: tuple[str, ...]
    functions: tuple[tuple[Name, str], ...] = ()
    """Every function called, with its class (see functions.py)."""
    statements: int = 1
    outputs: tuple[Output, ...] | None = None
    """Of the last statement that returns rows, in order; None where positions can't be told (``*``, FETCH, EXECUTE, several)."""
    shown: tuple[Output, ...] = ()
    """The same columns for people, where `outputs` is None because of a ``*``: that one is an Output of this name."""
    unknown: str = ""
    """Why the text is not understood (effects then hold ``unknown``); empty when it is."""
    misspelt: int = 0
    """The grammar refuses the text, with `unknown` in the server's own words, at this character (from 1); 0 when it does not."""
    ends_transaction: bool = False
    """COMMIT, ROLLBACK (also TO SAVEPOINT), PREPARE TRANSACTION, or anything that may do the same (CALL, DO)."""
    literal_sensitive: bool = True
    """The result depends on the values of literals, so it holds for this very text and not for its shape."""
    prepares: tuple[tuple[str, str], ...] = ()
    """SQL-level PREPARE: (name, text of the body)."""
    executes: tuple[str, ...] = ()
    """SQL-level EXECUTE: names of prepared statements."""
    declares: tuple[str, ...] = ()
    """Names of the cursors that it declares."""
    fetches: tuple[str, ...] = ()
    """Names of the cursors that it reads."""
