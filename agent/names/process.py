"""The resolver's process: started by the supervisor, it reads what agents ask or name servers answer, able to do little else.

``python -I -m hostguard.agent.names.process CHANNEL UDP4 UDP6``: the three descriptors that it has. As a worker it closes its
cage before it reads a byte of anybody: another user, no capabilities, no files, no new programs or processes. Unlike a worker it
may open sockets and connect them, since that is what asking name servers takes.

It ends when its supervisor does.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import sys
import traceback
from typing import Any

import dns.rdata
import dns.rdataclass
import dns.rdatatype
import msgspec

from ...policy import rules
from ...policy.decide import Policy
from ..channel import PACKET_BYTES, Channel
from ..sandbox import cage
from ..sandbox.privileges import StillPrivileged
from ..wording import cut
from . import messages
from .asker import Asker
from .edges import Source, Who
from .forward import NoAnswer
from .resolver import Barred, NameEntry
from .service import Names

BUG = 70
"""Exit code after an error of ours (sysexits.h: EX_SOFTWARE)."""
MAX_FROM_SUPERVISOR_BYTES = 256 << 20
MAX_QUEUED_BYTES = 64 << 20


def main() -> None:
    """Run until the supervisor is gone."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they come to the whole group; the supervisor says what follows from them
    channel, *datagrams = (socket.socket(fileno=int(fd)) for fd in sys.argv[1:])
    _warm()
    wanted = msgspec.msgpack.decode(channel.recv(PACKET_BYTES + 1)[1:], type=cage.Cage)
    asyncio.run(_run(channel, datagrams, wanted))


async def _run(channel: socket.socket, datagrams: list[socket.socket], wanted: cage.Cage) -> None:
    try:
        applied = cage.close(wanted)
    except StillPrivileged as error:
        print(f"the resolver may not run: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    Resolving(channel, datagrams, applied)
    await asyncio.Event().wait()


def _warm() -> None:
    """Read what would otherwise be read when it is first needed: there are no files later."""
    rules.schema()
    rules.base_source()
    for kind in dns.rdatatype.RdataType:
        dns.rdata.get_rdata_class(dns.rdataclass.IN, kind)  # type: ignore[no-untyped-call]
    "a".encode("idna")


class Resolving:
    """Carries messages between the supervisor and the resolver; the resolver's journal, among other things."""

    def __init__(self, sock: socket.socket, datagrams: list[socket.socket], applied: cage.Applied) -> None:
        self._datagrams = datagrams
        self._applied = applied
        self._names: Names | None = None
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._works: set[asyncio.Task[Any]] = set()
        self._lent: dict[int, asyncio.Task[asyncio.DatagramTransport]] = {}
        """The sockets in other network namespaces than the host's, by the supervisor's numbers."""
        self._channel = Channel(
            sock,
            self._heard,
            self._alone,
            takes_sockets=True,
            max_message_bytes=MAX_FROM_SUPERVISOR_BYTES,
            max_queued_bytes=MAX_QUEUED_BYTES,
        )

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

    def _alone(self, _: str) -> None:
        """Nobody tells who asks, nobody keeps the record: nothing may go on."""
        os._exit(0)

    def _heard(self, data: bytes, sock: socket.socket | None) -> None:
        try:
            self._take(messages.to_resolver(data), sock)
        except Exception:  # the supervising handler of the process itself: it ends closed, and the supervisor tells
            traceback.print_exc()
            os._exit(BUG)

    def _take(self, message: messages.ToResolver, sock: socket.socket | None) -> None:
        match message:
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
        self._say(messages.Ready(self._applied))

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

    def _work(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._works.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._works.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            traceback.print_exception(error)
            os._exit(BUG)


async def _leave(lent: asyncio.Task[asyncio.DatagramTransport]) -> None:
    (await lent).close()


if __name__ == "__main__":
    main()
