"""Which flow a PostgreSQL CancelRequest means: the one of the same agent that was given that key."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ..protocols.events import CancelRequested
from ..recorder import entry

if TYPE_CHECKING:
    from .loop import Loop
    from .relay import Relay

CANCELED = b"57014"
"""SQLSTATE query_canceled."""
CANCEL_TIMEOUT_S = 10.0


class Cancels:
    """The cancel keys of the live flows.

    A key alone is a bearer secret that can be guessed (four bytes until protocol 3.2), so it only works for the agent whose
    flow holds it, on the resource that gave it.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._flows: dict[tuple[str, bytes], Relay] = {}

    def add(self, relay: Relay) -> None:
        """Remember the key that the server gave this flow."""
        self._flows[relay.flow.resource, relay.cancel_key] = relay

    def remove(self, relay: Relay) -> None:
        """Forget the key of a flow that ended."""
        if self._flows.get((relay.flow.resource, relay.cancel_key)) is relay:
            del self._flows[relay.flow.resource, relay.cancel_key]

    async def cancel(self, asking: Relay, effect: CancelRequested) -> None:
        """Withdraw the target's held operation, or pass the request on to the target's server."""
        target = self._flows.get((asking.flow.resource, effect.key))
        known = target is not None and target.flow.agent == asking.flow.agent
        meant = target.flow.id if target is not None and known else 0
        forwarded = known and target is not None and target.operation is None
        refusal = self._loop.gate.record(asking.flow, entry.Cancel(target=meant, forwarded=forwarded))
        if refusal is None and target is not None and known:
            if target.operation is not None:
                target.withdraw("canceling statement due to user request", CANCELED)
            else:
                await self._forward(target, effect.request)
        asking.end("cancel request handled")

    async def _forward(self, target: Relay, request: bytes) -> None:
        """Send the packet to the target's own server; it answers by closing."""
        async with asyncio.timeout(CANCEL_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(target.flow.origin.host, target.flow.origin.port)
            try:
                writer.write(request)
                await writer.drain()
                await reader.read(1)
            finally:
                writer.close()
