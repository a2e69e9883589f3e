"""When the log is sealed: at an interval, once more at the end."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..recorder.checkpoint import Checkpoint
from ..recorder.durable import LogUnavailable
from ..recorder.log import Log
from ..recorder.note import Signer
from ..recorder.packing import LogCorrupt
from ..recorder.seal import Sealer, SealFailed
from .failures import Failure

PAUSE_S = 50e-6
"""Between slices of hashing, so that the loop gets the interpreter: a thread that computes would keep it 5 ms at a time."""


class Sealing:
    """Seals one log in a thread of its own, so that neither appends nor syncs wait for it."""

    def __init__(self, sealer: Sealer, every_s: float) -> None:
        self._sealer = sealer
        self._every_s = every_s
        self._thread = ThreadPoolExecutor(1, "seal")
        self.failure = ""
        """Why the last seal failed; empty when it did not."""
        self.sealed_at = time.time()
        """When all that the log held was sealed last, seconds since 1970."""

    @classmethod
    def open(cls, folder: Path, signer: Signer, log: Log, every_s: float) -> Sealing:
        """Take the log's tree up where its checkpoint stands. Raises Failure when the log is not what was sealed."""
        try:
            sealer = Sealer(folder, signer, log.sync, lambda: time.sleep(PAUSE_S))
        except LogCorrupt as error:
            raise Failure(
                f"the log in {folder} is not the one that was sealed: {error}. `hostguard log verify` tells more; "
                "keep the folder as evidence, and move it away to begin a new log"
            ) from None
        except (SealFailed, LogUnavailable) as error:
            raise Failure(f"the log's tree can't be opened: {error}") from None
        return cls(sealer, every_s)

    @property
    def checkpoint(self) -> Checkpoint:
        """The published head."""
        return self._sealer.checkpoint

    @property
    def thread(self) -> ThreadPoolExecutor:
        """Where everything runs that reads or writes the tree's files."""
        return self._thread

    async def run(self) -> None:
        """Seal now, then every `every_s` seconds; runs until cancelled."""
        while True:
            await self.seal()
            await asyncio.sleep(self._every_s)

    async def seal(self) -> None:
        """Seal what is durable now. What goes wrong is kept in `failure`: nothing waits for a seal."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._sealer.seal)
        except (SealFailed, LogCorrupt, LogUnavailable) as error:
            self.failure = str(error)
        else:
            self.failure = ""
            self.sealed_at = time.time()

    async def stop(self) -> None:
        """Seal once more, then end the thread."""
        await self.seal()
        self._thread.shutdown()
