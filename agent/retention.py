"""When old segments go: by the configured rule, recorded before the first file is removed, never before they were shipped."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..policy.sections import Log as LogSection
from ..recorder.durable import LogUnavailable
from ..recorder.log import Log
from ..recorder.packing import LogCorrupt
from ..recorder.retention import Plan, Rule, plan, remove
from .sealing import PAUSE_S, Sealing
from .shipping import Arrived

EVERY_S = 600.0
SHIPPING_LATE_S = 3600.0
"""Seconds without a pass of shipping after which something is wrong with it, whatever its interval."""
DAY_NS = 86_400 * 10**9


@dataclass(frozen=True, slots=True)
class Waiting:
    """What the rule would let go, and shipping does not yet."""

    before: int
    """Entries before this one would go."""
    arrived: Arrived

    def __str__(self) -> str:
        has = self.arrived
        why = (
            f"the last pass of `hostguard ship` failed: {has.failure}"
            if has.failure
            else "`hostguard ship` has never run against this bucket"
            if not has.tried_at
            else "the rest is for its next pass"
        )
        return f"entries before {self.before} may go by the rule, but only those before {has.reached} have arrived: {why}"


class Retention:
    """Keeps one log within its rule."""

    def __init__(
        self,
        folder: Path,
        log: Log,
        sealing: Sealing,
        section: LogSection,
        arrived: Callable[[], Arrived] | None = None,
    ) -> None:
        """`arrived` tells how far the bucket has come, and raises sqlite3.Error; None where nothing is shipped."""
        self._folder = folder
        self._log = log
        self._sealing = sealing
        self._rule = Rule(section.keep_days * DAY_NS, section.keep_bytes)
        self.arrived = arrived
        self.failure = ""
        """Why old segments could not be removed the last time; empty when they could."""
        self.waiting: Waiting | None = None
        """What had to stay the last time because it was not shipped."""

    @property
    def stuck(self) -> bool:
        """Whether it waits for a shipping that fails or does not run, not only for the next pass."""
        return self.waiting is not None and (
            bool(self.waiting.arrived.failure) or time.time() - self.waiting.arrived.tried_at > SHIPPING_LATE_S
        )

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
        except sqlite3.Error as error:
            self.failure = f"the ledger of `hostguard ship` can't be read: {error}"
        except (OSError, LogCorrupt, LogUnavailable) as error:
            self.failure = str(error)
        else:
            self.failure = ""
        finally:
            self._log.payloads.remove(())

    async def _carry_out(self, found: Plan) -> None:
        position = self._log.append(0, found.record(self._rule))
        await self._sealing.seal()
        # Nothing goes whose removal is not under a signed head: else it would look like theft.
        if self._sealing.checkpoint.size >= position:
            await asyncio.get_running_loop().run_in_executor(self._sealing.thread, remove, found, self._log.payloads)

    def _plan(self) -> Plan | None:
        sealed = self._sealing.checkpoint.size
        if self.arrived is None:
            return self._plan_within(sealed)
        has = self.arrived()
        found = self._plan_within(min(sealed, has.reached))
        wanted = self._plan_within(sealed)
        late = wanted is not None and (found is None or found.before < wanted.before)
        self.waiting = Waiting(wanted.before, has) if wanted is not None and late else None
        return found

    def _plan_within(self, end: int) -> Plan | None:
        return plan(self._folder, self._rule, end, time.time_ns(), lambda: time.sleep(PAUSE_S))
