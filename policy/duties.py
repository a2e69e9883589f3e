"""Which duties an operation exercises, on which objects.

A duty is a set of accesses. Where it can't be told whether an access is one of them, or on which object, it counts as one, on any
object (`ANY`): a rule that keeps duties apart must not be got round by a statement that is hard to read. What is out of sight
(functions' bodies, triggers, rules) is, here as everywhere, the business of who permits calling them: name such a function among
the objects of the duties that it exercises.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterable, Sequence
from hashlib import sha256

import msgspec

from ..protocols.events import Operation
from .asks import Ask
from .document import Document
from .duty_sections import Duty
from .entities import tag_chain
from .paths import path, split
from .rules import members
from .sql.catalog import Catalog
from .sql.keys import Value, canonical, keys_of

ANY = "*"
"""Stands for every object; no object is called so."""
MAX_SHOWN = 60
MAX_KEY = 200
"""Characters of a key that is kept as it is."""
SYSTEM = frozenset(["pg_catalog", "information_schema"])
"""Schemas that are meant only where they are named."""
_TEXTS = frozenset([0, 18, 19, 25, 1042, 1043])
_WHOLE = {(21, 2): "!h", (23, 4): "!i", (20, 8): "!q", (26, 4): "!I"}
_UUID = 2950


class Exercise(msgspec.Struct, frozen=True):
    """One duty that a statement exercises, with its objects as far as the text tells."""

    duty: str
    objects: tuple[str, ...]
    """``=`` and a key's value, ``#`` and its hash where it is long, ``@`` and a path, or `ANY`."""
    parameters: tuple[int, ...] = ()
    """Numbers of the parameters whose values are keys as well."""

    @property
    def by_literal(self) -> bool:
        """It depends on the value of a literal in the text."""
        return any(each[0] in "=#" for each in self.objects)

    def named(self, operation: Operation) -> tuple[str, ...]:
        """The objects of this very operation."""
        values = [_parameter(operation, number) for number in self.parameters]
        return (ANY,) if ANY in values else tuple(sorted({*self.objects, *values}))


class Span(msgspec.Struct, frozen=True):
    """One of a duty's objects: a path with all that is below."""

    path: tuple[str, ...]

    def holds(self, place: tuple[str, ...]) -> bool:
        """Whether the object is this one, or below. System schemas only where the path names one."""
        if place[: len(self.path)] != self.path:
            return False
        return len(self.path) >= 3 or len(place) < 3 or place[2] not in SYSTEM


def spans(document: Document, duty: Duty) -> tuple[Span, ...]:
    """What the duty's accesses are on, tags resolved."""
    tagged = {
        split(column)[:4]
        for name, tag in document.tags.items()
        if set(tag_chain(name)) & set(duty.tags)
        for column in tag.columns
    }
    return tuple(sorted({Span(split(each)) for each in duty.objects} | {Span(place) for place in tagged}, key=lambda s: s.path))


