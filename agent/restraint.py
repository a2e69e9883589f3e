"""What holds agents back beyond one decision, of one daemon: kept in one ledger, since one decision may take all of it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass

from ..policy.decide import Decider
from .budgets import Budgets
from .failures import Failure
from .history import History
from .ledger import LedgerUnavailable
from .paths import Paths
from .stops import Stops
from .store import Store

STEPS = (
    # Who is stopped; agent '' for all.
    """
    CREATE TABLE stop (agent TEXT PRIMARY KEY, user TEXT NOT NULL, at REAL NOT NULL, reason TEXT NOT NULL) STRICT, WITHOUT ROWID
    """,
    # Which duties agents ('agent:NAME') and the users behind them ('user:NAME') have exercised, on what; when, for whom, last.
    """
    CREATE TABLE exercise (
        subject TEXT NOT NULL, duty TEXT NOT NULL, object TEXT NOT NULL,
        at REAL NOT NULL, agent TEXT NOT NULL, flow INTEGER NOT NULL, operation INTEGER NOT NULL,
        PRIMARY KEY (subject, duty, object)
    ) STRICT, WITHOUT ROWID
    """,
    # What of budgets was lent to workers, by slice of time: used, whatever became of it.
    """
    CREATE TABLE lent (
        budget TEXT NOT NULL, agent TEXT NOT NULL, slice INTEGER NOT NULL,
        operations INTEGER NOT NULL, rows INTEGER NOT NULL, bytes INTEGER NOT NULL,
        PRIMARY KEY (budget, agent, slice)
    ) STRICT, WITHOUT ROWID
    """,
)
"""Schema of ``restraint.sqlite``; see `ledger`."""


@dataclass(frozen=True, slots=True)
class Restraint:
    """Its parts."""

    stops: Stops
    history: History
    budgets: Budgets

    @classmethod
    async def open(cls, paths: Paths, decider: Decider, workers: int, undo: AsyncExitStack) -> Restraint:
        """Open the ledger; what is in it is in force when this returns. `workers`: how many share budgets. Raises Failure."""
        store = await Store.open(paths.restraint, STEPS)
        undo.push_async_callback(store.close)
        stops = Stops(store)
        try:
            await stops.load()
        except LedgerUnavailable as error:
            raise Failure(str(error)) from None
        return cls(stops, History(store, decider), Budgets(store, decider, workers))
