"""The sockets through which guarded processes' questions come: datagrams, streams."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

from ...protocols.dns.question import MAX_QUERY_BYTES
from ...protocols.dns.stream import MessageStream, TooLong, framed
from .asker import Asker
from .resolver import Resolver

Source = tuple[str, int]
Who = Callable[[Source], Awaitable[Asker | None]]
"""Who sent a datagram from this address and port; None for nobody that is guarded."""
Crashed = Callable[[Exception], None]

MAX_WAITING = 4096
"""Datagrams of all agents under way; what comes beyond is dropped, as a full socket buffer would: clients ask again."""
MAX_PIPELINED = 64
"""Questions of one stream under way (RFC 7766 §6.2.1.1); then it is read no further."""
IDLE_S = 10.0
"""RFC 7766 §6.2.3: a stream without a question under way is closed after a few seconds."""


class Datagrams(asyncio.DatagramProtocol):
    """One UDP socket of ours."""

    def __init__(self, resolver: Resolver, who: Who, crashed: Crashed) -> None:
        self._resolver = resolver
        self._who = who
        self._crashed = crashed
        self._transport: asyncio.DatagramTransport | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if len(self._tasks) >= MAX_WAITING:
            self._resolver.counts["overload"] += 1
            return
        task = asyncio.create_task(self._serve(data, addr))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, data: bytes, addr: tuple[str, int]) -> None:
        try:
            asker = await self._who(addr[:2])
            if asker is None:
                self._resolver.counts["strangers"] += 1
                return
            reply = await self._resolver.reply(data, asker, tcp=False)
        except Exception as error:  # the supervising handler of questions: one that breaks us gets no reply, and is shown
            self._crashed(error)
            return
        if reply is not None and self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(reply, addr)


class Stream(asyncio.Protocol):
    """One TCP connection of a guarded process to port 53 of wherever."""

    def __init__(self, resolver: Resolver, asker: Asker, crashed: Crashed, ended: Callable[[], None]) -> None:
        self._resolver = resolver
        self._asker = asker
        self._tell_end = ended
        self._crashed = crashed
        self._messages = MessageStream(MAX_QUERY_BYTES)
        self._transport: asyncio.Transport | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle: asyncio.TimerHandle | None = None
        self._ended = False
        """The client will ask nothing more."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports are no subclasses
        self._rest()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._idle is not None:
            self._idle.cancel()
        for task in self._tasks:
            task.cancel()
        self._tell_end()

    def eof_received(self) -> bool:
        """Stay open until what was asked is answered."""
        if not self._tasks:
            return False
        self._ended = True
        return True

    def data_received(self, data: bytes) -> None:
        self._messages.feed(data)
        self._take()

    def _take(self) -> None:
        """Begin with as many questions as may be under way; reading stops while there are more."""
        assert self._transport is not None
        try:
            while len(self._tasks) < MAX_PIPELINED:
                message = self._messages.next_message()
                if message is None:
                    self._transport.resume_reading()
                    return
                task = asyncio.create_task(self._serve(message))
                self._tasks.add(task)
                task.add_done_callback(self._served)
            self._transport.pause_reading()
        except TooLong:
            self._resolver.counts["malformed"] += 1
            self._transport.abort()

    def _served(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._transport is None or self._transport.is_closing():
            return
        self._take()
        if not self._tasks and self._ended:
            self._transport.close()
        elif not self._tasks:
            self._rest()

    async def _serve(self, message: bytes) -> None:
        try:
            reply = await self._resolver.reply(message, self._asker, tcp=True)
        except Exception as error:  # the supervising handler of questions
            self._crashed(error)
            reply = None
        if self._transport is None or self._transport.is_closing():
            return
        if reply is None:
            self._transport.abort()
        else:
            self._transport.write(framed(reply))

    def _rest(self) -> None:
        """Close after a while in which nothing is asked."""
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(IDLE_S, self._end)

    def _end(self) -> None:
        if not self._tasks and self._transport is not None:
            self._transport.close()
