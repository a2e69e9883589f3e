"""What a write answers about hidden columns: is this value taken, is it there, does the row still fit.

The server checks constraints against rows, or values of a row, that the agent may not see. So a write fails, skips a row, counts
one less, or doesn't: a guess is confirmed. Such a write is `match` on the hidden columns that the check looks at.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Set

import msgspec

from .hidden import Column
from .lineage.views import Sources, settle
from .sql.catalog import Catalog

Place = tuple[int, int]
"""Relation OID, attribute number."""
TAKEN = ("primary key", "unique index", "exclusion constraint")
"""What compares a new row with those that are there."""
COMPUTED = ("check constraint", "generated column", "index of expressions")
"""What computes something of one row, and may fail or refuse it."""
SKIPS = "trigger that skips what changes nothing"
"""``suppress_redundant_updates_trigger`` (PostgreSQL 18 docs §9.29)."""


class Answer(msgspec.Struct, frozen=True):
    """One way in which a write to a relation asks something."""

    action: str
    """``insert``, ``update``, ``delete``, ``cluster``."""
    columns: frozenset[str] | None
    """Writing any of these asks; None: the action does by itself."""
    origins: frozenset[Column]
    """The tagged columns about which it tells."""
    what: str


Answers = Mapping[tuple[str, str], tuple[Answer, ...]]
"""By (schema, relation)."""


def answers(catalog: Catalog, origins: Mapping[Place, Set[Column]]) -> Answers:
    """What writes to each relation tell. `origins`: each column that shows hidden values, to the tagged ones that it is of."""
    found: defaultdict[int, list[tuple[str, frozenset[int] | None, frozenset[Column], str]]] = defaultdict(list)
    for oid, action, numbers, tagged, what in _checks(catalog, origins):
        for table in {oid} | catalog.ancestors(oid):
            # A parent's columns have the same names, but numbers of their own.
            names = catalog.columns(oid)
            same = {name: number for number, name in catalog.columns(table).items()}
            mapped = None if numbers is None else frozenset(same[names[n]] for n in numbers if names.get(n) in same)
            found[table].append((action, mapped, tagged, what))
    result: defaultdict[tuple[str, str], list[Answer]] = defaultdict(list)
    known: dict[int, list[Sources] | None] = {}
    for oid, asked in found.items():
        for relation in {oid} | catalog.views_of(oid):
            place = catalog.relation(relation)
            if place is not None:
                named = _names(catalog, relation, oid, known)
                result[place.schema, place.name] += [
                    Answer(action, None if numbers is None or named is None else _named(numbers, named), tagged, what)
                    for action, numbers, tagged, what in asked
                ]
    return {place: tuple(dict.fromkeys(asked)) for place, asked in result.items()}


def _checks(
    catalog: Catalog, origins: Mapping[Place, Set[Column]]
) -> Iterator[tuple[int, str, frozenset[int] | None, frozenset[Column], str]]:
    """(table, action, columns that ask when they are written, what is told of, by what)."""
    computed = {c.oid: [other for other in catalog.constraints() if other.oid == c.oid] for c in catalog.constraints()}

    def told(oid: int, numbers: Set[int]) -> frozenset[Column]:
        return frozenset(tagged for n in numbers for tagged in origins.get((oid, n), ()))

    for check in catalog.constraints():
        # A generated column is written by writing what it is made of.
        numbers = check.columns.union(
            *(o.columns for o in computed[check.oid] if o.what == "generated column" and o.columns & check.columns)
        )
        tagged = told(check.oid, numbers)
        if not tagged:
            continue
        if check.what in TAKEN:
            hidden = frozenset(n for n in numbers if origins.get((check.oid, n)))
            yield check.oid, "insert", hidden, tagged, f"its {check.what}"
        if check.what in TAKEN + COMPUTED:
            # A row's own hidden value is compared with another's, or computed with: whichever of the columns changes.
            yield check.oid, "update", numbers, tagged, f"its {check.what}"
        if check.what == SKIPS:
            yield check.oid, "update", frozenset(n for n in numbers if origins.get((check.oid, n))), tagged, f"its {check.what}"
        if "index" in check.what or check.what in TAKEN:
            yield check.oid, "cluster", None, tagged, "the order of its rows"
    for key in catalog.foreign_keys():
        if tagged := told(key.parent, key.keys):
            yield key.oid, "insert", key.columns, tagged, "its foreign key"
            yield key.oid, "update", key.columns, tagged, "its foreign key"
        # That a row is referred to tells nothing of the value in both, where it is hidden for that reason alone.
        if tagged := told(key.oid, key.columns) - told(key.parent, key.keys):
            yield key.parent, "delete", None, tagged, "a foreign key to it"
            yield key.parent, "update", key.keys, tagged, "a foreign key to it"
            if len(key.columns) > 1:
                yield key.oid, "update", key.columns, tagged, "its foreign key"


def _names(catalog: Catalog, relation: int, oid: int, known: dict[int, list[Sources] | None]) -> dict[int, frozenset[str]] | None:
    """Attribute number of the table `oid` to the names by which it is written through `relation`; None where that isn't known."""
    if relation == oid:
        return {number: frozenset([name]) for number, name in catalog.columns(oid).items()}
    columns = settle(relation, catalog.tree, known)
    names = catalog.columns(relation)
    if columns is None or len(columns) != len(names):
        return None
    found: defaultdict[int, set[str]] = defaultdict(set)
    for number, column in enumerate(columns, 1):
        for table, attribute in column.places if column.plain else ():
            if table == oid:
                found[attribute].add(names[number])
    return {number: frozenset(listed) for number, listed in found.items()}


def _named(numbers: frozenset[int], names: Mapping[int, frozenset[str]]) -> frozenset[str]:
    return frozenset(name for number in numbers for name in names.get(number, ()))
