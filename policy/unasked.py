"""What a statement runs without naming it: it may bring hidden values that no lineage of the text shows.

Triggers, rules, defaults, CHECK constraints, expressions of indexes, row-level policies, CHECKs of domains, casts and operators
call functions. What such a function returns, raises or refuses may come of any table. The catalog tells where one is called. One
is no danger when all of its code is known and holds no word by which it could read a table, call another function of the
database's own, or write; nearly all that stamp a time, or check the form of a value, are of that kind. With the others

- errors and notices are withheld;
- what comes back from a write that a trigger, a rule or a default may have changed is hidden, as is what such a cast or operator
  gives;
- what may refuse a row by what it reads (a CHECK, an index, a row-level policy) answers guesses, so it takes a permit for
  ``match`` on every hidden column;
- a cast or an operator takes a permit for ``call`` on its very function, as the function by its name does.

What triggers and rules write elsewhere, as for an audit, is `fills`: one that can't be followed takes a permit for ``derive``, or
for ``call`` on its very function.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set

import msgspec

from .accesses import Resolver, Unresolved
from .fills import Filling, place_of
from .hidden import Column, Permits
from .inference import Refusal
from .lineage.views import FIRST_USER_OID
from .paths import path
from .sql.analysis import Analysis
from .sql.catalog import Catalog
from .sql.functions import CLASSES
from .sql.held import Function, Unasked

_WORDS = re.compile(r"\w+").findall
_DISTINCT_FROM = re.compile(r"\bdistinct\s+from\b")
_WHOLE_ROW = re.compile(r"(?<!return )\b(?:new|old)\b(?!\s*\.\s*[\w\"])")
_READ = frozenset(["from", "table", "execute", "perform", "call", "do", "copy", "fetch", "cursor"])
_WRITE = frozenset(["insert", "update", "delete", "merge", "truncate"])
_HARMLESS_CLASSES = frozenset(["pure", "reads_catalog", "reads_settings", "sleeps", "sequences"])
_UNICODE = 'u&"'
_CHANGES = frozenset(["trigger before", "rule", "default", "generated column"])
_ASKS = frozenset(["check constraint", "index", "generated column", "row-level policy"])
_KEEP = frozenset(["trigger", "trigger before", "rule"])
_CALLS = frozenset(["cast", "operator"])
_WRITES = {"copy_in": "insert"}
MAX_ROUNDS = 20
"""Steps over foreign keys that are followed."""


class Run(msgspec.Struct, frozen=True):
    """One thing that runs unasked."""

    what: str
    """As `sql.catalog.Unasked` has it; ``operator`` for an operator."""
    where: str
    """What it is attached to, for a sentence."""
    call: str
    """Path of the function in its database; empty for a rule."""
    permitted: bool
    """A policy permits to call the very function."""
    of_type: bool = False
    """It is attached to a type."""
    lost: bool = False
    """It can't be followed, so it may keep anything anywhere."""

    @property
    def changes(self) -> bool:
        """Whether it may decide what rows hold that come back."""
        return self.what in _CHANGES

    @property
    def asks(self) -> bool:
        """Whether it may refuse a row by what it reads."""
        return self.what in _ASKS

    @property
    def gives(self) -> bool:
        """Whether expressions may have values of its making."""
        return self.what in _CALLS


class Running(msgspec.Struct, frozen=True):
    """What runs unasked in one database for one agent, but for what is harmless."""

    relations: Mapping[tuple[str, str], Mapping[str, tuple[Run, ...]]] = {}
    """By (schema, relation) and by action."""
    words: Mapping[str, tuple[Run, ...]] = {}
    """By a word that a text must hold to run it, in lower case: a type, an operator; ``""`` is in each."""
    looks: Mapping[tuple[str, str], frozenset[Column]] = {}
    """Relations with row-level policies, to the tagged columns that these look at."""

    def met(self, analysis: Analysis, text: str, resolver: Resolver) -> list[Run]:
        """What the text runs unasked."""
        found: dict[Run, None] = {}
        if self.words:
            lowered = text.lower()
            words = set(_WORDS(lowered))
            for word, runs in self.words.items():
                if word in words or (not word.isidentifier() and word in lowered) or _UNICODE in lowered:
                    found.update(dict.fromkeys(runs))
        if self.relations:
            for place, action in _places(analysis, resolver):
                found.update(dict.fromkeys(self.relations.get(place, {}).get(action, ())))
        return list(found)

    def traps(self, analysis: Analysis, text: str, resolver: Resolver) -> bool:
        """Whether a value in the text may be of a type whose making, or casting, runs something."""
        runs = [run for place, _ in _places(analysis, resolver) for by in self.relations.get(place, {}).values() for run in by]
        return bool(self.met(analysis, text, resolver)) or any(run.of_type for run in runs)

    def looked_at(self, analysis: Analysis, resolver: Resolver) -> set[Column]:
        """The tagged columns by which row-level policies choose the statement's rows."""
        if not self.looks:
            return set()
        return {column for place, _ in _places(analysis, resolver) for column in self.looks.get(place, ())}


