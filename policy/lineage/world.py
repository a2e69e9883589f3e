"""The relations of one session, as far as the catalog tells."""

from __future__ import annotations

from collections.abc import Callable

from ..catalogs import HOLDS_SAMPLES, SAMPLE_COLUMNS
from ..sql.analysis import Name
from ..sql.catalog import Catalog
from ..sql.held import Function
from .bodies import Body
from .rows import Range, Rows
from .value import CLEAN, UNSURE, Value, union

SYSTEM = frozenset(["pg_catalog", "information_schema"])
Resolve = Callable[[Name], list[tuple[str, str]]]
"""Every (schema, name) that a relation's name may stand for; none where that can't be told."""


class World:
    """Finds relations for `follow`."""

    def __init__(self, resolve: Resolve, catalog: Catalog | None, harmless: Callable[[Function], bool] = lambda _: False) -> None:
        """Without a catalog a relation may have any column. `harmless`: of a function, that it works with what it is given."""
        self._harmless = harmless
        self._resolve = resolve
        self._catalog = catalog

    def relation(self, name: Name, alias: str) -> Range:
        """A relation's rows under an alias."""
        places = self._resolve(name)
        if len(places) == 1:
            return self._at(places[0], alias)
        found = [self._at(place, alias) for place in places]
        whole = union([UNSURE, *(item.whole() for item in found)])
        columns = {column for item in found for column, _ in item.rows.columns}
        return Range(alias, Rows(tuple((column, whole) for column in sorted(columns)), whole))

    def bodies(self, name: Name) -> list[Body] | None:
        """The texts of all functions that a call may mean; None where one of them has none."""
        found = self._catalog.functions_named(name.schema, name.name) if self._catalog is not None else []
        bodies = [Body(one.text, one.parameters) for one in found if one.text is not None]
        return bodies if len(bodies) == len(found) else None

    def computes(self, what: str, name: Name) -> bool:
        """Whether every ``function``, or ``operator``, that a name may mean works with nothing but what it is given."""
        if self._catalog is None:
            return False
        if what == "operator":
            return name.name in self._catalog.computing_signs()
        found = self._catalog.functions_named(name.schema, name.name)
        return bool(found) and all(function.computes or self._harmless(function) for function in found)

    def _at(self, place: tuple[str, str], alias: str) -> Range:
        schema, name = place
        if name in HOLDS_SAMPLES and (schema in SYSTEM or name == "pg_stat_statements"):
            columns = tuple((column, Value(frozenset([(schema, name, column)]))) for column in SAMPLE_COLUMNS[name])
            return Range(alias, Rows(columns, UNSURE), place)
        if schema in SYSTEM:
            return Range(alias, Rows(each=CLEAN), place)
        if self._catalog is None:
            return Range(alias, Rows(), place, open=True)
        oids = self._catalog.oids_of(schema, name)
        if not oids:
            # Made since the catalog was read, from anything.
            return Range(alias, Rows(each=UNSURE), place)
        names = self._catalog.columns(oids[0])
        if not names:
            # A sequence.
            return Range(alias, Rows(each=CLEAN), place)
        listed = [(names[n], Value(frozenset([(schema, name, names[n])]), True)) for n in sorted(names)]
        return Range(alias, Rows(tuple(listed)), place)
