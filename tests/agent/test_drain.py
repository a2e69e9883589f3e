"""The daemon's end waits for those that are busy, but not for ever."""

from __future__ import annotations

import asyncio

from hostguard.agent.drain import Drain


def test_a_drain_that_nobody_entered_is_finished() -> None:
    assert asyncio.run(Drain().finished(0.0))


def test_it_is_finished_when_the_last_token_is_back() -> None:
    async def scenario() -> tuple[bool, bool]:
        drain = Drain()
        drain.enter()
        drain.enter()
        drain.leave()
        early = await drain.finished(0.001)
        asyncio.get_running_loop().call_soon(drain.leave)
        return early, await drain.finished(5.0)

    assert asyncio.run(scenario()) == (False, True)
