"""The thread that takes the workers' journals into the log."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Sequence

from ..recorder.drain import Drain
from ..recorder.durable import LogUnavailable, Syscalls
from ..recorder.inheritance import LivingJournal
from ..recorder.log import Log
from ..recorder.ringfile import JournalBusy
from .failures import Failure
from .latency import Latency

OLD_WORKERS_S = 5.0
"""How long the workers of a daemon that was killed may take to follow it."""
RETRY_S = 0.02


class TimedSyncs:
    """The kernel's calls for a log, with a look at the clock around each sync."""

    def __init__(self) -> None:
        self.latency = Latency()
        """How long the syncs took that succeeded."""

    @property
    def syscalls(self) -> Syscalls:
        """What the log is to use."""
        return Syscalls(fdatasync=self._fdatasync)

    def _fdatasync(self, descriptor: int) -> None:
        began_ns = time.monotonic_ns()
        os.fdatasync(descriptor)
        self.latency.add(time.monotonic_ns() - began_ns)


class LogWriter:
    """One drain with its thread."""

    def __init__(self, drain: Drain) -> None:
        self.drain = drain
        self._thread = threading.Thread(target=drain.run, name="log-writer")

    @classmethod
    async def start(
        cls,
        log: Log,
        *,
        strict: bool,
        batch_s: float,
        on_failure: Callable[[int, str], None],
        living: Sequence[LivingJournal] = (),
    ) -> LogWriter:
        """Take what an earlier run left, go on with the `living`, then begin. Raises Failure.

        `on_failure` is called in this loop.
        """
        loop = asyncio.get_running_loop()

        def tell(number: int, reason: str) -> None:
            loop.call_soon_threadsafe(on_failure, number, reason)

        until = time.monotonic() + OLD_WORKERS_S
        while True:
            try:
                writer = cls(Drain(log, strict=strict, batch_s=batch_s, on_failure=tell, living=living))
                break
            except JournalBusy as error:
                if time.monotonic() > until:
                    raise Failure(f"a worker of an earlier daemon still runs: {error}") from None
                await asyncio.sleep(RETRY_S)
            except (LogUnavailable, OSError) as error:
                raise Failure(f"the journals of the last run can't be taken into the log: {error}") from None
        writer._thread.start()
        return writer

    async def stop(self) -> None:
        """Take and sync what is there; nothing of the drain runs after this."""
        await self.pause()
        self.drain.close()

    async def pause(self) -> None:
        """Take and sync what is there; then the journals can be bequeathed."""
        self.drain.stop()
        await asyncio.to_thread(self._thread.join)
