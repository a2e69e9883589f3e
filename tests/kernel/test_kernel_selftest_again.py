"""The self-test of a daemon that runs: it fails when the guard does, and goes on."""

from __future__ import annotations

import asyncio
import contextlib

from guarded_redirect import Guarded

from hostguard.agent.selftest import SelfTest


def test_a_self_test_that_is_repeated_keeps_what_went_wrong(guarded: Guarded) -> None:
    """Nobody takes what arrives here: the probe's connections reach listeners that are not the loop's."""
    test = SelfTest(guarded.redirect, guarded.redirect.cgroup)

    async def watched() -> str:
        again = asyncio.create_task(test.repeat(0.0))
        async with asyncio.timeout(30):
            while not test.failure:
                await asyncio.sleep(0.01)
        assert not again.done()
        again.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await again
        return test.failure

    assert "the loop saw []" in asyncio.run(watched())
    assert test.passed_at == 0.0
