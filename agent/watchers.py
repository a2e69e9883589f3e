"""Who follows requests live: everybody hears of every change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

from ..policy.requests import NotAllowed

MAX_WATCHERS = 64
WATCHER_EVENTS = 256
"""Events that wait for a slow watcher; after that it is dropped, and sees so by the end of its stream."""

Facts = dict[str, Any]


class Watchers:
    """The open streams."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[Facts | None]] = set()

    async def watch(self, first: Callable[[], list[Facts]], ping_s: float) -> AsyncGenerator[Facts | None, None]:
        """What `first` tells, then every change; None when there was none for `ping_s` seconds. Raises NotAllowed."""
        if len(self._queues) >= MAX_WATCHERS:
            raise NotAllowed(f"{MAX_WATCHERS} watchers are connected already.")
        queue: asyncio.Queue[Facts | None] = asyncio.Queue(WATCHER_EVENTS)
        self._queues.add(queue)
        try:
            for facts in first():
                yield facts
            while queue in self._queues:
                try:
                    yield await asyncio.wait_for(queue.get(), ping_s)
                except TimeoutError:
                    yield None
        finally:
            self._queues.discard(queue)

    def tell(self, facts: Facts) -> None:
        """Something has changed."""
        for queue in list(self._queues):
            try:
                queue.put_nowait(facts)
            except asyncio.QueueFull:
                self._queues.discard(queue)
