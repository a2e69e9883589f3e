"""The matrix of duties as a table that people read: the words of its cells, the same on the page as on the command line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from .document import Document
from .holders import Holding, Matrix, Part


class Way(msgspec.Struct, frozen=True):
    """One way in which somebody may exercise a duty, or take part in it."""

    words: str
    """``yes``, ``yes, group dba approves``, ``unsure``; ``owns payee-bot``, ``approves for payee-bot``."""
    sure: bool


class Row(msgspec.Struct, frozen=True):
    """One agent or user."""

    kind: str
    """``agent`` or ``user``."""
    name: str
    owner: str
    """An agent's; empty for a user."""
    clashes: bool
    """Whether they could exercise two duties that must always be apart."""
    cells: tuple[tuple[Way, ...], ...]
    """For each duty, in their order; nothing for one that they can't exercise."""


class Apart(msgspec.Struct, frozen=True):
    """Two duties of somebody's that are kept apart when they run."""

    how: str
    """``within one object``."""
    words: str


class Table(msgspec.Struct, frozen=True):
    """Everybody."""

    duties: tuple[str, ...]
    rows: tuple[Row, ...]
    conflicts: tuple[str, ...]
    """Who could exercise duties that must always be apart, a sentence each with the shortest example."""
    apart: tuple[Apart, ...]


def table(document: Document, matrix: Matrix) -> Table:
    """The matrix of that document."""
    duties = tuple(document.duties)
    holdings, parts = _by_cell(matrix.holdings), _of_users(matrix.parts)
    clashing = {conflict.who for conflict in matrix.conflicts}
    agents = (
        Row(
            "agent",
            name,
            agent.owner,
            f"agent {name}" in clashing,
            tuple(tuple(map(_held, holdings.get((name, duty), ()))) for duty in duties),
        )
        for name, agent in document.agents.items()
    )
    users = (
        Row("user", name, "", f"user {name}" in clashing, tuple(_taken(parts.get((name, duty), ())) for duty in duties))
        for name in document.users
    )
    return Table(
        duties,
        (*agents, *users),
        tuple(map(str, matrix.conflicts)),
        tuple(Apart(conflict.apart, str(conflict)) for conflict in matrix.separated),
    )


def _by_cell(holdings: Iterable[Holding]) -> dict[tuple[str, str], list[Holding]]:
    found: dict[tuple[str, str], list[Holding]] = {}
    for each in holdings:
        found.setdefault((each.agent, each.duty), []).append(each)
    return found


def _of_users(parts: Iterable[Part]) -> dict[tuple[str, str], list[Part]]:
    found: dict[tuple[str, str], list[Part]] = {}
    for each in parts:
        found.setdefault((each.user, each.holding.duty), []).append(each)
    return found


def _held(holding: Holding) -> Way:
    """Whether the agent may, and what it takes."""
    if not holding.certain:
        return Way("unsure", sure=False)
    return Way(f"yes, {holding.approval} approves" if holding.approval else "yes", sure=True)


def _taken(parts: Sequence[Part]) -> tuple[Way, ...]:
    """In which ways the user takes part."""
    return tuple(
        Way(f"{'approves for' if part.approves else 'owns'} {part.holding.agent}", part.holding.certain)
        for part in sorted(parts, key=lambda part: part.approves)
    )
