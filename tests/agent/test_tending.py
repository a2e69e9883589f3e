"""What the daemon was to go on doing does not end in silence."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from hostguard.agent.faults import Faults
from hostguard.agent.tending import tend


class Watch:
    """A work."""

    def __init__(self) -> None:
        self.cancelled = False

    async def run(self) -> None:
        await asyncio.sleep(0)
        raise KeyError("who")

    async def go_on(self) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


def test_one_that_an_error_ends_is_told_and_the_others_go_on() -> None:
    faults, watch = Faults(), Watch()

    async def test() -> None:
        async with AsyncExitStack() as undo:
            tend(undo, faults, watch.run(), watch.go_on())
            async with asyncio.timeout(10):
                while not faults.stopped:
                    await asyncio.sleep(0.01)
            assert not watch.cancelled
        await asyncio.sleep(0)
        assert watch.cancelled

    asyncio.run(test())
    assert faults.stopped == ["Watch.run has ended by an error, restart the daemon: KeyError: 'who'"]
