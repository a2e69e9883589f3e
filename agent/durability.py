"""When a worker's records are on disk, by the configured mode: before each release, or soon."""

from __future__ import annotations

import asyncio
from typing import Protocol

from ..protocols.events import Decision
from .gate import Gate


class Synced(Protocol):
    """What a worker appends to, as far as syncs are concerned."""

    async def synced(self) -> Decision | None:
        """Wait until everything appended so far is on disk. Returns None then, else the refusal to carry out."""
        ...


class Durability:
    """``strict``: whoever waits in `synced` waits for the disk. ``batch``: nobody does; the log writer syncs by itself."""

    def __init__(self, log: Synced, gate: Gate, *, strict: bool, batch_s: float) -> None:
        self.strict = strict
        self._log = log
        self._gate = gate
        self._batch_s = batch_s

    async def synced(self) -> Decision | None:
        """Wait until everything appended so far is on disk. Returns None then, else the refusal to carry out."""
        return await self._log.synced()

    async def run(self) -> None:
        """Write waiting notes every `batch_s` seconds; runs until cancelled."""
        while True:
            await asyncio.sleep(self._batch_s)
            self._gate.flush()
