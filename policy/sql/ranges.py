"""The named ranges of a FROM clause: which base columns a column reference may stand for.

Without the catalog a bare column name may belong to any table of the FROM clause, or of an outer query's. The answer is then
all of them: too many sources cost a mask too much, too few would show a value. A range whose columns can't be named (a
function's rows) has one Output that stands for each of them.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from .analysis import Output

STAR = "*"
UNCERTAIN = Output("?column?", computed=True, certain=False)

Outputs = tuple[Output, ...]


class Range(msgspec.Struct, frozen=True):
    """One item of FROM."""

    alias: str
    base: str = ""
    """The relation, as `Name` prints it; empty for a subquery, a CTE, a function."""
    outputs: Outputs = ()
    """A subquery's columns; one named ``*`` stands for columns that only the catalog could list."""
    each: Output | None = None
    """Stands for every column that isn't in `outputs`."""
    hidden: bool = False
    """Reached by its alias only, as ``excluded``, ``old``, ``new`` are."""

    def column(self, name: str) -> tuple[Output, bool] | None:
        """The column of this name and whether the range surely has it; None where it surely has not."""
        if self.base:
            return Output(name, (f"{self.base}.{name}",)), False
        for output in self.outputs:
            if output.name == name:
                return output, True
        for output in self.outputs:
            if output.name == STAR:
                sources = tuple(source[:-1] + name if source.endswith(".*") else source for source in output.sources)
                return Output(name, sources, output.computed, output.certain, output.harmless), False
        return (self.each, False) if self.each is not None else None

    def row(self) -> Output:
        """The whole row as one value."""
        if self.base:
            return Output(self.alias, (f"{self.base}.*",), computed=True)
        return merged(self.alias, [*self.outputs, *([self.each] if self.each is not None else [])])


Scopes = tuple[tuple[Range, ...], ...]
"""The ranges of the query at hand, then of the queries around it."""


def merged(name: str, outputs: Iterable[Output]) -> Output:
    """One value computed from several."""
    parts = list(outputs)
    return Output(
        name,
        tuple(sorted({source for part in parts for source in part.sources})),
        computed=True,
        certain=all(part.certain for part in parts),
        harmless=all(part.harmless for part in parts),
    )


def either(name: str, outputs: list[Output]) -> Output:
    """One of several, it isn't known which."""
    if len(outputs) == 1:
        found = outputs[0]
        return Output(name, found.sources, found.computed, found.certain, found.harmless)
    sources = tuple(sorted({source for output in outputs for source in output.sources}))
    return Output(
        name,
        sources,
        computed=any(output.computed for output in outputs),
        certain=bool(outputs) and all(output.certain for output in outputs),
        harmless=bool(outputs) and all(output.harmless for output in outputs),
    )


def reference(fields: tuple[str, ...], scopes: Scopes) -> Output:
    """What a column reference of one, two, three parts stands for."""
    return _bare(fields[0], scopes) if len(fields) == 1 else _qualified(fields, scopes)


def _bare(name: str, scopes: Scopes) -> Output:
    candidates: list[Output] = []
    for ranges in scopes:
        for item in ranges:
            if item.hidden:
                continue
            column = item.column(name)
            if column is not None and column[1]:
                return either(name, [column[0]])
            if column is not None:
                candidates.append(column[0])
            if item.alias == name:
                candidates.append(item.row())
    return either(name, candidates) if candidates else Output(name, computed=True, certain=False)


def _qualified(fields: tuple[str, ...], scopes: Scopes) -> Output:
    *qualifier, name = fields
    for ranges in scopes:
        for item in ranges:
            if (len(qualifier) == 1 and item.alias == qualifier[0]) or (len(qualifier) > 1 and item.base == ".".join(qualifier)):
                column = item.column(name)
                return either(name, [column[0]]) if column is not None else item.row()
    return Output(name, computed=True, certain=False)


def starred(qualifier: tuple[str, ...], ranges: tuple[Range, ...], *, joined: bool) -> list[Output]:
    """The columns of ``*`` or ``alias.*``. With merged join columns their places can't be told, so one ``*`` stands for all."""
    chosen = [item for item in ranges if not item.hidden] if not qualifier else _chosen(qualifier, ranges)
    if not chosen:
        return [Output(STAR, computed=True, certain=False)]
    if joined and not qualifier:
        whole = merged(STAR, [item.row() for item in chosen])
        return [Output(STAR, whole.sources, certain=whole.certain)]
    return [output for item in chosen for output in _star_of(item)]


def _chosen(qualifier: tuple[str, ...], ranges: tuple[Range, ...]) -> list[Range]:
    return [item for item in ranges if item.alias == qualifier[-1] and (len(qualifier) == 1 or item.base == ".".join(qualifier))]


def _star_of(item: Range) -> list[Output]:
    if item.base:
        return [Output(STAR, (f"{item.base}.*",))]
    if item.each is not None:
        return [Output(STAR, item.each.sources, computed=True, certain=item.each.certain)]
    return list(item.outputs)
