"""The supervisor's side of the messenger: its process, what it is given to POST."""

from __future__ import annotations

import asyncio
import itertools
import socket

from ..awaited import Awaited, Away
from ..faults import Faults
from ..kept import Kept
from ..sandbox.asking import asking
from ..sandbox.cage import Cage
from . import messages

FILES = 256
SPARE_S = 5.0
"""Beside the time that a POST may take itself."""


class Keeper(Kept):
    """Keeps one messenger running."""

    NAME = "the messenger"
    MISSED = "nobody was told of requests"
    MODULE = "hostguard.agent.notices.process"
    HUNG_S = 20.0
    TAKES_SOCKETS = False
    MAX_MESSAGE_BYTES = messages.MAX_MESSAGE_BYTES

    def __init__(self, user: tuple[int, int], faults: Faults) -> None:
        """`user`: the ids that the process takes."""
        super().__init__(faults)
        self._user = user
        self._numbers = itertools.count(1)
        self._awaited: Awaited[int] = Awaited()

    async def post(self, url: str, headers: tuple[tuple[str, str], ...], body: bytes, timeout_s: float) -> str:
        """POST once; why it was not taken, empty when it was."""
        number = next(self._numbers)
        post = messages.Post(number, url, headers, body, timeout_s)
        try:
            async with asyncio.timeout(timeout_s + SPARE_S):
                await self.ready.wait()
                posted: messages.Posted = await self._awaited.answer(number, lambda: self._say(post), timeout_s + SPARE_S)
        except TimeoutError:
            return "the messenger does not answer"
        except Away:
            return "the messenger ended"
        if 200 <= posted.status < 300:
            return ""
        return f"it answered {posted.status} {posted.failure}".rstrip() if posted.status else posted.failure

    def _descriptors(self) -> list[int]:
        return []

    def _arguments(self) -> list[str]:
        return []

    def _greet(self) -> None:
        self._say(asking("hostguard-mess", self._user, FILES))
        self._say(messages.Begin())

    def _ping(self) -> None:
        self._say(messages.Ping(0))

    def _take(self, data: bytes, sock: socket.socket | None) -> None:
        match message := messages.from_messenger(data):
            case messages.Ready(cage):
                self.applied = cage
                self.ready.set()
            case messages.Posted(number):
                self._awaited.resolve(number, message)
            case messages.Pong():
                pass

    def _away(self) -> None:
        self._awaited.let_go()

    def _say(self, message: messages.ToMessenger | Cage) -> None:
        if self._channel is not None:
            self._channel.send(messages.encode(message))
