"""Puts permitted questions to the host's name servers.

Each question leaves from a socket of its own, whose port the kernel chooses at random, connected, so that only the name server's
own address can answer, under a random id: what RFC 5452 asks of a resolver against forged answers. Equal questions that wait at
one time are one, or each would be another ticket in a forger's lottery (RFC 5452 §5). An answer that does not fit is ignored, and
the wait goes on.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...protocols.dns.answer import Answer, BadAnswer, query_for, read_answer
from ...protocols.dns.question import Question
from ...protocols.dns.reply import MAX_TCP_BYTES
from ...protocols.dns.stream import LENGTH_BYTES, framed
from .upstreams import NoAnswer, Server

ROUNDS = 2
"""How often all name servers are asked in turn, as resolv.conf's ``attempts``."""
MAX_IGNORED = 100
"""Datagrams that are no answer before a name server is given up: a flood of forgeries must not go on for the whole wait."""
_NOERROR, _NXDOMAIN = 0, 3


@dataclass(frozen=True, slots=True)
class Told:
    """An answer, with the name server that gave it."""

    answer: Answer
    upstream: str


class Forwarder:
    """Asks name servers in their order."""

    def __init__(self, servers: Sequence[Server], timeout_s: float) -> None:
        self.servers = tuple(servers)
        self.counts: Counter[str] = Counter({"asked": 0, "answered": 0, "ignored": 0, "timeouts": 0, "by_tcp": 0})
        self.failure = ""
        """Why no name server answered the last question; empty when one did."""
        self._timeout_s = timeout_s
        self._waiting: dict[tuple[Question, bool, bool], asyncio.Task[Told]] = {}

    async def ask(self, question: Question, *, dnssec: bool = False, checking_disabled: bool = False) -> Told:
        """The answer to the question. Raises NoAnswer."""
        key = (question, dnssec, checking_disabled)
        task = self._waiting.get(key)
        if task is None:
            task = self._waiting[key] = asyncio.create_task(self._ask(*key))
            task.add_done_callback(lambda done: self._finished(key, done))
        # Shielded: who gives up waiting must not take the answer from the others.
        return await asyncio.shield(task)

    def _finished(self, key: tuple[Question, bool, bool], task: asyncio.Task[Told]) -> None:
        self._waiting.pop(key, None)
        if not task.cancelled():
            task.exception()  # or asyncio complains of one that nobody was left to hear

    async def _ask(self, question: Question, dnssec: bool, checking_disabled: bool) -> Told:
        said: dict[str, str] = {}
        worst: Told | None = None
        for server in self.servers * ROUNDS:
            name = f"[{server[0]}]:{server[1]}" if ":" in server[0] else f"{server[0]}:{server[1]}"
            self.counts["asked"] += 1
            try:
                answer = await self._exchange(server, question, dnssec, checking_disabled)
            except (OSError, BadAnswer, TimeoutError) as error:
                said[name] = "no answer in time" if isinstance(error, TimeoutError) else _said(error)
                self.counts["timeouts"] += isinstance(error, TimeoutError)
                continue
            self.counts["answered"] += 1
            self.failure = ""
            if answer.rcode in (_NOERROR, _NXDOMAIN):
                return Told(answer, name)
            # SERVFAIL or REFUSED: another may know (RFC 1035 §7.2); if none does, this is what the client gets.
            worst = Told(answer, name)
        if worst is not None:
            return worst
        self.failure = "; ".join(f"{name}: {why}" for name, why in said.items())
        raise NoAnswer(f"no name server answered: {self.failure}")

    async def _exchange(self, server: Server, question: Question, dnssec: bool, checking_disabled: bool) -> Answer:
        number = secrets.randbelow(65_536)
        query = query_for(question, number, dnssec=dnssec, checking_disabled=checking_disabled)

        def read(data: bytes) -> Answer:
            return read_answer(data, question, number)

        async with asyncio.timeout(self._timeout_s):
            answer = await self._by_udp(server, query, read)
        if not answer.truncated:
            return answer
        self.counts["by_tcp"] += 1
        async with asyncio.timeout(self._timeout_s):
            return await _by_tcp(server, query, read)

    async def _by_udp(self, server: Server, query: bytes, read: Callable[[bytes], Answer]) -> Answer:
        transport, waiting = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Waiting(read, self.counts), remote_addr=server
        )
        try:
            transport.sendto(query)
            return await waiting.answer
        finally:
            transport.close()


class _Waiting(asyncio.DatagramProtocol):
    """One socket that waits for one answer."""

    def __init__(self, read: Callable[[bytes], Answer], counts: Counter[str]) -> None:
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._read = read
        self._counts = counts
        self._ignored = 0

    def datagram_received(self, data: bytes, addr: object) -> None:
        if self.answer.done():
            return
        try:
            self.answer.set_result(self._read(data))
        except BadAnswer as error:
            self._counts["ignored"] += 1
            self._ignored += 1
            if self._ignored >= MAX_IGNORED:
                self.answer.set_exception(error)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)


async def _by_tcp(server: Server, query: bytes, read: Callable[[bytes], Answer]) -> Answer:
    reader, writer = await asyncio.open_connection(*server, limit=MAX_TCP_BYTES + LENGTH_BYTES)
    try:
        writer.write(framed(query))
        length = int.from_bytes(await reader.readexactly(LENGTH_BYTES))
        return read(await reader.readexactly(length))
    except asyncio.IncompleteReadError:
        raise BadAnswer("the connection ended within the answer") from None
    finally:
        writer.close()


def _said(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
