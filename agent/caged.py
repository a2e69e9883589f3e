"""The inside of a caged process that the supervisor keeps running; `agent/kept.py` is the supervisor's side.

It closes its cage before it reads a byte of anybody, has one channel, ends when its supervisor does. After an error of ours it
ends as well, closed: the supervisor tells of that, and starts another.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, TypeVar

import msgspec

from .channel import PACKET_BYTES, Channel
from .sandbox import cage
from .sandbox.privileges import StillPrivileged

BUG = 70
"""Exit code after an error of ours (sysexits.h: EX_SOFTWARE)."""
DEFAULT_BYTES = 64 << 20

Result = TypeVar("Result")


def ignore_signals() -> None:
    """Those that come to the whole group; the supervisor says what follows from them."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def enclose(name: str, channel: socket.socket, begin: Callable[[cage.Applied], object]) -> None:
    """Close the cage that the supervisor asks for, begin in it, and go on until the supervisor is gone.

    `name`: for what goes wrong. `begin`: called within an event loop; what it returns lives as long as the process.
    """
    wanted = msgspec.msgpack.decode(channel.recv(PACKET_BYTES + 1)[1:], type=cage.Cage)
    asyncio.run(_stay(name, wanted, begin))


async def _stay(name: str, wanted: cage.Cage, begin: Callable[[cage.Applied], object]) -> None:
    try:
        applied = cage.close(wanted)
    except StillPrivileged as error:
        print(f"{name} may not run: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    _alive = begin(applied)
    await asyncio.Event().wait()


class Caged(ABC):
    """Takes what the supervisor says, works on it."""

    TAKES_SOCKETS: ClassVar[bool]
    """Whether it may be sent any."""
    MAX_MESSAGE_BYTES: ClassVar[int] = DEFAULT_BYTES
    MAX_QUEUED_BYTES: ClassVar[int] = DEFAULT_BYTES

    def __init__(self, sock: socket.socket, applied: cage.Applied) -> None:
        self.applied = applied
        self._works: set[asyncio.Task[Any]] = set()
        self._channel = Channel(
            sock,
            self._heard,
            self._alone,
            takes_sockets=self.TAKES_SOCKETS,
            max_message_bytes=self.MAX_MESSAGE_BYTES,
            max_queued_bytes=self.MAX_QUEUED_BYTES,
        )

    @abstractmethod
    def _take(self, data: bytes, sock: socket.socket | None) -> None:
        """The supervisor has said something."""

    def _alone(self, _: str) -> None:
        """Nobody asks any more, nobody keeps the record: nothing may go on, what is held is let go."""
        os._exit(0)

    def _heard(self, data: bytes, sock: socket.socket | None) -> None:
        try:
            self._take(data, sock)
        except Exception as error:  # the supervising handler of the process itself: it ends closed, and the supervisor tells
            self._die(error)

    def _work(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Have it done beside what else comes; an error in it ends the process."""
        task = asyncio.get_running_loop().create_task(work)
        self._works.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._works.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._die(error)

    def _die(self, error: BaseException) -> None:
        """End after an error of ours, telling what it was."""
        traceback.print_exception(error)
        sys.stderr.flush()
        os._exit(BUG)
