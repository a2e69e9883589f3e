"""Hidden columns as the server numbers them: in the tagged tables, in everything that shows their rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from ..protocols.disclosure import Mask
from .constraints import Answers, answers
from .hidden import Column, Hidden
from .lineage.views import FIRST_USER_OID, Sources, settle
from .sql.catalog import Catalog
from .sql.held import ForeignKey

_SAMPLES = frozenset([2613, 2619, 2840, 3429, 3430])
"""pg_largeobject, pg_statistic, pg_statistic_ext_data, the latter two with what is stored out of line (PostgreSQL 18, their
headers in catalog/)."""
_NEVER_NULL = frozenset([19, 25, 114, 142, 1042, 1043, 3802])
"""name, text, json, xml, bpchar, varchar, jsonb: what of them isn't NULL gets no NULL from any other mask."""
SYSTEM = frozenset(range(1, FIRST_USER_OID)) - _SAMPLES
"""What PostgreSQL brings. Its views over the samples have no fixed number, so a statement that names one doesn't get this set."""


class Layout(msgspec.Struct, frozen=True):
    """Where hidden values may come from, for one agent and one state of the catalog."""

    masks: Mapping[tuple[int, int], Mask]
    """(table OID, attribute number) of every hidden column, those of parents and children included."""
    visible: frozenset[tuple[int, int]]
    """(table OID, attribute number) of the other columns of the tables in `masks`. A generated column is one of them where it is
    known to be computed from no hidden one."""
    clean: frozenset[int]
    """Relations that show no hidden column."""
    dirty: frozenset[tuple[str, str]]
    """(schema, name) of every relation that shows one: tables, and all views that depend on one."""
    views: frozenset[tuple[str, str]]
    """Those of `dirty` whose columns have names of their own, so that any of them may be a hidden one."""
    origins: Mapping[Column, frozenset[Column]]
    """Every column that may show hidden values, those of parents, children, views included, to the tagged columns that they are
    of; to none where that can't be told."""
    answers: Answers
    """What writes tell of tagged columns."""
    places: Mapping[tuple[int, int], frozenset[Column]]
    """`origins` by (table OID, attribute number)."""
    catalog: Catalog

    def knows(self, schema: str, name: str) -> bool:
        """Whether the relation was there when the catalog was read."""
        return schema in ("pg_catalog", "information_schema") or bool(self.catalog.oids_of(schema, name))


def lay_out(hidden: Hidden, catalog: Catalog) -> Layout:
    """`hidden` laid over `catalog`. O(hidden columns * relations around them)."""
    masks: dict[tuple[int, int], Mask] = {}
    origins: defaultdict[tuple[int, int], set[Column]] = defaultdict(set)
    # A view that calls a function may show anything.
    views = set(catalog.calls_functions()) if hidden else set()
    references: defaultdict[int, list[ForeignKey]] = defaultdict(list)
    for key in catalog.foreign_keys():
        references[key.parent].append(key)
    for (schema, table), columns in hidden.items():
        for column, mask in columns.items():
            for oid, number in _copies(((oid, column) for oid in catalog.oids_of(schema, table)), catalog, references):
                masks[oid, number] = mask
                origins[oid, number].add((schema, table, column))
                views |= catalog.views_over(oid, number)
                for view in catalog.views_over(oid, number):
                    for place in catalog.columns(view):
                        origins[view, place].add((schema, table, column))
    dirty = views | {oid for oid, _ in masks}
    visible = {(oid, n) for oid in {table for table, _ in masks} for n in catalog.columns(oid).keys() - catalog.generated(oid)}
    for masked in {oid for oid, _ in masks}:
        beside = {origin for place in masks if place[0] == masked for origin in origins[place]}
        for number in catalog.generated(masked):
            sources = catalog.computed_from(masked, number)
            shown = {origin for n in sources for origin in origins.get((masked, n), ())} if sources else beside
            if shown:
                origins[masked, number] |= shown
            else:
                visible.add((masked, number))
    for view in views:
        for number in catalog.columns(view):
            origins[view, number] |= set()
    visible |= _told_apart(views - catalog.calls_functions(), masks, origins, catalog)
    return Layout(
        masks,
        frozenset(visible - masks.keys()),
        (SYSTEM | catalog.all_oids()) - dirty if hidden else frozenset(),
        _names(dirty, catalog),
        _names(views, catalog),
        _by_name(origins, catalog),
        answers(catalog, origins) if hidden else {},
        {place: frozenset(tagged) for place, tagged in origins.items()},
        catalog,
    )


def _copies(
    columns: Iterable[tuple[int, str]], catalog: Catalog, references: Mapping[int, Sequence[ForeignKey]]
) -> set[tuple[int, int]]:
    """Some tables' columns, with all that hold the same values: those of parents and children, whose rows a parent's rows
    include under its own number, and foreign keys, whose values are those that they refer to. `references`: by OID of what
    they refer to."""
    found: set[tuple[int, int]] = set()
    waiting = list(columns)
    while waiting:
        oid, column = waiting.pop()
        for relative in {oid} | catalog.descendants(oid) | catalog.ancestors(oid):
            number = catalog.attnum(relative, column)
            if number is None or (relative, number) in found:
                continue
            found.add((relative, number))
            for key in references.get(relative, ()):
                waiting += [(key.oid, catalog.columns(key.oid)[n]) for n, referred in key.pairs if referred == number]
    return found


def nullness_shown(layout: Layout) -> frozenset[Column]:
    """The hidden columns whose masks show whether a value is NULL: those of characters and JSON, but for the mask ``null``."""
    found: set[Column] = set()
    for (oid, number), mask in layout.masks.items():
        relation = layout.catalog.relation(oid)
        if relation is not None and mask.kind != "null" and layout.catalog.type_of(oid, number) in _NEVER_NULL:
            found.add((relation.schema, relation.name, layout.catalog.columns(oid)[number]))
    return frozenset(found)


def _told_apart(
    views: Iterable[int],
    masks: dict[tuple[int, int], Mask],
    origins: defaultdict[tuple[int, int], set[Column]],
    catalog: Catalog,
) -> set[tuple[int, int]]:
    """The columns of views that show nothing hidden. Those that are a hidden column get its mask."""
    known: dict[int, list[Sources] | None] = {}
    hidden = {place: set(tagged) for place, tagged in origins.items()}
    clean: set[tuple[int, int]] = set()
    for view in views:
        columns = settle(view, catalog.tree, known)
        if columns is None or len(columns) != len(catalog.columns(view)):
            continue
        for number, column in enumerate(columns, 1):
            whole = {place for oid, n in column.places if n == 0 for place in hidden if place[0] == oid}
            below = (column.places | whole) & hidden.keys()
            if below:
                origins[view, number] = {origin for place in below for origin in hidden[place]}
                if column.plain and (mask := masks.get(next(iter(column.places)))) is not None:
                    masks[view, number] = mask
            else:
                origins.pop((view, number), None)
                clean.add((view, number))
    return clean


def _names(oids: Iterable[int], catalog: Catalog) -> frozenset[tuple[str, str]]:
    relations = [relation for relation in map(catalog.relation, oids) if relation is not None]
    return frozenset((relation.schema, relation.name) for relation in relations)


def _by_name(origins: Mapping[tuple[int, int], set[Column]], catalog: Catalog) -> dict[Column, frozenset[Column]]:
    found: dict[Column, frozenset[Column]] = {}
    for (oid, number), tagged in origins.items():
        relation = catalog.relation(oid)
        if relation is not None:
            found[relation.schema, relation.name, catalog.columns(oid)[number]] = frozenset(tagged)
    return found
