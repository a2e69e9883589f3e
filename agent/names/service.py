"""The resolver with the sockets that it answers on."""

from __future__ import annotations

import asyncio
import socket

from ...policy.decide import Policy
from ...policy.names import NamePolicy
from ...protocols.dns.question import Question
from .asker import Asker
from .edges import Crashed, Datagrams, Stream, Who
from .resolver import Journal, Learn, Resolver
from .upstreams import NoAnswer

MAX_STREAMS = 1000
"""Connections to port 53 open at one time; further ones are reset."""


class Names:
    """Answers guarded processes' questions on sockets that it is given. Opens none but to name servers."""

    def __init__(self, policy: Policy, journal: Journal, learn: Learn, crashed: Crashed) -> None:
        self.resolver = Resolver(policy.document.dns, NamePolicy(policy), journal, learn)
        self._crashed = crashed
        self._transports: list[asyncio.DatagramTransport] = []
        self._streams = 0

    async def serve(self, sock: socket.socket, who: Who) -> asyncio.DatagramTransport:
        """Answer the datagrams that come to this socket, until the transport is closed."""
        datagrams = Datagrams(self.resolver, who, self._crashed)
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: datagrams, sock=sock)
        self._transports = [each for each in self._transports if not each.is_closing()] + [transport]
        return transport

    def stream(self, asker: Asker) -> Stream | None:
        """The protocol for a connection to port 53; None when there are too many."""
        if self._streams >= MAX_STREAMS:
            self.resolver.counts["overload"] += 1
            return None
        self._streams += 1
        return Stream(self.resolver, asker, self._crashed, self._stream_ended)

    async def look_up(self, name: str) -> list[str]:
        """The addresses of a resource's name, for hostguard itself. Raises NoAnswer."""
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

    def _stream_ended(self) -> None:
        self._streams -= 1
