"""Which flow a PostgreSQL CancelRequest means: the one of the same agent that was given that key."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Coroutine

from ..recorder import entry
from . import messages
from .dialling import Dialler
from .flows import OpenFlow
from .logins import Logins
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

    def __init__(self, records: Records, dialler: Dialler, logins: Logins) -> None:
        self._records = records
        self._dialler = dialler
        self._logins = logins
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
            elif await self._forward(asking, through, request):
                return
        asking.berth.say(messages.End(asking.id, "cancel request handled"))

    async def interrupt(self, flow: OpenFlow, end: messages.End, limit_s: float) -> None:
        """End the flow, then have its server cancel what it runs for it; `limit_s`: how long that may take to reach.

        In this order, so that the agent hears why the flow ends and not that something was cancelled. A worker that is to say it
        by TLS hears of both in one go.
        """
        sock, link = None, None
        try:
            async with asyncio.timeout(limit_s):
                if flow.cancel_key:
                    link, sock = self._logins.link(flow), await self._dialler.dial(flow)
        except (OSError, TimeoutError):
            pass  # it ends all the same; what the server runs may come to its end
        if sock is not None and link is not None:
            flow.berth.say(messages.Deliver(flow.id, cancel_request(flow.cancel_key), link), sock)
        flow.berth.say(end)
        if sock is None or link is not None:
            return
        try:
            if flow.carried:
                sock, _ = await self._logins.carry(flow, sock)
            await _say(sock, cancel_request(flow.cancel_key))
        except (OSError, TimeoutError):
            pass

    async def _forward(self, asking: OpenFlow, target: OpenFlow, request: bytes) -> bool:
        """Send the packet to the target's own server, which answers by closing, by TLS where the target's link has it.

        True: it is the worker that sends it, and ends the flow `asking` then.
        """
        try:
            link = self._logins.link(target)
            sock = await self._dialler.dial(target)
            if link is not None:
                asking.berth.say(messages.Deliver(asking.id, request, link), sock)
                return True
            if target.carried:
                sock, _ = await self._logins.carry(asking, sock)
            await _say(sock, request)
        except (OSError, TimeoutError):
            pass  # as without hostguard: who cancels is told nothing
        return False


def cancel_request(key: bytes) -> bytes:
    """The packet that cancels what the session with this key runs (PostgreSQL 18 docs §54.7, CancelRequest)."""
    return struct.pack("!II", HEADER_BYTES + len(key), 80877102) + key


async def _say(sock: socket.socket, request: bytes) -> None:
    loop = asyncio.get_running_loop()
    sock.setblocking(False)
    with sock:
        async with asyncio.timeout(CANCEL_TIMEOUT_S):
            await loop.sock_sendall(sock, request)
            await loop.sock_recv(sock, 1)
