"""How often somebody may call: a bucket of tokens each, for a bounded number of callers."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass

MAX_CALLERS = 8192


@dataclass(frozen=True, slots=True)
class Rate:
    """So many at once, then so many a second."""

    burst: int
    per_s: float


class Limits:
    """Of one kind of call."""

    def __init__(self, rate: Rate, max_callers: int = MAX_CALLERS) -> None:
        self._rate = rate
        self._max_callers = max_callers
        self._callers: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """To their tokens, and when they had these; who called longest ago first."""
        self.refused = 0

    def take(self, caller: str, now: float) -> bool:
        """Whether the caller may. `now`: seconds on a clock that never goes back."""
        tokens, at = self._callers.pop(caller, (float(self._rate.burst), now))
        tokens = min(float(self._rate.burst), tokens + (now - at) * self._rate.per_s)
        allowed = tokens >= 1.0
        self._callers[caller] = (tokens - 1.0 if allowed else tokens, now)
        if len(self._callers) > self._max_callers:
            self._callers.popitem(last=False)
        self.refused += not allowed
        return allowed


def caller_of(address: str) -> str:
    """Whose address that is: of IPv6 the network of 64 bits, since a host has all of one."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else str(found)
