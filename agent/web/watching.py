"""Browsers that are told of changes, by server-sent events (HTML Living Standard §9.2)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Awaitable, Callable

from aiohttp import web

from .messages import Changed, Renewed

MAX_WATCHING = 256
MAX_OF_SESSION = 6
MAX_QUEUED = 256
BEAT_S = 10.0
"""How often a quiet stream shows that it lives, and how late the end of a session ends it."""


class Watching:
    """All of them, bounded; one that does not keep up is cut off, and comes back by itself."""

    def __init__(self) -> None:
        self._queues: dict[asyncio.Queue[Changed | Renewed], str] = {}
        """To the session's key."""

    def __len__(self) -> int:
        return len(self._queues)

    def tell(self, changed: Changed | Renewed) -> None:
        """A request has changed, or what a page lists."""
        for queue in list(self._queues):
            try:
                queue.put_nowait(changed)
            except asyncio.QueueFull:
                del self._queues[queue]

    async def serve(self, request: web.Request, key: str, is_open: Callable[[], Awaitable[bool]]) -> web.StreamResponse:
        """Tell this browser until it leaves, or its session ends."""
        if len(self._queues) >= MAX_WATCHING or Counter(self._queues.values())[key] >= MAX_OF_SESSION:
            raise web.HTTPTooManyRequests(reason="Too many windows watch.")
        queue: asyncio.Queue[Changed | Renewed] = asyncio.Queue(MAX_QUEUED)
        self._queues[queue] = key
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        try:
            with contextlib.suppress(ConnectionError):
                await response.prepare(request)
                await response.write(b"retry: 1000\nevent: hello\ndata: {}\n\n")
                await self._tell_all(response, queue, is_open)
        finally:
            self._queues.pop(queue, None)
        return response

    async def _tell_all(
        self, response: web.StreamResponse, queue: asyncio.Queue[Changed | Renewed], is_open: Callable[[], Awaitable[bool]]
    ) -> None:
        while queue in self._queues:
            try:
                changed = await asyncio.wait_for(queue.get(), BEAT_S)
            except TimeoutError:
                if not await is_open():
                    await response.write(b"event: over\ndata: {}\n\n")
                    return
                await response.write(b": still here\n\n")
                continue
            await response.write(_event(changed))


def _event(changed: Changed | Renewed) -> bytes:
    if isinstance(changed, Renewed):
        return f"event: page\ndata: {json.dumps({'page': changed.page})}\n\n".encode()
    told = json.dumps({"request": changed.request, "state": changed.state})
    return f"event: request\ndata: {told}\n\n".encode()
