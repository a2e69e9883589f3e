"""How the daemon ends: a trigger, then a wait until the last flow has let go."""

from __future__ import annotations

import asyncio


class Drain:
    """Counts what is still busy once the end was asked for.

    Whoever must be waited for holds a token between `enter` and `leave`. `finished` completes when the end was asked for and
    the last token is back, or when the deadline has passed.
    """

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._busy = 0

    def enter(self) -> None:
        """Take a token."""
        self._busy += 1
        self._idle.clear()

    def leave(self) -> None:
        """Give a token back."""
        self._busy -= 1
        if not self._busy:
            self._idle.set()

    async def finished(self, deadline_s: float) -> bool:
        """Wait for the last token at most this long; returns whether it came back in time."""
        try:
            async with asyncio.timeout(deadline_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True
