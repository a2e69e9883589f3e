"""Which flow a PostgreSQL CancelRequest means: the one of the same agent that was given that key."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

from ..recorder import entry
from . import messages
from .dialling import Dialler
from .flows import OpenFlow
from .messages import BadMessage
from .records import Records

CANCELED = b"57014"
"""SQLSTATE query_canceled."""
HEADER_BYTES = 8
"""Of the packet before the key: its length, its code."""
CANCEL_TIMEOUT_S = 10.0


class Cancels:
    """The cancel keys of the live flows, of all workers.

    A key alone is a bearer secret that can be guessed (four bytes until protocol 3.2), so it only works for the agent whose
    flow holds it, on the resource that gave it.
    """

    def __init__(self, records: Records, dialler: Dialler) -> None:
        self._records = records
        self._dialler = dialler
        self._flows: dict[tuple[str, bytes], OpenFlow] = {}

    def add(self, flow: OpenFlow, key: bytes) -> None:
        """Remember the key that the server gave this flow."""
        self.remove(flow)
        flow.cancel_key = key
        self._flows[flow.resource, key] = flow

    def remove(self, flow: OpenFlow) -> None:
        """Forget the key of a flow that ended."""
        if self._flows.get((flow.resource, flow.cancel_key)) is flow:
            del self._flows[flow.resource, flow.cancel_key]

    def cancel(self, asking: OpenFlow, key: bytes, request: bytes) -> Coroutine[None, None, None]:
        """Withdraw the target's held operation, or pass the packet `request` on to the target's server.

        Raises BadMessage for a packet that is none: it ends in the key (PostgreSQL 18 docs §54.7, CancelRequest).
        """
        if request[HEADER_BYTES:] != key or asking.cancelled:
            raise BadMessage("it sent a cancel request that is none, or a second one")
        asking.cancelled = True
        return self._cancel(asking, key, request)

    async def _cancel(self, asking: OpenFlow, key: bytes, request: bytes) -> None:
        target = self._flows.get((asking.resource, key))
        if target is not None and target.agent != asking.agent:
            target = None
        held = target is not None and bool(target.holding)
        # Where nothing is refused, a key that nobody here was given is of a flow that could not be read.
        through = asking if target is None and asking.observed else target
        cancel = entry.Cancel(target=target.id if target is not None else 0, forwarded=through is not None and not held)
        if self._records.note(asking.id, cancel) and through is not None:
            if held:
                through.berth.say(messages.Recall(through.id, "canceling statement due to user request", CANCELED))
            else:
                await self._forward(through, request)
        asking.berth.say(messages.End(asking.id, "cancel request handled"))

    async def _forward(self, target: OpenFlow, request: bytes) -> None:
        """Send the packet to the target's own server; it answers by closing."""
        loop = asyncio.get_running_loop()
        try:
            with await self._dialler.dial(target) as sock:
                async with asyncio.timeout(CANCEL_TIMEOUT_S):
                    await loop.sock_sendall(sock, request)
                    await loop.sock_recv(sock, 1)
        except (OSError, TimeoutError):
            return  # as without hostguard: who cancels is told nothing
