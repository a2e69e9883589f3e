"""What a statement does with the values that it follows, besides returning them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from ..sql.analysis import Name
from .rows import Range
from .value import Column, Value

if TYPE_CHECKING:
    from .bodies import Body

MAX_STEPS = 100_000
"""Nodes and ranges to look at for one text: nesting and crossing recursive CTEs and subqueries could take any time."""


class TooComplex(Exception):
    """More than MAX_STEPS: where values come from can't be told."""


class Uses:
    """Collects while the trees are followed."""

    def __init__(
        self,
        relation: Callable[[Name, str], Range],
        bodies: Callable[[Name], Sequence[Body] | None],
        nullness_shown: Collection[Column] = frozenset(),
        computes: Callable[[str, Name], bool] = lambda *_: False,
    ) -> None:
        """`relation`: the rows of a relation by its name, under an alias. `bodies`: the texts of all functions that a name may
        mean, None where they aren't known. `nullness_shown`: columns of which it is no secret whether they are NULL.
        `computes`: whether every ``function``, or ``operator``, that a name may mean works with nothing but what it is given."""
        self.computes = computes
        self.nullness_shown = frozenset(nullness_shown)
        self.relation = relation
        self.bodies = bodies
        self.depth = 0
        """Functions that are being looked into."""
        self.matched: dict[Column, str] = {}
        """Columns by which rows are chosen, ordered, compared, to the words for where."""
        self.used: set[Column] = set()
        """Columns that are used for anything but being returned as they are."""
        self.assigned = Value()
        """What is written somewhere."""
        self.written: dict[tuple[str, str], frozenset[str] | None] = {}
        """``insert`` or ``update`` with a relation's last name, to the columns that are given values; None: any of them."""
        self.filled: list[tuple[Name, str | None, Value]] = []
        """Relations with the columns that are given values, None where that may be any, and the values."""
        self.stashed: list[tuple[str, Value]] = []
        """Functions that could keep or tell what they get, with that."""
        self.unsure_use = False
        """Something is used that may depend on any column."""
        self.unsure_match = False
        """Something unsure decides about rows."""
        self.unknown_call = False
        """A function or operator of unknown body is called."""
        self.by_place = False
        """The number of a column, as in ``ORDER BY 2``, mattered: a literal's value."""
        self.skipped = False
        """A statement that may keep what it is given was not followed."""
        self.lost = False
        """Something was met that can't be followed."""
        self._left = MAX_STEPS

    def spend(self, steps: int) -> None:
        """Raises TooComplex when nothing is left."""
        self._left -= steps
        if self._left < 0:
            raise TooComplex

    def match(self, value: Value, where: str) -> None:
        """The value decides about rows."""
        for column in value.columns:
            self.matched.setdefault(column, where)
        self.unsure_match |= not value.sure
        self.use(value)

    def use(self, value: Value) -> None:
        """The value goes into an expression."""
        self.used |= value.columns
        self.unsure_use |= not value.sure

    def write(self, action: str, relation: str, columns: frozenset[str] | None) -> None:
        """Columns of a relation are given values."""
        known = self.written.get((action, relation), frozenset())
        self.written[action, relation] = None if known is None or columns is None else known | columns

    def fill(self, relation: Name, named: Mapping[str, Value] | None, whole: Value) -> None:
        """What columns of a relation are given; `named` is None where it isn't known which gets what of `whole`."""
        self.filled += [(relation, None, whole)] if named is None else [(relation, *item) for item in named.items()]

    def assign(self, value: Value) -> None:
        """The value is written."""
        columns = self.assigned.columns | value.columns
        self.assigned = Value(columns, False, self.assigned.sure and value.sure)