def _places(analysis: Analysis, resolver: Resolver) -> Iterable[tuple[tuple[str, str], str]]:
    for access in analysis.accesses:
        if access.kind == "table" and access.action != "create":
            try:
                places = resolver.relations(access)
            except Unresolved:
                continue
            yield from ((place, _WRITES.get(access.action, access.action)) for place in places)


def refusal(runs: Sequence[Run], hidden: Set[Column], permits: Permits, named: Callable[[Column], str]) -> Refusal | None:
    """Why what runs unasked may not run; None when that is permitted. `hidden`: all hidden columns."""
    for run in runs:
        unseen = sorted(hidden - permits["match"]) if run.asks else []
        if unseen:
            return Refusal(
                f"no policy permits match on {named(unseen[0])}, which {run.call} may read: {run.where} calls it, so the answer"
                " could confirm a guess",
                "Ask for a policy that permits match on all hidden columns, or have the function read no tables.",
            )
        unkept = sorted(hidden - permits["derive"]) if run.lost and not run.permitted else []
        if unkept:
            what = f"{run.call}, which {run.where} runs unasked," if run.call else f"{run.where}, which can't be followed,"
            return Refusal(
                f"no policy permits derive on {named(unkept[0])}: {what} may keep hidden columns where no mask reaches them",
                f"Ask for a policy that permits {'to call that very function' if run.call else 'derive on all hidden columns'};"
                " what it fills then needs tags of its own.",
            )
        if run.gives and not run.permitted:
            return Refusal(
                f"no policy names the function to permit call on {run.call}, which {run.where} runs unasked",
                "Ask for a policy that permits to call that very function.",
            )
    return None


def running(
    catalog: Catalog,
    hidden: Mapping[int, frozenset[str]],
    origins: Mapping[tuple[int, int], Iterable[Column]],
    permits: Callable[[str, str], bool],
    filling: Filling,
) -> Running:
    """What runs unasked; O(catalog).

    `filling`: what is known of what triggers and rules do.
    `hidden`: relations with hidden columns, to their names. `origins`: each column that shows hidden values, by numbers, to the
    tagged ones. `permits`: whether the agent may call the function of a schema and name.
    """
    judged = Judge(catalog)
    at: defaultdict[int, defaultdict[str, dict[Run, None]]] = defaultdict(lambda: defaultdict(dict))

    def run(found: Unasked, what: str, where: str) -> Run:
        function = found.function
        if function is None:
            return Run(what, where, "", False)
        return Run(what, where, path(function.schema, function.name), permits(function.schema, function.name))

    clean: set[Run] = set()
    traps = {}
    for trap in catalog.traps():
        if not judged.harmless(trap.function, frozenset()):
            name = catalog.user_types().get(trap.place, ("", ""))[0]
            traps[msgspec.structs.replace(run(trap, trap.what, f"the type {name}"), of_type=True)] = trap.place
    for found in catalog.unasked():
        if not judged.harmless(found.function, hidden.get(found.place, frozenset())):
            entry = run(found, found.what, f"a {_said(found.what)} of {_name(catalog, found.place)}")
            if found.what in _KEEP:
                entry = msgspec.structs.replace(entry, lost=place_of(found) in filling.lost)
                if place_of(found) in filling.clean:
                    clean.add(entry)
            for action in found.actions:
                at[found.place][action][entry] = None
    trapped = _Trapped(catalog, set(traps.values()))
    if traps:
        for oid in catalog.all_oids():
            if any(map(trapped.holds, catalog.types_in(oid))):
                for action in ("select", "insert", "update"):
                    at[oid][action].update(dict.fromkeys(r for r in traps if action != "select" or r.what == "cast"))
    words: defaultdict[str, dict[Run, None]] = defaultdict(dict)
    for oid, (name, _) in catalog.user_types().items():
        if traps and trapped.holds(oid):
            words[name.lower()].update(dict.fromkeys(traps))
    if any(place < FIRST_USER_OID for place in traps.values()) and not any(place >= FIRST_USER_OID for place in traps.values()):
        words[""].update(dict.fromkeys(traps))
    for operator in catalog.operators():
        if not judged.harmless(operator.function, frozenset()):
            words[operator.what][run(operator, "operator", f"the operator {operator.what}")] = None
    _spread(catalog, at)
    _without(catalog, at, clean)
    return Running(
        {place: {action: tuple(runs) for action, runs in by.items()} for place, by in _named(catalog, at).items()},
        {word: tuple(runs) for word, runs in words.items()},
        _looks(catalog, origins),
    )


