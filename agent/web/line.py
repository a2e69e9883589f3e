"""The page's process asks the supervisor, which answers by number."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from . import messages
from .signing import Person

LIMIT_S = 20.0
"""The supervisor has a worker judge a statement before it answers to an approval: that takes up to 10 s."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the supervisor says to a session."""

    status: int
    user: str
    provider: str
    until: float
    body: Any
    error: str


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody says to a request."""

    approve: bool
    digest: str
    reason: str
    uses: int = 1
    until: float = 0.0
    """Wall time; 0 for this once."""


class Line:
    """Asks, and finds who waits for an answer."""

    def __init__(self, say: Callable[[messages.FromWeb], None]) -> None:
        self._say = say
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    async def ask(self, what: str, key: str, which: str = "") -> Reply:
        """See `messages.Ask`. Raises TimeoutError."""
        return _reply(await self._answer(lambda number: messages.Ask(number, key, what, which)))

    async def answer(self, key: str, request: str, said: Said) -> Reply:
        """See `messages.Answer`. Raises TimeoutError."""
        facts = (said.approve, said.digest, said.reason, said.uses, said.until)
        return _reply(await self._answer(lambda number: messages.Answer(number, key, request, *facts)))

    async def on_grant(self, key: str, grant: str, verb: str, reason: str) -> Reply:
        """See `messages.OnGrant`. Raises TimeoutError."""
        return _reply(await self._answer(lambda number: messages.OnGrant(number, key, grant, verb, reason)))

    async def enter(self, key: str, provider: str, person: Person, address: str, fault: str = "") -> str:
        """Why no session is open now; empty when it is. Raises TimeoutError."""
        facts = (provider, person.user, person.subject, address, fault, person.groups)
        told = await self._answer(lambda number: messages.Enter(number, key, *facts))
        refusal: str = told.refusal
        return refusal

    def leave(self, key: str) -> None:
        """The session is over."""
        self._say(messages.Leave(key))

    async def look_up(self, name: str) -> Sequence[str]:
        """Raises OSError, TimeoutError."""
        found = await self._answer(lambda number: messages.LookUp(number, name))
        if found.failure:
            raise OSError(None, found.failure)
        addresses: Sequence[str] = found.addresses
        return addresses

    def take(self, message: messages.Entered | messages.Told | messages.Found) -> None:
        """The answer to one of these."""
        future = self._waiting.get(message.id)
        if future is not None and not future.done():
            future.set_result(message)

    async def _answer(self, ask: Callable[[int], messages.FromWeb]) -> Any:
        number = next(self._numbers)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            self._say(ask(number))
            async with asyncio.timeout(LIMIT_S):
                return await future
        finally:
            del self._waiting[number]


class Names(AbstractResolver):
    """Looks names up at the supervisor's: this process reads no file and starts no thread, both of which libc's way takes."""

    def __init__(self, line: Line) -> None:
        self._line = line

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        """Raises OSError."""
        try:
            found = await self._line.look_up(host)
        except TimeoutError:
            raise OSError(None, "the name is not answered") from None
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in found
        ]

    async def close(self) -> None:
        """It holds nothing."""


def _reply(told: messages.Told) -> Reply:
    return Reply(told.status, told.user, told.provider, told.until, json.loads(told.body or b"null"), told.error)
