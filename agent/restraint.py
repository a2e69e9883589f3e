"""What holds agents back beyond one decision, of one daemon: kept in one ledger, since one decision may take all of it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass

from .failures import Failure
from .ledger import LedgerUnavailable
from .paths import Paths
from .stops import Stops
from .store import Store

STEPS = (
    # Who is stopped; agent '' for all.
    """
    CREATE TABLE stop (agent TEXT PRIMARY KEY, user TEXT NOT NULL, at REAL NOT NULL, reason TEXT NOT NULL) STRICT, WITHOUT ROWID
    """,
)
"""Schema of ``restraint.sqlite``; see `ledger`."""


@dataclass(frozen=True, slots=True)
class Restraint:
    """Its parts."""

    stops: Stops

    @classmethod
    async def open(cls, paths: Paths, undo: AsyncExitStack) -> Restraint:
        """Open the ledger; what is in it is in force when this returns. Raises Failure."""
        store = await Store.open(paths.restraint, STEPS)
        undo.push_async_callback(store.close)
        stops = Stops(store)
        try:
            await stops.load()
        except LedgerUnavailable as error:
            raise Failure(str(error)) from None
        return cls(stops)
