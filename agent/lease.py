"""The heartbeat of a daemon that is being replaced by its successor.

Guarded connects are refused when the daemon has not beaten for two seconds; while it executes itself anew and attaches the hooks
again, nothing else beats. The listeners live on, so a connect waits in them, and that is all that a beat allows. It is bounded:
a successor that does not get ready is one that hangs.

Nothing slow is imported here: the first beat has to come before the rest of the daemon is loaded.
"""

from __future__ import annotations

import mmap
import os
import threading
import time
from collections.abc import MutableMapping

VARIABLE = "HOSTGUARD_HEARTBEAT"
"""Of the environment: the descriptor of the map to beat in."""
EVERY_S = 0.1
LIMIT_S = 30.0
AHEAD_NS = 1_800_000_000
"""The kernel takes a beat from the future that is nearer than its limit; the last one before the execve is as late as may be."""


class Lease:
    """Beats in a thread of its own, until told to stop or `LIMIT_S` have passed."""

    def __init__(self, descriptor: int) -> None:
        """`descriptor`: of the map, closed here. Raises OSError."""
        try:
            self._page = mmap.mmap(descriptor, mmap.PAGESIZE)
        finally:
            os.close(descriptor)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
        self._thread.start()

    @classmethod
    def of(cls, environment: MutableMapping[str, str]) -> Lease | None:
        """The one that a predecessor left; None at a start like any other, or if it left none that works."""
        text = environment.pop(VARIABLE, "")
        try:
            return cls(int(text)) if text else None
        except (OSError, ValueError):
            return None

    def _run(self) -> None:
        until = time.monotonic() + LIMIT_S
        with memoryview(self._page) as view, view.cast("Q") as beats:
            while time.monotonic() < until:
                beats[0] = time.monotonic_ns()
                if self._over.wait(EVERY_S):
                    return

    def end(self) -> None:
        """The daemon beats by itself."""
        self._over.set()
        self._thread.join()
        self._page.close()
