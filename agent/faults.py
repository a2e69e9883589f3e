"""What happened that should not have, for ``status``: the latest in detail, all of them counted."""

from __future__ import annotations

import collections
import time
from typing import Any

MAX_FAULTS = 32


class Faults:
    """Faults of flows, by whose they were."""

    def __init__(self) -> None:
        self.latest: collections.deque[dict[str, Any]] = collections.deque(maxlen=MAX_FAULTS)
        self.counts: collections.Counter[str] = collections.Counter({"client": 0, "server": 0, "unsafe": 0, "internal": 0})
        """Since the start."""
        self.stopped: list[str] = []
        """What the daemon was to go on doing, and does no more, a sentence each; see `tending`."""

    def add(self, flow: int, agent: str, fault: str, reason: str) -> None:
        """Count one. `fault`: as `Close.fault`."""
        self.counts[fault] += 1
        self.latest.append({"flow": flow, "agent": agent, "fault": fault, "reason": reason, "at": time.time()})

    def internal_since(self, since: float) -> list[dict[str, Any]]:
        """Those of hostguard's own making, from this wall time on."""
        return [fault for fault in self.latest if fault["at"] > since and fault["fault"] == "internal"]
