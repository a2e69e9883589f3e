"""When the log is synced to disk, by the configured mode: before each release, or within a stated window."""

from __future__ import annotations

import asyncio
import time

from ..protocols.events import Decision, Verdict
from ..recorder.durable import LogUnavailable
from ..recorder.log import Log
from .gate import LOG_REFUSAL, Gate
from .latency import Latency


class Durability:
    """Runs the syncs of one log in a thread, one at a time.

    ``strict``: whoever waits in `synced` shares the next sync with all others that wait (group commit). ``batch``: `run` syncs
    at most `batch_s` seconds after an append, and nobody waits.
    """

    def __init__(self, log: Log, gate: Gate, *, strict: bool, batch_s: float) -> None:
        self.strict = strict
        self.batch_s = batch_s
        self.failure = ""
        """Why the last sync failed; empty when it did not."""
        self.syncs = Latency()
        """How long the syncs took that succeeded."""
        self._log = log
        self._gate = gate
        self._commit: asyncio.Task[None] | None = None
        self._waiting: list[asyncio.Future[str]] = []

    async def synced(self) -> Decision | None:
        """Wait until everything appended so far is on disk. Returns None then, else the refusal to carry out."""
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        if self._commit is None or self._commit.done():
            self._commit = asyncio.create_task(self._commit_all())
        failure = await future
        if not failure:
            return None
        return Decision(
            Verdict.DENY, reason=f"hostguard can't sync its record, so this is refused: {failure}", refusal=LOG_REFUSAL
        )

    async def _commit_all(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            failure = await self._sync()
            for future in group:
                if not future.done():
                    future.set_result(failure)

    async def _sync(self) -> str:
        began_ns = time.monotonic_ns()
        try:
            await asyncio.to_thread(self._log.sync)
        except LogUnavailable as error:
            self.failure = str(error)
        else:
            self.failure = ""
            self.syncs.add(time.monotonic_ns() - began_ns)
        return self.failure

    async def run(self) -> None:
        """Write waiting notes and, in ``batch``, sync what is new, every `batch_s` seconds; runs until cancelled."""
        while True:
            await asyncio.sleep(self.batch_s)
            self._gate.flush()
            if not self.strict and self._log.synced_position < self._log.position:
                await self._sync()
