"""The verifier's process: started by the supervisor, it reads tokens of agents, documents of issuers, able to do little else.

``python -I -m hostguard.agent.verifier.process CHANNEL``: the one descriptor that it has. As a worker it closes its cage before
it reads a byte of anybody: another user, no capabilities, no new programs or processes, no files but the system's libraries. It
may connect sockets, since that is what asking issuers for their keys takes. It ends when its supervisor does.
"""

from __future__ import annotations

import asyncio
import socket
import sys

from ...identity import saml_document
from ..caged import Caged, enclose, ignore_signals
from ..sandbox import cage
from . import messages
from .presenting import Nothing, answer, read
from .verifying import Verifying


def main() -> None:
    """Run until the supervisor is gone."""
    ignore_signals()
    channel = socket.socket(fileno=int(sys.argv[1]))
    saml_document.warm()
    enclose("the verifier", channel, lambda applied: Process(channel, applied))


class Process(Caged):
    """Carries messages between the supervisor and what verifies."""

    TAKES_SOCKETS = True

    def __init__(self, sock: socket.socket, applied: cage.Applied) -> None:
        super().__init__(sock, applied)
        self._verifying: Verifying | None = None
        self._waiting: dict[int, asyncio.Future[str]] = {}
        self._published: dict[str, messages.Published] = {}

    def _say(self, message: messages.FromVerifier) -> None:
        self._channel.send(messages.encode(message))

    def _take(self, data: bytes, sock: socket.socket | None) -> None:
        match messages.to_verifier(data):
            case messages.Begin(sites):
                self._verifying = Verifying(sites, self._keys)
                self._work(self._verifying.refresh())
                self._say(messages.Ready(self.applied))
            case messages.Verify(number, issuer, token):
                self._work(self._verify(number, issuer, token))
            case messages.Take(number, issuers):
                assert sock is not None
                self._work(self._present(number, issuers, sock))
            case messages.Settled(number, error):
                waiting = self._waiting.get(number)
                if waiting is not None and not waiting.done():
                    waiting.set_result(error)
            case messages.Ping(number):
                self._say(messages.Pong(number))

    async def _verify(self, number: int, issuer: str, token: bytes) -> None:
        assert self._verifying is not None
        self._say(messages.Answered(number, await self._verifying.verdict(issuer, token)))

    async def _present(self, number: int, issuers: tuple[str, ...], sock: socket.socket) -> None:
        assert self._verifying is not None
        sock.setblocking(False)
        try:
            issuer, token = await read(sock, issuers)
        except (Nothing, OSError) as error:
            self._say(messages.Left(number))
            await answer(sock, str(error))
            return
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            self._say(messages.Presented(number, issuer, await self._verifying.verdict(issuer, token)))
            await answer(sock, await waiting)
        finally:
            del self._waiting[number]

    def _keys(self, published: messages.Published) -> None:
        """Tell, unless nothing has changed."""
        if self._published.get(published.issuer) != published:
            self._published[published.issuer] = published
            self._say(messages.Keys(published))


if __name__ == "__main__":
    main()
