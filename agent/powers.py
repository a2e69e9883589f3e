"""Which guarded processes hold more than an agent needs, looked for when ``status`` asks."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from ..identity.workload import Workloads
from ..kernel.errors import KernelError
from ..kernel.loader import Redirect
from ..kernel.powers import Powerful, powerful

FRESH_S = 2.0
"""An answer is good for so long: a look reads some files of each process of the host."""
MAX_SHOWN = 32


class Powers:
    """Looks, and keeps what it saw last."""

    def __init__(self, redirect: Redirect, workloads: Workloads) -> None:
        self._redirect = redirect
        self._workloads = workloads
        self._looked = -FRESH_S
        self._facts: dict[str, Any] = {"count": 0, "shown": [], "failure": ""}

    async def facts(self) -> dict[str, Any]:
        """``count`` of such processes, the first of them as ``shown``, and ``failure`` where nothing could be told."""
        if time.monotonic() - self._looked >= FRESH_S:
            self._looked = time.monotonic()
            self._facts = await asyncio.to_thread(self._look)
        return self._facts

    def _look(self) -> dict[str, Any]:
        try:
            found = list(powerful(self._redirect))
        except (KernelError, OSError) as error:
            return {"count": 0, "shown": [], "failure": str(error)}
        # Those with capabilities first: they are the ones to mend.
        found.sort(key=lambda process: (not process.capabilities, process.pid))
        return {"count": len(found), "shown": [self._one(process) for process in found[:MAX_SHOWN]], "failure": ""}

    def _one(self, process: Powerful) -> dict[str, Any]:
        rules = self._workloads.rules
        known = 1 <= process.workload <= len(rules)
        return {
            "pid": process.pid,
            "comm": process.comm,
            "workload": rules[process.workload - 1].name if known else "",
            "agent": rules[process.workload - 1].agent if known else "",
            "root": process.root,
            "capabilities": list(process.capabilities),
            "remedy": remedy(process),
        }


def remedy(process: Powerful) -> str:
    """What takes it from the agent."""
    if process.capabilities:
        unit = "CapabilityBoundingSet= and NoNewPrivileges=yes in its unit"
        return f"start it by hostguard exec{' --user USER' if process.root else ''}, or set {unit}"
    return "start it by hostguard exec --user USER, or set User= in its unit"
