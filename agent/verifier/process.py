"""The verifier's process: started by the supervisor, it reads tokens of agents, documents of issuers, able to do little else.

``python -I -m hostguard.agent.verifier.process CHANNEL``: the one descriptor that it has. As a worker it closes its cage before
it reads a byte of anybody: another user, no capabilities, no new programs or processes, no files but the system's libraries. It
may connect sockets, since that is what asking issuers for their keys takes. It ends when its supervisor does.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import traceback
from collections.abc import Coroutine
from typing import Any

import msgspec

from ...identity import saml_document
from ..channel import PACKET_BYTES, Channel
from ..sandbox import cage
from ..sandbox.privileges import StillPrivileged
from . import messages
from .presenting import Nothing, answer, read
from .verifying import Verifying

BUG = 70
"""Exit code after an error of ours (sysexits.h: EX_SOFTWARE)."""
MAX_FROM_SUPERVISOR_BYTES = 64 << 20
MAX_QUEUED_BYTES = 64 << 20


def main() -> None:
    """Run until the supervisor is gone."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they come to the whole group; the supervisor says what follows from them
    channel = socket.socket(fileno=int(sys.argv[1]))
    saml_document.warm()
    wanted = msgspec.msgpack.decode(channel.recv(PACKET_BYTES + 1)[1:], type=cage.Cage)
    asyncio.run(_run(channel, wanted))


async def _run(channel: socket.socket, wanted: cage.Cage) -> None:
    try:
        applied = cage.close(wanted)
    except StillPrivileged as error:
        print(f"the verifier may not run: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    Process(channel, applied)
    await asyncio.Event().wait()


class Process:
    """Carries messages between the supervisor and what verifies."""

    def __init__(self, sock: socket.socket, applied: cage.Applied) -> None:
        self._applied = applied
        self._verifying: Verifying | None = None
        self._works: set[asyncio.Task[Any]] = set()
        self._waiting: dict[int, asyncio.Future[str]] = {}
        self._published: dict[str, messages.Published] = {}
        self._channel = Channel(
            sock,
            self._heard,
            self._alone,
            takes_sockets=True,
            max_message_bytes=MAX_FROM_SUPERVISOR_BYTES,
            max_queued_bytes=MAX_QUEUED_BYTES,
        )

    def _say(self, message: messages.FromVerifier) -> None:
        self._channel.send(messages.encode(message))

    def _alone(self, _: str) -> None:
        os._exit(0)

    def _heard(self, data: bytes, sock: socket.socket | None) -> None:
        try:
            self._take(messages.to_verifier(data), sock)
        except Exception:  # the supervising handler of the process itself: it ends closed, and the supervisor tells
            traceback.print_exc()
            os._exit(BUG)

    def _take(self, message: messages.ToVerifier, sock: socket.socket | None) -> None:
        match message:
            case messages.Begin(sites):
                self._verifying = Verifying(sites, self._keys)
                self._work(self._verifying.refresh())
                self._say(messages.Ready(self._applied))
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

    def _work(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._works.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._works.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            traceback.print_exception(error)
            os._exit(BUG)


if __name__ == "__main__":
    main()
