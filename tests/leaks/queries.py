"""Statements over a generated schema, drawn by hypothesis: any nesting of what SQL has for reading and passing on values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import TypeVar

from hypothesis import strategies as st
from leaks.schemas import TYPES, Column, Schema, literal

T = TypeVar("T")
SENT = ("simple", "extended", "binary", "portal")


@dataclass(frozen=True, slots=True)
class Ranges:
    """What stands in FROM: the columns that expressions may name, each with its alias."""

    text: str
    columns: tuple[Column, ...]


class Writer:
    """Writes one statement.

    `anywhere`: secrets may stand wherever an expression may; else only where their value goes into the reply or into a write,
    never where it decides about rows, their number or order, or whether the statement fails.
    """

    def __init__(self, chance: Random, schema: Schema, anywhere: bool) -> None:
        self._random, self._schema, self._anywhere = chance, schema, anywhere
        self._names = 0

    def script(self, depth: int) -> tuple[str, list[str]]:
        """(how it is sent, statements) of one session; `depth`: how deep queries and expressions nest."""
        query = self.query(depth)[0]
        form = self._choose(range(14))
        sent = self._choose(SENT)
        if form == 0:
            return "simple", [f"COPY ({query}) TO STDOUT"]
        if form == 1:
            return "simple", [f"PREPARE p AS {query}", "EXECUTE p"]
        if form == 2:
            return "simple", ["BEGIN", f"DECLARE k CURSOR FOR {query}", "FETCH 3 FROM k", "FETCH ALL FROM k", "COMMIT"]
        if form == 3:
            return "simple", [f"CREATE TEMP TABLE kept AS {query}", "SELECT * FROM kept"]
        if form == 4:
            return "simple", [f"CREATE TEMP VIEW kept AS {query}", "SELECT * FROM kept"]
        if form in (5, 6):
            return "simple", ["BEGIN", self._write(), "ROLLBACK"]
        if form == 7:
            return "simple", [f"SELECT json_agg(q) FROM ({query}) AS q", f"SELECT q::text FROM ({query}) AS q"]
        return sent, [query]

    def query(self, depth: int) -> tuple[str, tuple[Column, ...]]:
        """A SELECT with the columns that it gives, which have names of their own."""
        form = self._choose(range(8)) if depth > 1 else 7
        if form == 0:
            inner, columns = self.query(depth - 1)
            name = self._name()
            text, outer = self._select(Ranges(name, _under(name, columns)), depth - 1)
            return f"WITH {name} AS ({inner}) {text}", outer
        if form == 1:
            left, columns = self.query(depth - 1)
            expressions = ", ".join(self._constant(column.type) for column in columns)
            union = self._choose(("UNION ALL", "UNION", "EXCEPT", "INTERSECT")) if self._anywhere else "UNION ALL"
            return f"({left}) {union} SELECT {expressions}", columns
        return self._select(self._ranges(depth), depth)

    def _select(self, ranges: Ranges, depth: int) -> tuple[str, tuple[Column, ...]]:
        clauses = [f"FROM {ranges.text}"]
        if self._chance(2 if self._anywhere else 4):
            clauses.append(f"WHERE {self._predicate(ranges, depth)}")
        if self._chance(4):
            return self._grouped(ranges, clauses, depth)
        columns, selected = [], []
        for _ in range(self._choose(range(1, 4))):
            column, text = self._output(ranges, depth)
            columns.append(column)
            selected.append(f"{text} AS {column.name}")
        order = self._ordering(ranges)
        limit = f" LIMIT {self._choose(range(1, 6))}" if order and self._chance(3) else ""
        distinct = "DISTINCT " if self._anywhere and self._chance(6) and not order else ""
        return f"SELECT {distinct}{', '.join(selected)} {' '.join(clauses)}{order}{limit}", tuple(columns)

    def _grouped(self, ranges: Ranges, clauses: list[str], depth: int) -> tuple[str, tuple[Column, ...]]:
        """Aggregates, by groups of what is no secret."""
        column, text = self._aggregate(ranges, depth)
        key = self._pick(self._open(ranges.columns))
        if key is None or self._chance(2):
            return f"SELECT {text} AS {column.name} {' '.join(clauses)}", (column,)
        first = Column(self._name(), key.type, key.secret)
        selected = f"{key.name} AS {first.name}, {text} AS {column.name}"
        return f"SELECT {selected} {' '.join(clauses)} GROUP BY {key.name} ORDER BY {key.name}", (first, column)

    def _aggregate(self, ranges: Ranges, depth: int) -> tuple[Column, str]:
        source = self._pick(ranges.columns)
        assert source is not None
        inner = self._expression(ranges, source.type, depth - 1, self._reply)
        order = self._pick(self._open(ranges.columns))
        by = f" ORDER BY {order.name}" if order is not None else ""
        if source.type in ("bool", "jsonb") or self._chance(2):
            kind, text = ("text", f"string_agg(({inner})::text, ','{by})")
        else:
            kind, text = source.type, f"{self._choose(('min', 'max'))}({inner})"
        if self._chance(4):
            counted = inner if self._anywhere else "*"
            kind, text = "int", f"count({counted})::int"
        return Column(self._name(), kind, True), text

    def _output(self, ranges: Ranges, depth: int) -> tuple[Column, str]:
        kind = self._choose(TYPES)
        secret = tuple(column for column in ranges.columns if column.secret)
        if self._chance(3) and (column := self._pick(secret or ranges.columns)) is not None:
            return replace(column, name=self._name()), column.name
        if self._chance(7):
            order = self._pick(self._open(ranges.columns))
            over = f"OVER (ORDER BY {order.name})" if order is not None else "OVER ()"
            inner = self._expression(ranges, "text", depth - 1, self._reply)
            return Column(self._name(), "text", True), f"first_value({inner}) {over}"
        return Column(self._name(), kind, True), self._expression(ranges, kind, depth, self._reply)

    def _ranges(self, depth: int) -> Ranges:
        one = self._range(depth)
        if not self._chance(2):
            return one
        other = self._range(depth)
        join = self._choose(("JOIN", "LEFT JOIN", "CROSS JOIN LATERAL"))
        columns = (*one.columns, *other.columns)
        if join == "CROSS JOIN LATERAL":
            name, made = self._name(), self._name()
            kind = self._choose(TYPES)
            inner = self._expression(one, kind, depth - 1, self._reply)
            made_columns = (*one.columns, Column(f"{name}.{made}", kind, True))
            return Ranges(f"{one.text} CROSS JOIN LATERAL (SELECT {inner} AS {made}) AS {name}", made_columns)
        return Ranges(f"{one.text} {join} {other.text} ON {self._predicate(Ranges('', columns), depth)}", columns)

    def _range(self, depth: int) -> Ranges:
        name = self._name()
        if depth > 1 and self._chance(3):
            text, columns = self.query(depth - 1)
            return Ranges(f"({text}) AS {name}", _under(name, columns))
        relation = self._choose(self._schema.relations)
        return Ranges(f"{relation.name} AS {name}", _under(name, relation.columns))

    def _predicate(self, ranges: Ranges, depth: int) -> str:
        """A condition; over what is no secret, unless anything goes."""
        column = self._pick(self._open(ranges.columns))
        if column is not None and column.type != "jsonb" and not self._chance(3):
            return f"{column.name} {self._choose(('<>', '<=', '>='))} {self._constant(column.type)}"
        return self._expression(ranges, "bool", depth - 1, self._open)

    def _ordering(self, ranges: Ranges) -> str:
        column = self._pick(self._open(ranges.columns))
        return f" ORDER BY {column.name}" if column is not None and self._chance(2) else ""

    def _open(self, columns: tuple[Column, ...]) -> tuple[Column, ...]:
        """The columns that may decide about rows."""
        return columns if self._anywhere else tuple(column for column in columns if not column.secret)

    def _reply(self, columns: tuple[Column, ...]) -> tuple[Column, ...]:
        return columns

    def _expression(
        self, ranges: Ranges, kind: str, depth: int, which: Callable[[tuple[Column, ...]], tuple[Column, ...]]
    ) -> str:
        """An expression of a type over columns that `which` lets pass. None of what it is made of fails for any value."""
        columns = which(ranges.columns)
        plain = self._pick(tuple(column for column in columns if column.type == kind))
        if depth <= 0 or self._chance(3):
            return plain.name if plain is not None else self._made_of(self._pick(columns), kind)

        def part(of: str) -> str:
            return self._expression(ranges, of, depth - 1, which)

        if self._chance(8):
            return self._scalar(kind, depth, which)
        if self._chance(6):
            return f"CASE WHEN {part('bool')} THEN {part(kind)} ELSE {part(kind)} END"
        if self._chance(8):
            return f"coalesce({part(kind)}, {part(kind)})"
        forms = {
            "int": ("({int} % 7)", "abs({int})", "length({text})", "extract(month FROM {date})::int", "({bool})::int"),
            "text": (
                "({text} || {text})",
                "upper({text})",
                "reverse({text})",
                "substr({text}, 2, 3)",
                "md5({text})",
                "({any})::text",
                "({jsonb} ->> 'k')",
                "to_jsonb({any})::text",
                "encode(convert_to({text}, 'UTF8'), 'hex')",
            ),
            "date": ("({date} + 1)", "greatest({date}, {date})"),
            "numeric": ("round({numeric})", "({int})::numeric", "least({numeric}, {numeric})"),
            "bool": (
                "({int} < {int})",
                "({text} LIKE {text})",
                "({date} = {date})",
                "NOT ({bool})",
                "({any} IS NULL)",
                "({bool} AND {bool})",
            ),
            "jsonb": ("jsonb_build_object('a', {any})", "to_jsonb({any})", "jsonb_build_array({any}, {any})", "({jsonb} -> 'l')"),
        }[kind]
        text = self._choose(forms)
        while "{" in text.replace("{}", ""):
            start = text.index("{")
            end = text.index("}", start)
            of = text[start + 1 : end]
            text = text[:start] + "\1" + part(self._choose(TYPES) if of == "any" else of).replace("{", "\2") + text[end + 1 :]
        return text.replace("\1", "").replace("\2", "{")

    def _scalar(self, kind: str, depth: int, which: Callable[[tuple[Column, ...]], tuple[Column, ...]]) -> str:
        """A subquery that gives one value."""
        inner = self._range(depth - 1)
        number = next((column.name for column in inner.columns if column.name.endswith(".id")), None)
        text = self._expression(inner, kind, depth - 2, which)
        where = f" WHERE {number} = {self._choose(range(1, 7))}" if number is not None else ""
        return f"(SELECT {text} FROM {inner.text}{where} LIMIT 1)"

    def _write(self) -> str:
        """A change of a table that answers with rows."""
        table = self._choose(self._schema.tables)
        ranges = Ranges(table.name, _under(table.name, table.columns))
        returning = ", ".join(self._output(ranges, 2)[1] for _ in range(2))
        target = self._pick(table.columns[1:])
        assert target is not None
        form = self._choose(range(3))
        if form == 0:
            return f"DELETE FROM {table.name} WHERE {self._predicate(ranges, 2)} RETURNING {returning}"
        if form == 1:
            value = self._expression(ranges, target.type, 2, self._reply)
            return f"UPDATE {table.name} SET {target.name} = {value} WHERE {self._predicate(ranges, 2)} RETURNING {returning}"
        values = ", ".join(
            "77" if column.name == "id" else self._expression(ranges, column.type, 2, self._reply) for column in table.columns
        )
        return f"INSERT INTO {table.name} SELECT {values} FROM {table.name} WHERE id = 1 RETURNING {returning}"

    def _made_of(self, column: Column | None, kind: str) -> str:
        """A value of a type that depends on a column of any type; a constant where there is none."""
        if column is None:
            return self._constant(kind)
        text = f"({column.name})::text"
        return {
            "int": f"ascii(substr({text}, 5))",
            "text": text,
            "date": f"(date '2024-01-01' + ascii(right({text}, 1)))",
            "numeric": f"ascii(right({text}, 3))::numeric",
            "bool": f"({text} < md5({text}))",
            "jsonb": f"to_jsonb({column.name})",
        }[kind]

    def _constant(self, kind: str) -> str:
        return literal(self._random, kind)

    def _choose(self, options: Sequence[T]) -> T:
        return self._random.choice(options)

    def _pick(self, columns: tuple[Column, ...]) -> Column | None:
        return self._choose(columns) if columns else None

    def _chance(self, one_in: int) -> bool:
        return self._choose(range(one_in)) == one_in - 1

    def _name(self) -> str:
        self._names += 1
        return f"n{self._names}"


def _under(name: str, columns: tuple[Column, ...]) -> tuple[Column, ...]:
    return tuple(replace(column, name=f"{name}.{column.name}") for column in columns)


def scripts(schemas: Sequence[Schema], anywhere: bool) -> st.SearchStrategy[tuple[str, list[str]]]:
    """(how it is sent, statements) over one of the schemas.

    Drawn evenly from a seed: drawn choice by choice, most of hypothesis's examples would be small changes of one another. What is
    left to shrink is the depth.
    """
    writers = st.builds(Writer, st.randoms(use_true_random=True), st.sampled_from(schemas), st.just(anywhere))
    return st.builds(Writer.script, writers, st.integers(1, 4))
