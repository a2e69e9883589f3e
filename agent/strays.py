"""Sockets that guarded processes had before they were guarded, looked for in a thread, ended, put on record."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
from contextlib import suppress
from typing import Any

from ..kernel.enrol import Stray, sweep
from ..kernel.errors import KernelError
from ..kernel.loader import Redirect
from ..recorder import entry
from ..recorder.durable import LogUnavailable
from ..recorder.log import Log

SWEEP_S = 2.0
"""Between two looks: for so long a socket that no hook has seen may carry data."""
SOON_S = 0.2
"""The least time between two looks, however many sockets are told of, or cgroups become a workload's, meanwhile."""
MAX_SHOWN = 32


class Strays:
    """Looks again and again."""

    def __init__(self, redirect: Redirect, log: Log) -> None:
        self._redirect = redirect
        self._log = log
        self._told: set[Stray] = set()
        self._wanted = asyncio.Event()
        self.shown: collections.deque[dict[str, Any]] = collections.deque(maxlen=MAX_SHOWN)
        """The latest, for ``status``."""
        self.open = 0
        """Found by the last look, but not ended."""
        self.failure = ""
        """Why the last look told nothing; empty when it did."""
        self.turn = asyncio.Lock()
        """Held during a look, until what it found is on record; whoever takes it keeps the next one from beginning."""

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self._wanted.clear()
            await self.look()
            await asyncio.sleep(SOON_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_S - SOON_S):
                    await self._wanted.wait()

    def soon(self) -> None:
        """Look now: processes have come under guard, or the kernel has seen one send on a socket from outside."""
        self._wanted.set()

    async def look(self) -> None:
        """Look once."""
        async with self.turn:
            await self._look()

    async def _look(self) -> None:
        try:
            found = await asyncio.to_thread(sweep, self._redirect)
        except (KernelError, OSError) as error:
            self.failure = str(error)
            return
        self.failure, self.open = "", sum(not stray.ended for stray in found)
        for stray in found:
            if stray not in self._told:
                self._tell(stray)
        # One that can't be ended is found each time; it is told once.
        self._told = {stray for stray in found if not stray.ended}

    def _tell(self, stray: Stray) -> None:
        facts = dataclasses.asdict(stray)
        self.shown.append(facts)
        what = "was ended" if stray.ended else f"can't be ended: {stray.detail}"
        text = (
            f"process {stray.pid} has a socket that was connected before it was guarded, to {stray.peer or 'nobody'}: it {what}"
        )
        try:
            self._log.append(0, entry.Fault(where="strays", error=text))
        except LogUnavailable as error:
            self.failure = str(error)
