"""How long agents may take to begin: one that says nothing, or its first words too slowly, does not keep its flow.

Servers have such a limit (PostgreSQL 18 docs §19.3.3, authentication_timeout), but are not dialled before an agent has begun.
A flow that is only observed has the limit of its server.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from ..protocols.events import Close
from ..recorder import entry

if TYPE_CHECKING:
    from .relay import Relay

LOOK_S: Final = 1.0
_TIMEOUT: Final = b"57014"
"""SQLSTATE query_canceled, which PostgreSQL says for authentication_timeout."""


class Patience:
    """Of one worker with its agents."""

    def __init__(self, limit_s: int, relays: Mapping[int, Relay]) -> None:
        """`relays`: by the numbers of their flows."""
        self._limit_s = limit_s
        self._relays = relays
        self._since: dict[int, float] = {}
        """Flows by the moment they opened, oldest first; those that have begun are dropped when their time is up."""

    def expect(self, flow: int) -> None:
        """The flow is open, and its agent's first words are waited for."""
        self._since[flow] = time.monotonic()

    def forget(self, flow: int) -> None:
        """The flow has ended."""
        self._since.pop(flow, None)

    async def run(self) -> None:
        """Refuse whoever takes too long; runs until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            self._look(time.monotonic() - self._limit_s)

    def _look(self, latest: float) -> None:
        while self._since:
            flow, since = next(iter(self._since.items()))
            if since > latest:
                return
            del self._since[flow]
            relay = self._relays[flow]
            if relay.flow.observed:
                self.expect(flow)  # its workload may come to be guarded
            elif not relay.conversation.begun:
                _refuse(relay, f"you did not begin your session within {self._limit_s} s (limits.begin_s)")


def _refuse(relay: Relay, reason: str) -> None:
    relay.loop.gate.note(relay.flow, entry.Fault(where="begin", error=reason))
    relay.loop.fault(relay.flow, Close(reason, "client"))
    relay.terminate(reason, _TIMEOUT)
