"""Schemas with rows, made up from a seed, whose twins differ in the secret columns only."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

TYPES = ("int", "text", "date", "numeric", "bool", "jsonb")
ROWS = 6
WORDS = ("amber", "basalt", "cobalt", "dune", "ember", "fjord", "grove", "heath", "islet", "jetty", "knoll", "lagoon")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a relation; the secret ones carry the tag, or come from one that does."""

    name: str
    type: str
    secret: bool


@dataclass(frozen=True, slots=True)
class Relation:
    """A table or view. Its first column is ``id``, 1 to ROWS."""

    name: str
    columns: tuple[Column, ...]
    is_view: bool = False


@dataclass(frozen=True, slots=True)
class Schema:
    """Several relations, some of which a statement crosses."""

    relations: tuple[Relation, ...]
    definitions: tuple[str, ...]
    seed: int

    @property
    def tables(self) -> list[Relation]:
        """Those that hold rows."""
        return [relation for relation in self.relations if not relation.is_view]

    def tagged(self) -> Iterator[str]:
        """``table/column`` of the columns that carry the tag."""
        for table in self.tables:
            yield from (f"{table.name}/{column.name}" for column in table.columns if column.secret)

    def rows(self, twin: str) -> Iterator[str]:
        """The statements that fill the tables."""
        for table in self.tables:
            for number in range(1, ROWS + 1):
                values = [self._value(table, column, number, twin) for column in table.columns]
                yield f"INSERT INTO {table.name} VALUES ({', '.join(values)})"

    def _value(self, table: Relation, column: Column, number: int, twin: str) -> str:
        if column.name == "id":
            return str(number)
        words = [str(self.seed), table.name, column.name, str(number)]
        return literal(random.Random(" ".join([*words, twin] if column.secret else words)), column.type)


def literal(chance: random.Random, kind: str) -> str:
    """A constant of a type, as SQL. Its domain is small, so that values meet in joins and comparisons."""
    number, word = chance.randrange(1, 13), chance.choice(WORDS)
    return {
        "int": str(number),
        "text": f"'{word}{'-' * chance.randrange(3)}'",
        "date": f"date '2024-{number:02}-0{1 + number % 9}'",
        "numeric": f"{number}.5",
        "bool": str(number % 2 == 0).lower(),
        "jsonb": f"""jsonb '{{"k": "{word}", "n": {number}, "l": [1, {number}]}}'""",
    }[kind]


def schema(seed: int, prefix: str) -> Schema:
    """Two or three tables and a view over each, with names that begin with `prefix`."""
    chance = random.Random(seed)
    relations: list[Relation] = []
    definitions: list[str] = []
    for number in range(chance.randrange(2, 4)):
        columns = [Column("id", "int", False)]
        for position in range(chance.randrange(3, 7)):
            # Names meet across tables, with a tag here and without one there.
            columns.append(Column(f"c{position}", chance.choice(TYPES), chance.random() < 0.45))
        table = Relation(f"{prefix}t{number}", tuple(columns))
        definitions.append(_definition(table, chance))
        relations.append(table)
        view = Relation(f"{prefix}v{number}", tuple(Column(f"v{c.name}", c.type, c.secret) for c in columns), True)
        view = Relation(view.name, (columns[0], *view.columns[1:]), True)
        selected = ", ".join(f"{_through(c, chance)} AS {'id' if c.name == 'id' else 'v' + c.name}" for c in columns)
        definitions.append(f"CREATE VIEW {view.name} AS SELECT {selected} FROM {table.name}")
        relations.append(view)
    return Schema(tuple(relations), tuple(definitions), seed)


def _definition(table: Relation, chance: random.Random) -> str:
    """A table of its own, with a key now and then, or with partitions."""
    columns = ", ".join(f"{column.name} {column.type}" for column in table.columns)
    if chance.random() < 0.3:
        parts = f"CREATE TABLE {table.name}low PARTITION OF {table.name} FOR VALUES FROM (0) TO (4)"
        rest = f"CREATE TABLE {table.name}high PARTITION OF {table.name} FOR VALUES FROM (4) TO (99)"
        return f"CREATE TABLE {table.name} ({columns}) PARTITION BY RANGE (id); {parts}; {rest}"
    key = ", PRIMARY KEY (id)" if chance.random() < 0.5 else ""
    return f"CREATE TABLE {table.name} ({columns}{key})"


def _through(column: Column, chance: random.Random) -> str:
    """A column of a view: the table's own, or computed from it."""
    if column.name == "id" or chance.random() < 0.6:
        return column.name
    return {
        "int": f"{column.name} % 5",
        "text": f"reverse({column.name})",
        "date": f"{column.name} + 1",
        "numeric": f"round({column.name})",
        "bool": f"NOT {column.name}",
        "jsonb": f"{column.name} || '{{}}'",
    }[column.type]
