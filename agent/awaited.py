"""Questions to a caged process that wait for its answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Away(Exception):
    """Whoever was asked is gone: there will be no answer."""


class Awaited(Generic[Key]):
    """The open ones, by what the answer will name."""

    def __init__(self) -> None:
        self._open: dict[Key, asyncio.Future[Any]] = {}

    def __contains__(self, key: Key) -> bool:
        return key in self._open

    async def answer(self, key: Key, ask: Callable[[], None], limit_s: float) -> Any:
        """Ask, and wait for the answer. Raises TimeoutError, Away."""
        future = self._open[key] = asyncio.get_running_loop().create_future()
        try:
            ask()
            async with asyncio.timeout(limit_s):
                return await future
        finally:
            del self._open[key]

    def resolve(self, key: Key, value: object) -> bool:
        """The answer is in; whether anybody waited for it."""
        future = self._open.get(key)
        if future is None or future.done():
            return False
        future.set_result(value)
        return True

    def let_go(self) -> None:
        """Nobody will answer any more."""
        for future in self._open.values():
            if not future.done():
                future.set_exception(Away())
