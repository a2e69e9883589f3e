"""The supervisor's side of the resolver: its process, its record, who asks it; nothing that it says is believed.

The UDP sockets are the supervisor's: when the resolver's process ends, another takes them over, and questions that came in
between wait in them. Who asks is known here alone, under a number; what is put on record about a question gets the asker's
facts from here, whatever the entry says of them.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from ...policy.document import Document
from ...recorder import entry
from ...recorder.durable import LogUnavailable
from ...recorder.log import Log
from ..awaited import Awaited, Away
from ..faults import Faults
from ..kept import Kept
from ..resources import Resources
from ..sandbox import seccomp
from ..sandbox.cage import Cage
from . import messages
from .asker import Asker
from .hosts import own_addresses
from .upstreams import NoAnswer, servers_of

DNS_PORT = 53
LOOK_UP_S = 15.0
MAX_ASKERS = 65_536
"""Askers remembered; the one known for longest is forgotten, and a question of its is then refused."""
FILES = 8192
RECEIVE_BYTES = 1 << 20
"""Of a UDP socket's buffer: some thousand questions while the resolver is busy, or another is being started."""

WhoAsks = Callable[[socket.socket, tuple[str, int]], Asker | None]
"""Who sent to this socket from there, with a `ref` of 0; None for nobody who is guarded."""


class Answering:
    """A socket that is answered on until `close`."""

    def __init__(self, close: Callable[[], None]) -> None:
        self.close = close


