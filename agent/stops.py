"""Who is stopped: durably, known at once to all who let something of an agent's go on.

A stop is in force in memory before it is on disk, since it must hold even where the disk does not; a resume the other way round.
Both are told only once they are on disk, so what was told survives whatever comes: a restart, a crash, ``kill -9``.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec

from .ledger import Ledger
from .store import Store

ALL = ""
"""Stands for all agents of this host, also those that are configured later."""


class Stop(msgspec.Struct, frozen=True):
    """One stop in force."""

    agent: str
    """`ALL` for all."""
    user: str
    at: float
    """Wall time."""
    reason: str

    def __str__(self) -> str:
        """A sentence for the agent and for whoever looks."""
        who = f"agent {self.agent} was" if self.agent else "all agents of this host were"
        when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self.at))
        said = f"{who} stopped by {self.user} at {when}" + (f": {self.reason}" if self.reason else "")
        return f"{said}; `hostguard resume {self.agent or '--all'}` lifts that"


class Stops:
    """The stops in force."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._stops: dict[str, Stop] = {}

    async def load(self) -> None:
        """Put in force what is on disk; before anything of an agent's goes on. Raises LedgerUnavailable."""
        rows = await self._store.do(lambda ledger: ledger.rows("SELECT agent, user, at, reason FROM stop"))
        self._stops = {row[0]: Stop(*row) for row in rows}

    def of(self, agent: str) -> Stop | None:
        """Why nothing of this agent's may go on; None when it may."""
        return self._stops.get(ALL) or self._stops.get(agent)

    def why(self, agent: str) -> str:
        """The same as a sentence; empty when it may."""
        stop = self.of(agent)
        return str(stop) if stop is not None else ""

    def exactly(self, agent: str) -> Stop | None:
        """The stop of this very agent, or that of `ALL`."""
        return self._stops.get(agent)

    async def add(self, stop: Stop) -> Stop:
        """Put it in force at once; returns, once it is on disk, the one in force: the first stays. Raises LedgerUnavailable."""
        kept = self._stops.setdefault(stop.agent, stop)

        def write(ledger: Ledger) -> None:
            with ledger.change() as connection:
                connection.execute("INSERT OR IGNORE INTO stop VALUES (?, ?, ?, ?)", msgspec.structs.astuple(kept))

        await self._store.do(write)
        return kept

    async def lift(self, agent: str) -> None:
        """Take it off the disk, then out of force. Raises LedgerUnavailable: it is in force then."""

        def write(ledger: Ledger) -> None:
            with ledger.change() as connection:
                connection.execute("DELETE FROM stop WHERE agent = ?", (agent,))

        await self._store.do(write)
        self._stops.pop(agent, None)

    def facts(self) -> list[dict[str, Any]]:
        """For ``status``, that of all agents first."""
        return [
            {"agent": stop.agent, "user": stop.user, "at": stop.at, "reason": stop.reason, "says": str(stop)}
            for _, stop in sorted(self._stops.items())
        ]