class Judge:
    """Tells functions that can't bring anything from the others."""

    def __init__(self, catalog: Catalog) -> None:
        self._own = {function.name.lower() for function in catalog.functions()}
        self._bad = _READ | _WRITE | {name for name, kind in CLASSES.items() if kind not in _HARMLESS_CLASSES} | self._own
        self._symbols = {operator.what for operator in catalog.operators()}
        self._types = {name.lower() for name, _ in catalog.user_types().values()} if catalog.traps() else set()

    def harmless(self, function: Function | None, hidden: frozenset[str]) -> bool:
        """Whether all it can work with is what it is given, without the `hidden` columns of a trigger's row."""
        if function is None or function.code is None:
            return False
        text = _DISTINCT_FROM.sub(" ", function.code.lower())
        words = set(_WORDS(text))
        if _UNICODE in text or words & (self._bad | self._types) or any(symbol in text for symbol in self._symbols):
            return False
        if not hidden:
            return True
        return not words & {name.lower() for name in hidden} and _WHOLE_ROW.search(" ".join(text.split())) is None


class _Trapped:
    """Which types hold a value whose making, or casting, runs something."""

    def __init__(self, catalog: Catalog, traps: set[int]) -> None:
        self._catalog, self._traps = catalog, traps

    def holds(self, oid: int) -> bool:
        """Whether the type is one, or may be made of one: what isn't known to be a single value may."""
        if oid in self._traps:
            return oid >= FIRST_USER_OID
        if oid < FIRST_USER_OID:
            return False
        kind = self._catalog.user_types().get(oid, ("", ""))[1]
        if kind == "d":
            base = self._catalog.base_type(oid)
            return base != oid and self.holds(base)
        return kind not in ("e", "b")


def _said(what: str) -> str:
    return what.split()[0] if what in _KEEP else what


def _name(catalog: Catalog, oid: int) -> str:
    relation = catalog.relation(oid)
    return path(relation.schema, relation.name) if relation is not None else str(oid)


def _spread(catalog: Catalog, at: defaultdict[int, defaultdict[str, dict[Run, None]]]) -> None:
    """What is done to a relation is done to its children, to what refers to it by foreign keys, to what a view is over."""
    for _ in range(MAX_ROUNDS):
        before = sum(len(runs) for by in at.values() for runs in by.values())
        for oid in list(at):
            for above in catalog.ancestors(oid) | catalog.views_of(oid):
                for action, runs in at[oid].items():
                    at[above][action].update(runs)
        for key in catalog.foreign_keys():
            if key.oid in at:
                for runs in (at[key.oid]["update"], at[key.oid]["delete"]):
                    at[key.parent]["update"].update(runs)
                    at[key.parent]["delete"].update(runs)
        if before == sum(len(runs) for by in at.values() for runs in by.values()):
            return


def _without(catalog: Catalog, at: defaultdict[int, defaultdict[str, dict[Run, None]]], clean: set[Run]) -> None:
    """Take out what brings nothing: neither itself, nor by what else the statements in it run."""
    code = {path(function.schema, function.name): function.code or "" for function in catalog.functions()}
    words = {run: set(_WORDS(code.get(run.call, "").lower())) for run in clean}
    for _ in range(MAX_ROUNDS):
        bad = [
            set(_WORDS(relation.name.lower()))
            for oid, by in at.items()
            if (relation := catalog.relation(oid)) is not None and any(run not in clean for runs in by.values() for run in runs)
        ]
        left = {run for run in clean if not run.call or not any(name <= words[run] for name in bad)}
        if left == clean:
            break
        clean = left
    for by in at.values():
        for action, runs in by.items():
            by[action] = {run: None for run in runs if run not in clean}


def _named(
    catalog: Catalog, at: Mapping[int, Mapping[str, dict[Run, None]]]
) -> dict[tuple[str, str], Mapping[str, dict[Run, None]]]:
    relations = ((catalog.relation(oid), by) for oid, by in at.items())
    return {(relation.schema, relation.name): by for relation, by in relations if relation is not None}


def _looks(catalog: Catalog, origins: Mapping[tuple[int, int], Iterable[Column]]) -> dict[tuple[str, str], frozenset[Column]]:
    found: defaultdict[tuple[str, str], set[Column]] = defaultdict(set)
    for oid, seen in catalog.policies().items():
        places = {place for place in origins if place in seen or (place[0], 0) in seen}
        for relation in map(catalog.relation, {oid} | catalog.ancestors(oid) | catalog.views_of(oid)):
            if relation is not None:
                found[relation.schema, relation.name] |= {column for place in places for column in origins[place]}
    return {place: frozenset(columns) for place, columns in found.items()}


def guessed(columns: Iterable[Column], permits: Permits, named: Callable[[Column], str]) -> Refusal | None:
    """Row-level policies that choose by hidden columns; None when that is permitted."""
    for column in sorted(set(columns) - permits["match"]):
        return Refusal(
            f"no policy permits match on {named(column)}, by which a row-level policy chooses the rows: the answer could"
            " confirm a guess",
            "Ask for a policy that permits match on that column or its tag.",
        )
    return None
