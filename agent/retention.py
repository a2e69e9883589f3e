"""When old segments go: by the configured rule, recorded before the first file is removed."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from ..policy.sections import Log as LogSection
from ..recorder.durable import LogUnavailable
from ..recorder.entry import LogRemoved
from ..recorder.log import Log
from ..recorder.packing import LogCorrupt
from ..recorder.retention import Plan, Rule, plan, remove
from .sealing import PAUSE_S, Sealing

EVERY_S = 600.0
DAY_NS = 86_400 * 10**9


class Retention:
    """Keeps one log within its rule."""

    def __init__(self, folder: Path, log: Log, sealing: Sealing, section: LogSection) -> None:
        self._folder = folder
        self._log = log
        self._sealing = sealing
        self._rule = Rule(section.keep_days * DAY_NS, section.keep_bytes)
        self.failure = ""
        """Why old segments could not be removed the last time; empty when they could."""

    async def run(self) -> None:
        """Remove what may go, every ten minutes; runs until cancelled."""
        while self._rule.keep_ns or self._rule.keep_bytes:
            await self.apply()
            await asyncio.sleep(EVERY_S)

    async def apply(self) -> None:
        """Remove what may go now. What goes wrong is kept in `failure`."""
        self._log.payloads.watch()
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._sealing.thread, self._plan)
            if found is not None:
                await self._carry_out(found)
        except (OSError, LogCorrupt, LogUnavailable) as error:
            self.failure = str(error)
        else:
            self.failure = ""
        finally:
            self._log.payloads.remove(())

    async def _carry_out(self, found: Plan) -> None:
        record = LogRemoved(found.before, len(found.segments), len(found.payloads), found.bytes, str(self._rule))
        position = self._log.append(0, record)
        await self._sealing.seal()
        # Nothing goes whose removal is not under a signed head: else it would look like theft.
        if self._sealing.checkpoint.size >= position:
            await asyncio.get_running_loop().run_in_executor(self._sealing.thread, remove, found, self._log.payloads)

    def _plan(self) -> Plan | None:
        sealed = self._sealing.checkpoint.size
        return plan(self._folder, self._rule, sealed, time.time_ns(), lambda: time.sleep(PAUSE_S))
