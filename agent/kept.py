"""A caged process beside the supervisor's workers, started again whenever it ends.

What the resolver and the broker have in common: a channel, a cage, a sign of life every few seconds, another start after a pause
that grows. What is said over the channel is theirs.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import msgspec

from .channel import Channel, pair
from .child import Child
from .faults import Faults
from .sandbox.cage import Applied

START_S = 30.0
"""A process that is not ready after this long is killed."""
PING_S = 5.0
AGAIN_S = (0.1, 0.5, 2.0, 5.0)
"""Before each next start of a process that ended; the last of them from then on."""
MAX_QUEUED_BYTES = 64 << 20


class Kept(ABC):
    """Keeps one process running."""

    NAME: ClassVar[str]
    """As people are told of it: "the resolver"."""
    MISSED: ClassVar[str]
    """What was not done while there was none."""
    MODULE: ClassVar[str]
    HUNG_S: ClassVar[float]
    """One that is silent for longer is killed."""
    TAKES_SOCKETS: ClassVar[bool]
    """Whether it may send any."""
    MAX_MESSAGE_BYTES: ClassVar[int]

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self.ready = asyncio.Event()
        self.applied: Applied | None = None
        self.ended = 0
        """How often its process ended without being told to."""
        self.pid = 0
        self._channel: Channel | None = None
        self._process: Child | None = None
        self._heard_at = 0.0

    @abstractmethod
    def _descriptors(self) -> list[int]:
        """What it gets beside its channel."""

    @abstractmethod
    def _arguments(self) -> list[str]:
        """Of its command line, behind the number of its channel."""

    @abstractmethod
    def _greet(self) -> None:
        """Say which cage to close, then what to work by."""

    @abstractmethod
    def _ping(self) -> None:
        """Ask for a sign of life."""

    @abstractmethod
    def _take(self, data: bytes, sock: socket.socket | None) -> None:
        """It has said something. Raises msgspec.MsgspecError for what is no message: that is its end."""

    @abstractmethod
    def _away(self) -> None:
        """Who waits for an answer gets none."""

    def _environment(self) -> Mapping[str, str]:
        return {}

    async def run(self) -> None:
        """Have one, another one when it ends; runs until cancelled, and takes it along then."""
        for pause_s in itertools.chain(AGAIN_S, itertools.repeat(AGAIN_S[-1])):
            try:
                why = await self._live()
            finally:
                self.ready.clear()
                self._end()
            self.ended += 1
            self._faults.add(0, "", "internal", f"{self.NAME} {why}; {self.MISSED} until another took over")
            await asyncio.sleep(pause_s)

    async def _live(self) -> str:
        """One process from its start to its end; returns why it ended."""
        ours, theirs = pair()
        try:
            self._channel = Channel(
                ours,
                self._heard,
                lambda reason: self._kill(reason or "it let its channel go"),
                takes_sockets=self.TAKES_SOCKETS,
                max_message_bytes=self.MAX_MESSAGE_BYTES,
                max_queued_bytes=MAX_QUEUED_BYTES,
            )
            command = (sys.executable, "-I", "-m", self.MODULE, str(theirs.fileno()), *self._arguments())
            self._process = Child.start(command, (theirs.fileno(), *self._descriptors()), self._environment())
        except OSError as error:
            return f"could not be started ({error.strerror})"
        finally:
            theirs.close()
        self.pid = self._process.pid
        self._greet()
        watch = asyncio.create_task(self._watch())
        try:
            code = await self._process.wait()
        finally:
            watch.cancel()
        return f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"

    async def _watch(self) -> None:
        """Kill one that does not get ready, or does not answer."""
        self._heard_at = time.monotonic() + START_S - self.HUNG_S
        while time.monotonic() - self._heard_at < self.HUNG_S:
            if self.ready.is_set():
                self._ping()
            await asyncio.sleep(PING_S)
        self._kill("it does not answer")

    def _heard(self, data: bytes, sock: socket.socket | None) -> None:
        self._heard_at = max(self._heard_at, time.monotonic())
        try:
            self._take(data, sock)
        except msgspec.MsgspecError as error:
            self._kill(f"it sent what is no message: {error}")

    def _kill(self, reason: str) -> None:
        if self._process is not None and self._process.code is None:
            print(f"{self.NAME}'s process is killed: {reason}", file=sys.stderr, flush=True)
            self._process.kill()

    def _end(self) -> None:
        if self._channel is not None:
            self._channel.close()
        if self._process is not None:
            self._process.kill()
        self._away()

    def close(self) -> None:
        """End the process."""
        self._end()

    def leave(self) -> Child | None:
        """End it without waiting for that; the process, if somebody still has to."""
        self._end()
        return self._process if self._process is not None and self._process.code is None else None
