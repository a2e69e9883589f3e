"""Columns that the database itself fills from tagged ones: they are as hidden as what goes into them.

A trigger for an audit writes whole rows into a table that carries no tag; a rule, a default, a trigger for text search do the
like. What they write is read later, by another statement, so no lineage of a text shows it. Here it is shown by what they are
made of: a trigger's function in PL/pgSQL is followed (`lineage.plpgsql`), a rule by the tree that the server stored of it. What
that gives to a column makes the column hidden, under the tags of its sources, and so on until nothing is added.

A trigger or a rule that can't be followed may keep anything anywhere: then it may not run at all, see `unasked`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from weakref import WeakKeyDictionary

import msgspec

from ..protocols.disclosure import Mask
from .hidden import Column, Hidden
from .layout import Layout, lay_out
from .lineage.follow import follow
from .lineage.nodetree import BadTree
from .lineage.plpgsql import Told, Unfollowed, follow_trigger
from .lineage.value import UNSURE, Value
from .lineage.views import FIRST_USER_OID, Sources, written
from .lineage.world import SYSTEM, World
from .outlets import stand_ins
from .sql.analysis import Name
from .sql.catalog import Catalog
from .sql.functions import CLASSES
from .sql.held import Function, Unasked
from .sql.parse import Unreadable, parse

_WORDS = re.compile(r"\w+").findall
_FOLLOWED_CLASSES = frozenset(
    ["pure", "reads_catalog", "reads_settings", "sleeps", "sequences", "notifies", "locks", "unlocks", "settings"]
)
"""Of built-in functions: what they keep is told by their arguments."""
_UNFOLLOWED_WORDS = frozenset(name for name, kind in CLASSES.items() if kind not in _FOLLOWED_CLASSES)
_STORED = frozenset("rp")
_TRIGGERS = frozenset(["trigger", "trigger before"])
_MADE = frozenset(["default", "generated column"])
MAX_ROUNDS = 8
"""Triggers that fire triggers."""

Place = tuple[int, str]
"""OID of a relation; path of a trigger's function, empty for its rules."""


class Filling(msgspec.Struct, frozen=True):
    """What of a database is hidden because of what fills it."""

    hidden: Hidden
    """The tagged columns, and those that are filled from them."""
    sources: Mapping[Column, frozenset[Column]] = {}
    """The latter, each with the tagged columns that it is filled from."""
    lost: frozenset[Place] = frozenset()
    """Triggers and rules that can't be followed."""
    clean: frozenset[Place] = frozenset()
    """Those that surely take nothing hidden."""


def place_of(found: Unasked) -> Place:
    """What stands for a trigger or a rule here."""
    return found.place, "" if found.function is None else f"{found.function.schema}.{found.function.name}"


def fill(hidden: Hidden, catalog: Catalog) -> Filling:
    """What is filled from hidden columns. O(triggers, rules, defaults * rounds)."""
    if not hidden or not (catalog.unasked() or catalog.vectors()):
        return Filling(hidden)
    # Nothing fills what a flow has just made, so that is not followed anew.
    read = catalog.read
    filler = _FILLERS.get(read) or _FILLERS.setdefault(read, _Filler(read))
    sources: dict[Column, frozenset[Column]] = {}
    grown = hidden
    for _ in range(MAX_ROUNDS):
        found = filler.filled(lay_out(grown, catalog))
        new = {column: tagged for column, tagged in found.items() if column[2] not in grown.get(column[:2], {}) and tagged}
        if not new:
            break
        for column, tagged in new.items():
            sources[column] = frozenset().union(*(sources.get(origin, frozenset([origin])) for origin in tagged))
        grown = _grown(grown, {column: sources[column] for column in new})
    return Filling(grown, sources, *filler.judged(lay_out(grown, catalog)))


def _grown(hidden: Hidden, new: Mapping[Column, frozenset[Column]]) -> Hidden:
    grown = {place: dict(columns) for place, columns in hidden.items()}
    for column, tagged in new.items():
        first = min(tagged)
        grown.setdefault(column[:2], {})[column[2]] = Mask("null", hidden[first[:2]][first[2]].tag)
    return grown


