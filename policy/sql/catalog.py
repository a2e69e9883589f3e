"""What hostguard knows of one database's relations, from rows that the server answers to `catalog_queries`.

A catalog is a snapshot: whoever holds one must fetch it anew after DDL, and must not trust it to know tables made since.

Dependencies of views are those that PostgreSQL keeps itself in ``pg_depend`` (by relation and column). A view that uses a whole
row has no column-level entry for it, so views whose stored query holds a whole-row reference count as depending on every
column. Functions called by a view are not looked into; `calls_functions` names those views. Of a function that is a text in SQL
the text is kept, unless it has defaults, which may call anything, or settings of its own, under which names mean something else.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from copy import copy

from .held import Constraint, ForeignKey, Function, Relation, Unasked

MAX_ROWS = 1_000_000
"""Most rows to keep (a relation, an inheritance link, a view's dependency are a row each, a column is two): some 150 MB."""

_MAX_DOMAINS = 100
"""Domains over domains that are followed."""
MAX_TREE_CHARACTERS = 64 << 20
"""Most characters of views' stored trees to keep: some 10 kB a view. Beyond that a view's columns are not told apart."""

Row = Sequence[str | None]


class CatalogTooLarge(Exception):
    """The server has more relations than hostguard keeps; its message says how many were allowed."""


class CatalogMalformed(Exception):
    """The rows are not what QUERY gives; its message quotes the first that isn't."""


class Catalog:
    """The relations of one database, their columns, inheritance, views, constraints."""

    def __init__(self) -> None:
        self._read: Catalog | None = None
        self._relations: dict[int, Relation] = {}
        self._by_place: dict[tuple[str, str], int] = {}
        self._by_name: defaultdict[str, list[int]] = defaultdict(list)
        self._columns: defaultdict[int, dict[int, str]] = defaultdict(dict)
        self._generated: defaultdict[int, set[int]] = defaultdict(set)
        self._types: dict[tuple[int, int], int] = {}
        self._domains: dict[int, int] = {}
        self._children: defaultdict[int, set[int]] = defaultdict(set)
        self._parents: defaultdict[int, set[int]] = defaultdict(set)
        self._views: defaultdict[int, set[tuple[int, int]]] = defaultdict(set)
        self._above: defaultdict[int, set[int]] = defaultdict(set)
        self._calling: set[int] = set()
        self._functions: dict[int, Function] = {}
        self._functions_named: defaultdict[str, list[Function]] = defaultdict(list)
        self._constraints: list[Constraint] = []
        self._foreign: list[ForeignKey] = []
        self._trees: dict[int, str] = {}
        self._tree_characters = 0
        self._unasked: list[Unasked] = []
        self._rules: list[tuple[int, str]] = []
        self._vectors: list[tuple[int, tuple[str, ...]]] = []
        self._traps: list[Unasked] = []
        self._operators: list[Unasked] = []
        self._computing_signs: set[str] = set()
        self._policies: defaultdict[int, set[tuple[int, int]]] = defaultdict(set)
        self._user_types: dict[int, tuple[str, str]] = {}

    @classmethod
    def from_rows(cls, rows: Iterable[Row]) -> Catalog:
        """The catalog that the rows of QUERY describe.

        Raises CatalogTooLarge beyond `MAX_ROWS`, CatalogMalformed for anything that QUERY can't have answered.
        """
        catalog = cls()
        for count, row in enumerate(rows):
            if count >= MAX_ROWS:
                raise CatalogTooLarge(f"more than {MAX_ROWS} rows of catalog")
            try:
                catalog._add(*row)
            except (KeyError, TypeError, ValueError) as error:
                raise CatalogMalformed(f"catalog row {row!r}") from error
        return catalog

    def _add(self, kind: str | None, first: str | None, second: str | None, third: str | None, fourth: str | None) -> None:
        if first is None or second is None or third is None or fourth is None:
            raise ValueError("null")
        oid = int(first)
        if kind == "relation":
            self._relations[oid] = Relation(oid, second, third, fourth)
            self._by_place[second, third] = oid
            self._by_name[third].append(oid)
        elif kind == "column":
            self._columns[oid][int(second)] = third
            if fourth:
                self._generated[oid].add(int(second))
        elif kind == "type":
            self._types[oid, int(second)] = int(third)
        elif kind == "domain":
            self._domains[oid] = int(second)
        elif kind == "child":
            self._children[oid].add(int(second))
            self._parents[int(second)].add(oid)
        elif kind == "view":
            self._views[int(second)].add((oid, int(third)))
            self._above[int(second)].add(oid)
        elif kind == "tree":
            self._tree_characters += len(second)
            if self._tree_characters <= MAX_TREE_CHARACTERS:
                self._trees[oid] = second
        elif kind == "calls":
            self._calling.add(oid)
        elif kind == "constraint":
            self._constraints.append(Constraint(oid, _numbers(second), third))
        elif kind == "foreign":
            self._foreign.append(ForeignKey(oid, int(third), tuple(zip(_listed(second), _listed(fourth), strict=True))))
        elif kind == "function":
            self._functions[oid] = Function(second, third, fourth)
            self._functions_named[third].append(self._functions[oid])
        elif kind == "body":
            self._functions[oid].text = second
            self._functions[oid].parameters = tuple(filter(None, third.split(",")))
        elif kind == "sign":
            self._computing_signs.add(second)
        elif kind == "computes":
            self._functions[oid].computes = True
        elif kind == "code":
            self._functions[oid].code = third
        elif kind == "unasked":
            function = self._functions[int(second)] if second != "0" else None
            words = third.split()
            column = next((int(word) for word in words if word.isdigit()), 0)
            self._unasked.append(Unasked(oid, function, frozenset(w for w in words if not w.isdigit()), fourth, column))
        elif kind == "rule":
            self._rules.append((oid, second))
        elif kind == "vector":
            self._vectors.append((oid, tuple(second.split("\\000"))))
        elif kind == "trap":
            self._traps.append(Unasked(oid, self._functions[int(second)], frozenset(), fourth))
            self._user_types.setdefault(oid, (third, ""))
        elif kind == "operator":
            self._operators.append(Unasked(oid, self._functions[int(third)], frozenset(), second))
        elif kind == "policy":
            self._policies[oid].add((int(second), int(third)))
        elif kind == "usertype":
            self._user_types[oid] = second, third
        else:
            raise ValueError(kind)

    def beside(self, places: Mapping[tuple[str, str], Sequence[str]]) -> Catalog:
        """This one with further tables: (schema, name) to their columns. Their OIDs are none that a server gives."""
        found = copy(self)
        found._read = self.read
        found._relations, found._by_place = dict(self._relations), dict(self._by_place)
        found._by_name, found._columns = copy(self._by_name), copy(self._columns)
        for oid, ((schema, name), columns) in enumerate(places.items(), 1 << 32):
            found._relations[oid] = Relation(oid, schema, name, "r")
            found._by_place[schema, name] = oid
            found._by_name[name] = [*self._by_name.get(name, ()), oid]
            found._columns[oid] = dict(enumerate(columns, 1))
        return found

    @property
    def read(self) -> Catalog:
        """As the server told it, without what stands beside."""
        return self if self._read is None else self._read

    def all_oids(self) -> frozenset[int]:
        """Every relation's OID."""
        return frozenset(self._relations)

    def relation(self, oid: int) -> Relation | None:
        """The relation with this OID."""
        return self._relations.get(oid)

    def oids_of(self, schema: str, table: str) -> tuple[int, ...]:
        """The OID of a relation: one or none."""
        oid = self._by_place.get((schema, table))
        return () if oid is None else (oid,)

    def named(self, name: str) -> tuple[Relation, ...]:
        """Every relation of this name, in any schema, ordered by schema."""
        return tuple(sorted((self._relations[oid] for oid in self._by_name.get(name, ())), key=lambda relation: relation.schema))

    def columns(self, oid: int) -> dict[int, str]:
        """A relation's columns: attribute number → name."""
        return dict(self._columns.get(oid, {}))

    def generated(self, oid: int) -> frozenset[int]:
        """Attribute numbers of the columns that are computed from others (GENERATED ALWAYS AS)."""
        return frozenset(self._generated.get(oid, ()))

    def computed_from(self, oid: int, number: int) -> frozenset[int]:
        """Attribute numbers of the columns that a generated column is computed from; none where that isn't known."""
        found = (c.columns for c in self._constraints if c.oid == oid and c.what == "generated column" and number in c.columns)
        return next(found, frozenset()) - {number}

    def attnum(self, oid: int, column: str) -> int | None:
        """The attribute number of a relation's column."""
        return next((number for number, name in self._columns.get(oid, {}).items() if name == column), None)

    def type_of(self, oid: int, attnum: int) -> int:
        """OID of a column's type, of a domain's base type as the server sends its values; 0 where that is not known."""
        found = self._types.get((oid, attnum), 0)
        for _ in range(_MAX_DOMAINS):
            if found not in self._domains:
                return found
            found = self._domains[found]
        return 0

    def base_type(self, oid: int) -> int:
        """OID of what a domain is over, itself for what is none."""
        return self._domains.get(oid, oid)

    def descendants(self, oid: int) -> frozenset[int]:
        """Children and partitions at any depth, the relation itself left out."""
        return _reachable(oid, self._children)

    def ancestors(self, oid: int) -> frozenset[int]:
        """The relations whose rows include this one's, at any height."""
        return _reachable(oid, self._parents)

    def showing(self, oid: int) -> frozenset[int]:
        """Relations through which rows of this one may be read or written: itself, relatives by inheritance, views over them."""
        rows = {oid} | self.descendants(oid) | self.ancestors(oid)
        return frozenset(rows).union(*(_reachable(each, self._above) for each in rows))

    def views_over(self, oid: int, attnum: int) -> frozenset[int]:
        """Views, at any depth, that may show or use this column.

        The first level is known by column. Above that a view of a view counts whichever of its columns it uses, as PostgreSQL
        does not keep which column of a view came from which.
        """
        first = {view for view, column in self._views.get(oid, ()) if column in (0, attnum)}
        return frozenset(first).union(*(_reachable(view, self._above) for view in first))

    def views_of(self, oid: int) -> frozenset[int]:
        """Views, at any depth, over a relation."""
        first = {view for view, _ in self._views.get(oid, ())}
        return frozenset(first).union(*(_reachable(view, self._above) for view in first))

    def constraints(self) -> list[Constraint]:
        """What is checked when rows are written."""
        return self._constraints

    def foreign_keys(self) -> list[ForeignKey]:
        """All foreign keys."""
        return self._foreign

    def functions(self) -> Iterable[Function]:
        """All functions."""
        return self._functions.values()

    def functions_named(self, schema: str | None, name: str) -> list[Function]:
        """The functions that a call may mean; None: in any schema."""
        return [found for found in self._functions_named.get(name, ()) if schema in (None, found.schema)]

    def unasked(self) -> list[Unasked]:
        """What runs unasked when something is done to a relation."""
        return self._unasked

    def rules(self) -> list[tuple[int, str]]:
        """(OID of a relation, tree of the queries that a rule on it runs), but for views' own."""
        return self._rules

    def vectors(self) -> list[tuple[int, tuple[str, ...]]]:
        """(OID of a table, arguments of a trigger that fills its column for text search): that column, a configuration or the
        column that names it, the columns that are put into it."""
        return self._vectors

    def traps(self) -> list[Unasked]:
        """What runs unasked when a value becomes one of a type, or is one and becomes another."""
        return self._traps

    def operators(self) -> list[Unasked]:
        """What runs for operators; each under its name."""
        return self._operators

    def computing_signs(self) -> Set[str]:
        """Names of operators that PostgreSQL did not bring, all of which work with nothing but what they are given."""
        return self._computing_signs

    def policies(self) -> Mapping[int, set[tuple[int, int]]]:
        """Relations with row-level policies, to the (relation, attribute number) that these look at; 0: whole rows of it, -1: the
        relation as such."""
        return self._policies

    def user_types(self) -> Mapping[int, tuple[str, str]]:
        """(name, pg_type.typtype) of the types that PostgreSQL did not bring, but for arrays and rows of tables; of those that
        are cast by a function too, then with an empty typtype."""
        return self._user_types

    def types_in(self, oid: int) -> set[int]:
        """Types of a relation's columns."""
        return {self._types[oid, number] for number in self._columns.get(oid, ()) if (oid, number) in self._types}

    def tree(self, view: int) -> str | None:
        """The tree of a view's query as the server stored it; None for what is no view, or where it is not known."""
        return self._trees.get(view)

    def calls_functions(self) -> frozenset[int]:
        """Views, at any depth, that call a function PostgreSQL did not bring: what they read can't be told."""
        return frozenset(self._calling).union(*(_reachable(view, self._above) for view in self._calling))


def _listed(text: str) -> list[int]:
    """The attribute numbers in ``{1,2}`` or ``1 2``; 0 stands for an expression, negative ones for system columns."""
    return [int(number) for number in re.findall(r"(?<![-\d])\d+", text)]


def _numbers(text: str) -> frozenset[int]:
    return frozenset(_listed(text)) - {0}


def _reachable(start: int, links: dict[int, set[int]]) -> frozenset[int]:
    seen: set[int] = set()
    waiting = [start]
    while waiting:
        for following in links.get(waiting.pop(), ()):
            if following not in seen and following != start:
                seen.add(following)
                waiting.append(following)
    return frozenset(seen)


def search_path(rows: Iterable[Row]) -> tuple[str, ...]:
    """The search_path that the rows of SESSION_QUERY give, implicit schemas included. Raises CatalogMalformed."""
    schemas = []
    for row in rows:
        if len(row) != 1 or row[0] is None:
            raise CatalogMalformed(f"search_path row {row!r}")
        schemas.append(row[0])
    return tuple(schemas)
