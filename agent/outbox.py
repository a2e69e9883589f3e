"""Notices that no channel has taken yet, on disk: a restart or a crash delays them, no more.

Nothing waits for the disk. A notice that is not written yet when the daemon is killed, some milliseconds after it was made, is
lost; one that a channel took, and of which that is not written yet, is told once more by the next daemon, with the same id.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec

from .failures import Failure
from .ledger import Ledger, LedgerUnavailable
from .store import Store

STEPS = (
    """
    CREATE TABLE notice (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, channel TEXT NOT NULL, event TEXT NOT NULL, payload BLOB NOT NULL
    ) STRICT
    """,
)
"""Schema of ``notices.sqlite``; see `ledger`."""


class Notice(msgspec.Struct, frozen=True):
    """What one channel is to be told."""

    id: str
    """The same at each attempt, whoever makes it."""
    channel: str
    event: str
    payload: dict[str, Any]
    """Of `notices.bodies.facts`."""


class Outbox:
    """All of one daemon's. Changes that come while the disk is busy are written in one transaction."""

    def __init__(self, store: Store, left: list[Notice]) -> None:
        self.left = left
        """What an earlier daemon could not tell, the oldest first."""
        self.failure = ""
        """Why the last change could not be written; empty when it could."""
        self._store = store
        self._changes: dict[str, Notice | None] = {}
        """By id: what is to be kept from now on; None for what is over."""
        self._writing: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, path: Path, undo: AsyncExitStack) -> Outbox:
        """Open it until `undo`. Raises Failure."""
        store = await Store.open(path, STEPS)
        undo.push_async_callback(store.close)
        try:
            return cls(store, await store.do(_read))
        except LedgerUnavailable as error:
            raise Failure(str(error)) from None

    def put(self, notice: Notice) -> None:
        """Keep it until it is over."""
        self._change(notice.id, notice)

    def over(self, notice: Notice) -> None:
        """It was told, or never will be."""
        if self._changes.get(notice.id) is not None:
            del self._changes[notice.id]  # it never came to be written
        else:
            self._change(notice.id, None)

    async def settle(self) -> None:
        """Return once what was changed is on disk, or can't be written."""
        while self._writing is not None and not self._writing.done():
            await asyncio.wait([self._writing])

    def _change(self, identifier: str, notice: Notice | None) -> None:
        self._changes[identifier] = notice
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        while self._changes:
            changes, self._changes = self._changes, {}
            try:
                await self._store.do(lambda ledger, changes=changes: _written(ledger, changes))  # type: ignore[misc]
                self.failure = ""
            except LedgerUnavailable as error:
                self.failure = str(error)


def _read(ledger: Ledger) -> list[Notice]:
    rows = ledger.rows("SELECT id, channel, event, payload FROM notice ORDER BY number")
    return [Notice(name, channel, event, msgspec.json.decode(payload)) for name, channel, event, payload in rows]


def _written(ledger: Ledger, changes: dict[str, Notice | None]) -> None:
    kept = [notice for notice in changes.values() if notice is not None]
    with ledger.change() as connection:
        connection.executemany(
            "INSERT INTO notice (id, channel, event, payload) VALUES (?, ?, ?, ?)",
            [(each.id, each.channel, each.event, msgspec.json.encode(each.payload)) for each in kept],
        )
        gone = [(identifier,) for identifier, notice in changes.items() if notice is None]
        connection.executemany("DELETE FROM notice WHERE id = ?", gone)
