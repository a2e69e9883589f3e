"""The heartbeat of a daemon that is being replaced by its successor.

Guarded connects are refused when the daemon has not beaten for two seconds; while it executes itself anew and attaches the hooks
again, nothing else beats. The listeners live on, so a connect waits in them, and that is all that a beat allows. It is bounded:
a successor that does not get ready is one that hangs.
"""

from __future__ import annotations

import mmap
import os
import threading
import time
from pathlib import Path

from ..kernel import libbpf
from ..kernel.pins import map_path

EVERY_S = 0.1
LIMIT_S = 20.0
AHEAD_NS = 1_800_000_000
"""The kernel takes a beat from the future, if it is nearer than the limit: the last one before the execve is as late as may be."""


class Lease:
    """Beats in a thread of its own, until told to stop or `LIMIT_S` have passed."""

    def __init__(self, pin_dir: Path) -> None:
        """Raises OSError when there is no heartbeat at these pins."""
        descriptor = libbpf.pinned(map_path(pin_dir, "heartbeat"))
        if descriptor is None:
            raise OSError(f"no heartbeat is pinned in {pin_dir}")
        try:
            self._page = mmap.mmap(descriptor, mmap.PAGESIZE)
        finally:
            os.close(descriptor)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
        self._thread.start()

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
