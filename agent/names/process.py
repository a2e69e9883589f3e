"""The resolver's process: started by the supervisor, it reads what agents ask or name servers answer, able to do little else.

``python -I -m hostguard.agent.names.process CHANNEL UDP4 UDP6``: the three descriptors that it has. As a worker it closes its
cage before it reads a byte of anybody: another user, no capabilities, no files, no new programs or processes. Unlike a worker it
may open sockets and connect them, since that is what asking name servers takes.

It ends when its supervisor does.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import sys
import traceback
from typing import Any

import dns.rdata
import dns.rdataclass
import dns.rdatatype

from ...policy import rules
from ...policy.decide import Policy
from ..caged import Caged, enclose, ignore_signals
from ..sandbox import cage
from ..wording import cut
from . import messages
from .asker import Asker
from .edges import Source, Who
from .resolver import Barred, NameEntry
from .service import Names
from .upstreams import NoAnswer


def main() -> None:
    """Run until the supervisor is gone."""
    ignore_signals()
    channel, *datagrams = (socket.socket(fileno=int(fd)) for fd in sys.argv[1:])
    _warm()
    enclose("the resolver", channel, lambda applied: Resolving(channel, datagrams, applied))


def _warm() -> None:
    """Read what would otherwise be read when it is first needed: there are no files later."""
    rules.schema()
    rules.base_source()
    for kind in dns.rdatatype.RdataType:
        dns.rdata.get_rdata_class(dns.rdataclass.IN, kind)  # type: ignore[no-untyped-call]
    "a".encode("idna")


class Resolving(Caged):
    """Carries messages between the supervisor and the resolver; the resolver's journal, among other things."""

    TAKES_SOCKETS = True
    MAX_MESSAGE_BYTES = 256 << 20

    def __init__(self, sock: socket.socket, datagrams: list[socket.socket], applied: cage.Applied) -> None:
        super().__init__(sock, applied)
        self._datagrams = datagrams
        self._names: Names | None = None
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._lent: dict[int, asyncio.Task[asyncio.DatagramTransport]] = {}
        """The sockets in other network namespaces than the host's, by the supervisor's numbers."""

    # -- what the resolver wants ------------------------------------------------------------------------------------------------

    async def put(self, asker: Asker, *entries: NameEntry) -> str:
        """See `resolver.Journal`."""
        told: messages.Recorded = await self._answer(lambda number: messages.Put(number, asker.ref, entries))
        if told.barred:
            raise Barred(told.barred)
        return told.failure

    def _who(self, index: int) -> Who:
        async def who(source: Source) -> Asker | None:
            asker: Asker | None = await self._answer(lambda number: messages.Who(number, index, source[0], source[1]))
            return asker

        return who

    async def _learn(self, asker: Asker, name: str, addresses: tuple[str, ...], ttl_s: int) -> None:
        told = addresses[: messages.MAX_ADDRESSES]
        await self._answer(lambda number: messages.Learnt(number, asker.ref, cut(name), told, ttl_s))

    def _crashed(self, error: Exception) -> None:
        self._say(messages.Crashed(cut("".join(traceback.format_exception(error))[-2000:])))

    async def _answer(self, ask: Any) -> Any:
        number = next(self._numbers)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            self._say(ask(number))
            return await future
        finally:
            del self._waiting[number]

    def _say(self, message: messages.FromResolver) -> None:
        self._channel.send(messages.encode(message))

    # -- what the supervisor says -----------------------------------------------------------------------------------------------

    def _take(self, data: bytes, sock: socket.socket | None) -> None:
        match message := messages.to_resolver(data):
            case messages.Begin():
                self._begin(message)
            case messages.Told(number, asker):
                self._resolve(number, asker)
            case messages.Recorded(number):
                self._resolve(number, message)
            case messages.Opened(asker):
                assert sock is not None
                self._work(self._stream(asker, sock))
            case messages.LookUp(number, name):
                self._work(self._look_up(number, name))
            case messages.Answer(number):
                assert sock is not None
                self._lent[number] = self._work(self._answer_at(number, sock))
            case messages.Leave(number):
                self._work(_leave(self._lent.pop(number)))
            case messages.Ping(number):
                assert self._names is not None
                self._say(messages.Pong(number, self._names.resolver.facts()))

    def _resolve(self, number: int, value: object) -> None:
        future = self._waiting.get(number)
        if future is not None and not future.done():
            future.set_result(value)

    def _begin(self, begin: messages.Begin) -> None:
        policy = Policy(begin.document, begin.epoch)
        if self._names is not None:
            self._names.reload(policy)
            return
        self._names = Names(policy, self, self._learn, self._crashed)
        self._work(self._serve(self._names))

    async def _serve(self, names: Names) -> None:
        for index, sock in enumerate(self._datagrams):
            sock.setblocking(False)
            await names.serve(sock, self._who(index))
        self._say(messages.Ready(self.applied))

    async def _answer_at(self, number: int, sock: socket.socket) -> asyncio.DatagramTransport:
        assert self._names is not None
        sock.setblocking(False)
        return await self._names.serve(sock, self._who(number))

    async def _stream(self, asker: Asker, sock: socket.socket) -> None:
        assert self._names is not None
        sock.setblocking(False)
        stream = self._names.stream(asker)
        if stream is None:
            sock.close()
            return
        await asyncio.get_running_loop().connect_accepted_socket(lambda: stream, sock)

    async def _look_up(self, number: int, name: str) -> None:
        assert self._names is not None
        try:
            found = await self._names.look_up(name)
        except NoAnswer as error:
            self._say(messages.Found(number, (), cut(str(error))))
        else:
            self._say(messages.Found(number, tuple(found[: messages.MAX_ADDRESSES]), ""))


async def _leave(lent: asyncio.Task[asyncio.DatagramTransport]) -> None:
    (await lent).close()


if __name__ == "__main__":
    main()