class Keeper(Kept):
    """Keeps one resolver running."""

    NAME = "the resolver"
    MISSED = "names were not answered"
    MODULE = "hostguard.agent.names.process"
    HUNG_S = 10.0
    TAKES_SOCKETS = False
    MAX_MESSAGE_BYTES = messages.MAX_MESSAGE_BYTES

    def __init__(
        self,
        document: Document,
        epoch: int,
        user: tuple[int, int],
        log: Log,
        resources: Resources,
        faults: Faults,
        sockets: Sequence[socket.socket] = (),
    ) -> None:
        """`user`: the ids that the process takes. `sockets`: those of an earlier supervisor, with what waits in them."""
        super().__init__(faults)
        self._begin = messages.Begin(_settled(document), epoch)
        self._user = user
        self._log = log
        self._strict = document.log.durability == "strict"
        self._resources = resources
        self.sockets = list(sockets) or _sockets()
        self._served = dict(enumerate(self.sockets))
        self._next_socket = len(self.sockets)
        self.failure = ""
        """Why the last question could not be put on record; empty when it could."""
        self.figures: messages.Figures | None = None
        """The last that it told."""
        self.who_asks: WhoAsks = lambda _sock, _source: None
        self.barred: Callable[[str], str] = lambda _: ""
        """Why an agent's questions must not be answered; empty when they may be."""
        self._askers: OrderedDict[int, Asker] = OrderedDict()
        self._numbers = itertools.count(1)
        self._awaited: Awaited[int] = Awaited()
        self._syncing: asyncio.Task[str] | None = None
        self._works: set[asyncio.Task[None]] = set()

    # -- its process ------------------------------------------------------------------------------------------------------------

    def _descriptors(self) -> list[int]:
        return [sock.fileno() for sock in self.sockets]

    def _arguments(self) -> list[str]:
        return [str(fd) for fd in self._descriptors()]

    def _greet(self) -> None:
        self._say(self._cage())
        self._say(self._begin)

    def _cage(self) -> Cage:
        try:
            program = seccomp.compiled_dialling()
        except seccomp.NoSeccomp:
            program = b""
        uid, gid = self._user
        return Cage(uid=uid, gid=gid, files=FILES, parent=os.getpid(), program=program, name="hostguard-names", dials=True)

    def _ping(self) -> None:
        self._say(messages.Ping(0))

    def _away(self) -> None:
        self._awaited.let_go()

    def detach(self) -> list[int]:
        """Descriptors of the sockets, which are somebody else's from here on."""
        return [sock.detach() for sock in self.sockets]

    def close(self) -> None:
        """No question is answered any more."""
        self._end()
        for sock in self._served.values():
            sock.close()

    # -- what it is told --------------------------------------------------------------------------------------------------------

    def give(self, asker: Asker, sock: socket.socket) -> None:
        """A connection to port 53 is the resolver's from here on."""
        if self._channel is None or not self.ready.is_set():
            sock.close()
            return
        self._channel.send(messages.encode(messages.Opened(self._known(asker))), sock)

    def answer_at(self, sock: socket.socket) -> Answering:
        """Have what comes to this UDP socket of another network namespace answered, until the returned is closed."""
        number = self._next_socket
        self._next_socket += 1
        self._served[number] = sock
        if self.ready.is_set():
            self._lend(number)
        return Answering(lambda: self._leave(number))

    def _lend(self, number: int) -> None:
        if self._channel is not None:
            self._channel.send(messages.encode(messages.Answer(number)), self._served[number].dup())

    def _leave(self, number: int) -> None:
        """A copy of a socket keeps its namespace alive, whoever has it."""
        sock = self._served.pop(number, None)
        if sock is None:
            return
        sock.close()
        if self.ready.is_set():
            self._say(messages.Leave(number))

    def reload(self, document: Document, epoch: int) -> None:
        """Put another policy in force, for questions that come after the process has heard of it."""
        self._begin = messages.Begin(_settled(document), epoch)
        if self.ready.is_set():
            self._say(self._begin)

    def forget(self, ended: Callable[[Asker], bool]) -> None:
        """No more is answered to these until they are seen anew: with the next question, by TCP with the next connection."""
        self._askers = OrderedDict((ref, asker) for ref, asker in self._askers.items() if not ended(asker))

    async def look_up(self, name: str) -> Sequence[str]:
        """The addresses of a resource's name, for hostguard itself, this host's own file first. Raises NoAnswer."""
        if found := own_addresses(name):
            return found
        answer = await self._ask(lambda number: messages.LookUp(number, name), LOOK_UP_S)
        if answer is None:
            raise NoAnswer("the resolver does not answer")
        if answer.failure:
            raise NoAnswer(answer.failure)
        addresses: Sequence[str] = answer.addresses
        return addresses

    async def facts(self) -> dict[str, Any]:
        """For ``status``: as the resolver tells now, or told last."""
        await self._ask(messages.Ping, 1.0)
        figures = self.figures
        return {
            "listening": [f"{sock.getsockname()[0]}:{sock.getsockname()[1]}" for sock in self.sockets if sock.fileno() >= 0],
            "running": self.ready.is_set(),
            "pid": self.pid,
            "cage": str(self.applied or ""),
            "ended": self.ended,
            "log_failure": self.failure,
            **({} if figures is None else msgspec.to_builtins(figures)),
        }

    async def _ask(self, ask: Callable[[int], messages.ToResolver], limit_s: float) -> Any:
        """Its answer; None when there is none in time."""
        if not self.ready.is_set():
            return None
        number = next(self._numbers)
        try:
            return await self._awaited.answer(number, lambda: self._say(ask(number)), limit_s)
        except (TimeoutError, Away):
            return None

    def _say(self, message: messages.ToResolver | Cage) -> None:
        if self._channel is not None:
            self._channel.send(messages.encode(message))

    # -- what it says -----------------------------------------------------------------------------------------------------------

    def _take(self, data: bytes, sock: socket.socket | None) -> None:
        match message := messages.from_resolver(data):
            case messages.Ready(applied):
                self.applied = applied
                for number in [number for number in self._served if number >= len(self.sockets)]:
                    self._lend(number)
                self.ready.set()
            case messages.Who(number, index, host, port):
                sock = self._served.get(index)
                asker = None if sock is None else self.who_asks(sock, (host, port))
                self._say(messages.Told(number, None if asker is None else self._known(asker)))
            case messages.Put():
                self._work(self._put(message))
            case messages.Learnt():
                self._learn(message)
            case messages.Pong(number, figures):
                self.figures = figures
                self._awaited.resolve(number, figures)
            case messages.Found(number):
                self._awaited.resolve(number, message)
            case messages.Crashed(error):
                self._faults.add(0, "", "internal", f"a question broke the resolver: {error.splitlines()[-1:]}")
                self._append(entry.Fault(where="names", error=error))

    def _known(self, asker: Asker) -> Asker:
        """The asker under a number of its own."""
        found = msgspec.structs.replace(asker, ref=next(self._numbers))
        if len(self._askers) >= MAX_ASKERS:
            self._askers.popitem(last=False)
        self._askers[found.ref] = found
        return found

    async def _put(self, put: messages.Put) -> None:
        asker = self._askers.get(put.ref)
        if asker is None:
            self._say(messages.Recorded(put.id, "who asked is not known any more"))
            return
        barred = self.barred(asker.agent)
        entries = _refused(put.entries, barred) if barred else put.entries
        failure = self._append(*(_attributed(each, asker) for each in entries))
        if not failure and self._strict:
            failure = await self._synced()
        self._say(messages.Recorded(put.id, failure, self.barred(asker.agent)))

    def _append(self, *entries: entry.Entry) -> str:
        try:
            self._log.append(0, *entries)
        except LogUnavailable as error:
            self.failure = str(error)
        else:
            self.failure = ""
        return self.failure

    async def _synced(self) -> str:
        """Wait until what was appended is on disk; one sync serves all that wait when it begins."""
        if self._syncing is not None and not self._syncing.done():
            await asyncio.shield(self._syncing)
        if self._syncing is None or self._syncing.done():
            self._syncing = asyncio.create_task(self._sync())
        return await asyncio.shield(self._syncing)

    async def _sync(self) -> str:
        try:
            await asyncio.to_thread(self._log.sync)
        except LogUnavailable as error:
            self.failure = str(error)
            return self.failure
        return ""

    def _learn(self, learnt: messages.Learnt) -> None:
        asker = self._askers.get(learnt.ref)
        try:
            if asker is not None:
                self._resources.learn((asker.agent, asker.netns), learnt.name, learnt.addresses, learnt.ttl_s, time.monotonic())
        except ValueError:
            self._kill("it sent what is no address")
        self._say(messages.Recorded(learnt.id, ""))

    def _work(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._works.add(task)
        task.add_done_callback(self._works.discard)


def _attributed(each: entry.NameAsked | entry.NameAnswered, asker: Asker) -> entry.Entry:
    """The entry, with who asked as the kernel told it."""
    each.v = entry.FORMAT_VERSION
    if isinstance(each, entry.NameAsked):
        each.agent, each.workload, each.server = asker.agent, asker.workload, asker.server
        each.pid, each.start_ticks, each.uid = asker.pid, asker.start_ticks, asker.uid
        each.comm, each.exe, each.cgroup = asker.comm, asker.exe, asker.cgroup
    return each


def _refused(entries: Sequence[entry.NameAsked | entry.NameAnswered], why: str) -> list[entry.NameAsked | entry.NameAnswered]:
    """What is on record of a question that is not answered, whatever the resolver would have."""
    found: list[entry.NameAsked | entry.NameAnswered] = []
    for asked in entries:
        if isinstance(asked, entry.NameAsked):
            asked.verdict, asked.reason, asked.policies, asked.would = "deny", why, (), ""
            found.append(asked)
    return [*found, entry.NameAnswered(question=entries[0].question, status="REFUSED", reason=why)]


def _settled(document: Document) -> Document:
    """The document with the name servers in it, since the resolver's process can read no file."""
    servers = tuple(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in servers_of(document.dns.upstreams))
    return msgspec.structs.replace(document, dns=msgspec.structs.replace(document.dns, upstreams=servers))


def _sockets() -> list[socket.socket]:
    """127.0.0.1 and ::1, each on a port of its own. Raises OSError."""
    found = []
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        sock = socket.socket(family, socket.SOCK_DGRAM)
        found.append(sock)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        sock.setblocking(False)
        sock.bind((host, 0))
    return found
