"""The resolver of one daemon with its sockets."""

from __future__ import annotations

import asyncio
import collections
import functools
import socket
import time
from collections.abc import Callable
from typing import Any

from ...policy.decide import Policy
from ...policy.names import NamePolicy
from ...protocols.dns.question import Question
from ...recorder import entry
from ...recorder.durable import LogUnavailable
from ...recorder.log import Log
from ..durability import Durability
from ..resources import Resources
from .asker import Asker
from .edges import Datagrams, Stream, Who
from .forward import NoAnswer
from .hosts import own_addresses
from .resolver import Resolver

DNS_PORT = 53
MAX_FAULTS = 32
MAX_STREAMS = 1000
"""Connections to port 53 open at one time; further ones are reset."""
RECEIVE_BYTES = 1 << 20
"""Of a UDP socket's buffer: some thousand questions while the loop is busy."""


class LogJournal:
    """Puts entries into the log of this very process, synced first where the configuration says so."""

    def __init__(self, log: Log, durable: Durability) -> None:
        self._log = log
        self._durable = durable

    async def put(self, *entries: entry.Entry) -> str:
        """See `resolver.Journal`."""
        try:
            self._log.append(0, *entries)
        except LogUnavailable as error:
            return str(error)
        if self._durable.strict:
            refusal = await self._durable.synced()
            return refusal.reason if refusal is not None else ""
        return ""


class Names:
    """Answers guarded processes' questions; what it learns goes to `resources`."""

    def __init__(self, policy: Policy, resources: Resources, log: Log, durable: Durability) -> None:
        self._log = log
        self._resources = resources
        self.resolver = Resolver(policy.document.dns, NamePolicy(policy), LogJournal(log, durable), self._learn)
        self.sockets: list[socket.socket] = []
        self.faults: collections.deque[tuple[float, str]] = collections.deque(maxlen=MAX_FAULTS)
        """Questions that broke the resolver: wall time, error."""
        self._transports: list[asyncio.DatagramTransport] = []
        self._streams = 0

    async def listen(self, askers: Callable[[socket.socket], Who]) -> None:
        """Open the UDP sockets, on 127.0.0.1 and on ::1. `askers`: tells who sends to a socket. Raises OSError."""
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            sock = _datagrams(family, host)
            self.sockets.append(sock)
            datagrams = Datagrams(self.resolver, askers(sock), self._crashed)
            transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                functools.partial(_the, datagrams), sock=sock
            )
            self._transports.append(transport)

    def stream(self, asker: Asker) -> Stream | None:
        """The protocol for a connection to port 53; None when there are too many."""
        if self._streams >= MAX_STREAMS:
            self.resolver.counts["overload"] += 1
            return None
        self._streams += 1
        return Stream(self.resolver, asker, self._crashed, self._stream_ended)

    async def look_up(self, name: str) -> list[str]:
        """The addresses of a resource's name, for hostguard itself, this host's own file first. Raises NoAnswer."""
        if found := own_addresses(name):
            return found
        labels = tuple(name.split("."))
        asked = [self.resolver.forwarder.ask(Question(labels, kind)) for kind in ("A", "AAAA")]
        answers = [told.answer for told in await asyncio.gather(*asked)]
        found = [address for answer in answers for address in answer.addresses]
        if not found:
            raise NoAnswer(" and ".join(sorted({answer.status for answer in answers})) + " without an address")
        return found

    def reload(self, policy: Policy) -> None:
        """Put another policy in force, from the next question on."""
        self.resolver.names = NamePolicy(policy)

    def close(self) -> None:
        """Stop answering; a question under way gets no reply."""
        for transport in self._transports:
            transport.close()

    def facts(self) -> dict[str, Any]:
        """For ``status``."""
        listening = [f"{sock.getsockname()[0]}:{sock.getsockname()[1]}" for sock in self.sockets if sock.fileno() >= 0]
        return {"listening": listening, "streams": self._streams, **self.resolver.facts()}

    def _stream_ended(self) -> None:
        self._streams -= 1

    def _learn(self, asker: Asker, name: str, addresses: tuple[str, ...], ttl_s: int) -> None:
        self._resources.learn((asker.agent, asker.netns), name, addresses, ttl_s, time.monotonic())

    def _crashed(self, error: Exception) -> None:
        """A question met a bug of ours: it gets no answer, and that is on record."""
        self.faults.append((time.time(), repr(error)))
        try:
            self._log.append(0, entry.Fault(where="names", error=repr(error)))
        except LogUnavailable as failure:
            self.resolver.failure = str(failure)


def _the(datagrams: Datagrams) -> Datagrams:
    return datagrams


def _datagrams(family: socket.AddressFamily, host: str) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        sock.setblocking(False)
        sock.bind((host, 0))
    except OSError:
        sock.close()
        raise
    return sock