class _Filler:
    """Reads all that fills columns once; what that means depends on what is hidden.

    It keeps no catalog: what is kept for one may not keep it alive.
    """

    def __init__(self, catalog: Catalog) -> None:
        world = World(partial(_places, catalog), catalog)
        self._vectors = catalog.vectors()
        self._bad = _UNFOLLOWED_WORDS | {name.lower() for name in stand_ins(catalog.functions())}
        self._symbols = {operator.what for operator in catalog.operators()}
        self._trapped = [set(_WORDS(name.lower())) for name in _trapped(catalog)]
        self._triggers: dict[Place, Told | None] = {}
        self._made: list[tuple[Unasked, Value]] = []
        self._rules: dict[Place, list[tuple[int, int, Sources]] | None] = {}
        for found in catalog.unasked():
            if found.what in _TRIGGERS and found.function is not None:
                self._triggers[place_of(found)] = self._told(catalog, world, found.place, found.function)
            elif found.what in _MADE and found.column and found.function is not None:
                self._made.append((found, _given(world, found.function)))
        for oid, tree in catalog.rules():
            known = self._rules.get((oid, ""), [])
            try:
                self._rules[oid, ""] = None if known is None else [*known, *written(tree)]
            except BadTree:
                self._rules[oid, ""] = None

    def judged(self, layout: Layout) -> tuple[frozenset[Place], frozenset[Place]]:
        """What can't be followed, and what takes nothing hidden."""
        lost: set[Place] = set()
        clean: set[Place] = set()
        for place, told in self._triggers.items():
            if told is None or _shown(told.kept, layout):
                lost.add(place)
            elif not _shown(told.takes, layout):
                clean.add(place)
        for place, fills in self._rules.items():
            if fills is None:
                lost.add(place)
            elif not any(self._behind(given, layout) for _, _, given in fills):
                clean.add(place)
        return frozenset(lost), frozenset(clean)

    def filled(self, layout: Layout) -> dict[Column, frozenset[Column]]:
        """Columns to the hidden ones that go into them."""
        found: dict[Column, frozenset[Column]] = {}
        for column, tagged in self._all(layout):
            found[column] = found.get(column, frozenset()) | tagged
        return found

    def _all(self, layout: Layout) -> Iterator[tuple[Column, frozenset[Column]]]:
        catalog = layout.catalog
        for (oid, _), told in self._triggers.items():
            for filled in told.fills if told is not None else ():
                tagged = _shown(filled.value, layout)
                for target in [oid] if filled.relation is None else _targets(catalog, filled.relation):
                    columns = _columns(catalog, target)
                    named = columns.values() if filled.column is None else [c for c in columns.values() if c[2] == filled.column]
                    yield from ((column, tagged) for column in named)
        for made, value in self._made:
            if made.column in (columns := _columns(catalog, made.place)):
                yield columns[made.column], _shown(value, layout)
        for fills in self._rules.values():
            for oid, number, sources in fills or ():
                if number in (columns := _columns(catalog, oid)):
                    yield columns[number], self._behind(sources, layout)
        for oid, arguments in self._vectors:
            columns = _columns(catalog, oid)
            given = {number for number, column in columns.items() if column[2] in arguments[2:]}
            tagged = frozenset().union(*(layout.places.get((oid, number), frozenset()) for number in given))
            yield from ((column, tagged) for column in columns.values() if column[2] == arguments[0])

    def _behind(self, given: Sources, layout: Layout) -> frozenset[Column]:
        places = {p for p in layout.places if p in given.places or (p[0], 0) in given.places}
        return frozenset().union(*(layout.places[place] for place in places))

    def _told(self, catalog: Catalog, world: World, oid: int, function: Function) -> Told | None:
        """What a trigger's function does; None where that can't be told."""
        if function.code is None or function.language != "plpgsql":
            return None
        text = function.code.lower()
        words = set(_WORDS(text))
        if words & self._bad or any(symbol in text for symbol in self._symbols) or any(name <= words for name in self._trapped):
            return None
        row = world.relation(_name(catalog, oid), "new").rows
        try:
            told = follow_trigger(function.code, row, world.relation, world.bodies)
        except Unfollowed:
            return None
        # Into a view, a foreign table, a table of a session, a value goes who knows where.
        targets = {filled.relation for filled in told.fills if filled.relation is not None}
        return told if all(_is_stored(catalog, target) for target in targets) else None


def _given(world: World, function: Function) -> Value:
    """What a function without arguments of any table returns."""
    if function.text is None:
        return UNSURE
    try:
        return follow([statement.tree for statement in parse(function.text)], world.relation, world.bodies).answer
    except Unreadable:
        return UNSURE


def _columns(catalog: Catalog, oid: int) -> dict[int, Column]:
    """A relation's columns by number."""
    relation = catalog.relation(oid)
    if relation is None:
        return {}
    return {number: (relation.schema, relation.name, name) for number, name in catalog.columns(oid).items()}


def _name(catalog: Catalog, oid: int) -> Name:
    relation = catalog.relation(oid)
    return Name(relation.name, relation.schema) if relation is not None else Name("")


def _places(catalog: Catalog, name: Name) -> list[tuple[str, str]]:
    """Whatever schema's a name without one may be; a function's search_path isn't known."""
    if name.schema is not None:
        return [(name.schema, name.name)]
    listed = [(relation.schema, relation.name) for relation in catalog.named(name.name)]
    return listed or [("pg_catalog" if name.name.startswith("pg_") else "", name.name)]


def _targets(catalog: Catalog, name: Name) -> list[int]:
    return [oid for place in _places(catalog, name) for oid in catalog.oids_of(*place)]


def _is_stored(catalog: Catalog, name: Name) -> bool:
    relations = [catalog.relation(oid) for oid in _targets(catalog, name)]
    return bool(relations) and all(relation is not None and relation.kind in _STORED for relation in relations)


_FILLERS: WeakKeyDictionary[Catalog, _Filler] = WeakKeyDictionary()
"""One for all agents: following a trigger's function takes a millisecond."""


def _trapped(catalog: Catalog) -> Iterator[str]:
    """Names by which a text may come to a value whose making, or casting, runs something: types, and tables that have such."""
    if catalog.traps():
        yield from (name for oid, (name, _) in catalog.user_types().items() if oid >= FIRST_USER_OID)
        for oid in catalog.all_oids():
            relation = catalog.relation(oid)
            if relation is not None and max(catalog.types_in(oid), default=0) >= FIRST_USER_OID:
                yield relation.name


def _shown(value: Value, layout: Layout) -> frozenset[Column]:
    """The hidden columns that a value may depend on."""
    everything = (columns for columns in layout.origins.values())
    if not value.sure or any(column[0] in SYSTEM for column in value.columns):
        return frozenset().union(*everything)
    found = [layout.origins[column] for column in value.columns if column in layout.origins]
    # Of a view that can't be told apart nothing is known.
    return frozenset().union(*(everything if not all(found) else found))


def permitted(use: Iterable[Column], filling: Filling) -> frozenset[Column]:
    """The columns with which an agent may do something that it may do with `use`: also those that are filled from these alone."""
    known = frozenset(use)
    return known | {column for column, tagged in filling.sources.items() if tagged <= known}
