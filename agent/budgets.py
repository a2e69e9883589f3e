"""What of budgets is left for agents, lent to workers part by part.

What a worker is lent is used from that moment on: it is in the ledger, synced, before the worker hears of it. Neither a worker
nor a kill can make a budget larger; what a worker did not use is lost.

A window is counted in `SLICES` slices. What is lent in one may be used until the end of the next at the latest, so a lease counts
for two slices longer than the window: whenever a window begins, no more than the budget passes in it. Time is the wall clock's,
but never goes back behind a slice in which something was lent.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from ..policy.budget_sections import Budget
from ..policy.decide import Decider
from .clearance_messages import Lease, Owed
from .ledger import Ledger, LedgerUnavailable
from .store import Store

SLICES = 32
LEAST = (1, 100, 64 * 1024)
"""Operations, rows, bytes that are lent at least, while so much is left."""
SHARES = 8
"""A worker is lent this part of what is left, divided by the number of workers."""
WORDS = ("operations", "rows", "bytes")

Amounts = tuple[int, int, int]
"""Operations, rows, bytes."""


class Exhausted(msgspec.Struct, frozen=True):
    """Why nothing is lent."""

    reason: str
    hint: str
    policies: tuple[str, ...]
    hold: bool


class Budgets:
    """The budgets of all agents."""

    def __init__(self, store: Store, decider: Decider, workers: int) -> None:
        self._store = store
        self._decider = decider
        self._shares = SHARES * max(workers, 1)

    async def draw(self, agent: str, owed: Sequence[Owed]) -> tuple[Lease, ...] | Exhausted:
        """Lend something of every budget that the agent has; of all or of none. What is owed is counted in any case."""
        named = {name: budget for name, budget in self._decider.policy.document.budgets.items() if budget.concerns(agent)}
        debts = {each.budget: (each.operations, each.rows, each.bytes) for each in owed}
        shares, now = self._shares, time.time()
        try:
            return await self._store.do(lambda ledger: _draw(ledger, named, agent, debts, shares, now))
        except LedgerUnavailable as error:
            why = f"what budgets are used up can't be kept on disk, so nothing goes on: {error}"
            return Exhausted(why, "`hostguard status` tells more.", (), hold=False)

    async def facts(self) -> list[dict[str, Any]]:
        """For ``status``: of each budget and agent what is used, lent included."""
        document, now = self._decider.policy.document, time.time()
        pairs = [(name, budget, agent) for name, budget in document.budgets.items() for agent in document.agents]
        concerned = [(name, budget, agent) for name, budget, agent in pairs if budget.concerns(agent)]

        def read(ledger: Ledger) -> list[Amounts]:
            return [_total(_slices(ledger, name, agent, _slice(budget, now))) for name, budget, agent in concerned]

        try:
            used = await self._store.do(read)
        except LedgerUnavailable:
            return []  # drawing says so as well, in red
        return [
            {
                "budget": name,
                "agent": agent,
                "window_s": budget.window_s,
                "over": budget.over,
                **{
                    word: {"used": spent, "limit": limit}
                    for word, spent, limit in zip(WORDS, amounts, budget.limits, strict=True)
                },
            }
            for (name, budget, agent), amounts in zip(concerned, used, strict=True)
        ]


def _draw(
    ledger: Ledger, budgets: Mapping[str, Budget], agent: str, debts: Mapping[str, Amounts], shares: int, now: float
) -> tuple[Lease, ...] | Exhausted:
    found: list[tuple[str, int, Amounts, Lease]] = []
    exhausted = None
    for name, budget in budgets.items():
        here = max(_slice(budget, now), _latest(ledger, name, agent))
        slices, debt = _slices(ledger, name, agent, here), debts.get(name, (0, 0, 0))
        used = _plus(_total(slices), debt)
        left = [None if limit is None else limit - spent for limit, spent in zip(budget.limits, used, strict=True)]
        if any(each is not None and each < 1 for each in left):
            exhausted = exhausted or _exhausted(name, budget, agent, slices, debt, here, now)
            lent = (0, 0, 0)
        else:
            shared = [
                0 if each is None else min(each, max(each // shares, least)) for each, least in zip(left, LEAST, strict=True)
            ]
            lent = (shared[0], shared[1], shared[2])
        parts = [None if limit is None else part for limit, part in zip(budget.limits, lent, strict=True)]
        expires_ns = time.monotonic_ns() + int(_width(budget) * 1e9)
        found.append((name, here, debt, Lease(name, parts[0], parts[1], parts[2], expires_ns)))
    with ledger.change() as connection:
        for name, here, debt, lease in found:
            more = debt if exhausted else _plus(debt, (lease.operations or 0, lease.rows or 0, lease.bytes or 0))
            connection.execute(
                "INSERT INTO lent VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
                "operations = operations + excluded.operations, rows = rows + excluded.rows, bytes = bytes + excluded.bytes",
                (name, agent, here, *more),
            )
            connection.execute("DELETE FROM lent WHERE budget = ? AND agent = ? AND slice < ?", (name, agent, here - SLICES - 1))
    return exhausted or tuple(lease for _, _, _, lease in found)


def _width(budget: Budget) -> float:
    return budget.window_s / SLICES


def _slice(budget: Budget, now: float) -> int:
    return int(now / _width(budget))


def _latest(ledger: Ledger, name: str, agent: str) -> int:
    ((latest,),) = ledger.rows("SELECT max(slice) FROM lent WHERE budget = ? AND agent = ?", (name, agent))
    return int(latest or 0)


def _slices(ledger: Ledger, name: str, agent: str, here: int) -> list[tuple[int, Amounts]]:
    """What counts in the slice `here`, by slice, the oldest first."""
    rows = ledger.rows(
        "SELECT slice, operations, rows, bytes FROM lent WHERE budget = ? AND agent = ? AND slice >= ? ORDER BY slice",
        (name, agent, here - SLICES - 1),
    )
    return [(row[0], (row[1], row[2], row[3])) for row in rows]


def _total(slices: Iterable[tuple[int, Amounts]]) -> Amounts:
    total = (0, 0, 0)
    for _, amounts in slices:
        total = _plus(total, amounts)
    return total


def _plus(one: Amounts, other: Amounts) -> Amounts:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]


def _exhausted(
    name: str, budget: Budget, agent: str, slices: Sequence[tuple[int, Amounts]], debt: Amounts, here: int, now: float
) -> Exhausted:
    used = _plus(_total(slices), debt)
    over = [
        f"{spent} of {limit} {word}"
        for word, spent, limit in zip(WORDS, used, budget.limits, strict=True)
        if limit is not None and spent >= limit
    ]
    reason = f'budget "{name}" of agent {agent} is used up: {", ".join(over)} within {budget.window_s} s'
    wait_s = max(1, round(_free_at(budget, slices, debt, here) - now))
    hint = f"Something of it is free again in {wait_s} s."
    return Exhausted(reason, hint, (f"budget {name}",), budget.over == "hold")


def _free_at(budget: Budget, slices: Sequence[tuple[int, Amounts]], debt: Amounts, here: int) -> float:
    """Wall time at which enough of the oldest slices no longer counts."""
    kept = [*slices, (here, debt)]
    for number in sorted({each for each, _ in kept}):
        rest = _total(each for each in kept if each[0] > number)
        if all(limit is None or spent < limit for limit, spent in zip(budget.limits, rest, strict=True)):
            return (number + SLICES + 2) * _width(budget)
    return (here + SLICES + 2) * _width(budget)