class DutyFinder:
    """Finds the duties of statements on one resource in one database."""

    def __init__(
        self, document: Document, resource: str, database: str, catalog: Catalog | None, *, offline: bool = False
    ) -> None:
        """`catalog`: None while it is not known; then any relation may be any other, unless `offline` says that nothing runs."""
        excluded = {name for exclusion in document.exclusions.values() for name in exclusion.duties}
        self._duties = {
            name: (duty, frozenset().union(*map(members, duty.actions)), spans(document, duty))
            for name, duty in document.duties.items()
            if name in excluded and any(span.path[0] == resource for span in spans(document, duty))
        }
        self._place = (resource, database)
        self._catalog = catalog
        self._blind = catalog is None and not offline
        self._shown: dict[Span, frozenset[tuple[str, str]]] = {}

    def find(self, asks: Sequence[Ask], texts: Sequence[str], *, standard_conforming_strings: bool) -> tuple[Exercise, ...]:
        """What an operation that amounts to `asks` exercises. `texts`: all that runs, its own first."""
        found = []
        for name, (duty, actions, places) in self._duties.items():
            touching = [ask for ask in asks if ask.action in actions and any(self._touches(span, ask) for span in places)]
            if touching:
                found.append(self._exercise(name, duty, places, touching, texts, standard_conforming_strings))
        return tuple(found)

    def _touches(self, span: Span, ask: Ask) -> bool:
        place = split(ask.id)
        if span.holds(place):
            return True
        if ask.type != "Table" or place[2] in SYSTEM or span.path[:2] != self._place[: len(span.path[:2])]:
            return False
        if self._catalog is None:
            return self._blind
        # What the catalog does not know may have been made since, over anything; what is being made is over nothing yet.
        known = self._catalog.oids_of(*place[2:])
        return (place[2], place[3]) in self._showing(span) if known else ask.action != "create"

    def _showing(self, span: Span) -> frozenset[tuple[str, str]]:
        """Relations by which rows of the duty's tables may be reached."""
        assert self._catalog is not None
        if span not in self._shown:
            relations = [(oid, self._catalog.relation(oid)) for oid in self._catalog.all_oids()]
            held = [oid for oid, relation in relations if relation and span.holds((*self._place, relation.schema, relation.name))]
            showing = (self._catalog.relation(each) for oid in held for each in self._catalog.showing(oid))
            self._shown[span] = frozenset((relation.schema, relation.name) for relation in showing if relation)
        return self._shown[span]

    def _exercise(
        self, name: str, duty: Duty, places: Iterable[Span], asks: Sequence[Ask], texts: Sequence[str], scs: bool
    ) -> Exercise:
        plain = all(any(span.holds(split(ask.id)) for span in places) for ask in asks)
        if not duty.key:
            return Exercise(name, tuple(sorted({f"@{ask.id}" for ask in asks}))) if plain else Exercise(name, (ANY,))
        values: tuple[Value, ...] = ()
        if plain and len(texts) == 1 and len({ask.id for ask in asks}) == 1 and asks[0].type == "Table":
            values = keys_of(texts[0], duty.key, standard_conforming_strings=scs)
        if not values:
            return Exercise(name, (ANY,))
        constants = tuple(sorted({_key(value) for value in values if isinstance(value, str)}))
        return Exercise(name, constants, tuple(sorted({value for value in values if isinstance(value, int)})))


def connected(document: Document, resource: str) -> tuple[Exercise, ...]:
    """What a session with a resource of protocol ``tls`` exercises: of it no more is seen."""
    excluded = {name for exclusion in document.exclusions.values() for name in exclusion.duties}
    return tuple(
        Exercise(name, (ANY,) if duty.key else (f"@{path(resource)}",))
        for name, duty in document.duties.items()
        if name in excluded and "connect" in duty.actions and any(span.path == (resource,) for span in spans(document, duty))
    )


def shown(thing: str) -> str:
    """An object as people read it."""
    if thing == ANY:
        return "an object that can't be told"
    kind, text = thing[0], thing[1:]
    cut = text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"
    return {"@": cut, "#": f"the key with hash {cut[:16]}"}.get(kind, f"the key {cut}")


def _key(value: str) -> str:
    """A key's value as an object; a long one by its hash."""
    return f"={value}" if len(value) <= MAX_KEY else "#" + sha256(value.encode("utf-8", "surrogatepass")).hexdigest()


def _parameter(operation: Operation, number: int) -> str:
    """A parameter as the key that it is; `ANY` where its value can't be read as PostgreSQL does."""
    if number > len(operation.parameters):
        return ANY
    value = operation.parameters[number - 1]
    formats = operation.formats if len(operation.formats) != 1 else operation.formats * len(operation.parameters)
    binary = bool(formats) and formats[number - 1] == 1
    kind = operation.types[number - 1] if number <= len(operation.types) else 0
    if value is None:
        return ANY
    if not binary or kind in _TEXTS - {0}:
        try:
            return _key(canonical(value.decode()))
        except UnicodeDecodeError:
            return ANY
    if (kind, len(value)) in _WHOLE:
        return _key(canonical(str(struct.unpack(_WHOLE[kind, len(value)], value)[0])))
    return _key(canonical(str(uuid.UUID(bytes=value)))) if kind == _UUID and len(value) == 16 else ANY
