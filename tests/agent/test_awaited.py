"""Questions that wait: each ends in its answer, in time, or in a word why not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hostguard.agent.awaited import Awaited, Away


def test_who_asks_gets_the_answer_to_their_own_question() -> None:
    async def play() -> tuple[list[Any], bool, bool]:
        awaited: Awaited[int] = Awaited()
        asked: list[int] = []
        both = asyncio.gather(*(awaited.answer(n, lambda n=n: asked.append(n), 10) for n in (1, 2)))  # type: ignore[misc]
        await asyncio.sleep(0)
        assert (asked, 1 in awaited, 3 in awaited) == ([1, 2], True, False)
        taken = awaited.resolve(2, "two") and awaited.resolve(1, "one")
        again = awaited.resolve(1, "another")
        found = await both
        assert 1 not in awaited
        return found, taken, again or awaited.resolve(3, "nobody's")

    assert asyncio.run(play()) == (["one", "two"], True, False)


def test_nobody_waits_for_ever_nor_for_who_is_gone() -> None:
    async def play() -> None:
        awaited: Awaited[int] = Awaited()
        with pytest.raises(TimeoutError):
            await awaited.answer(1, lambda: None, 0.01)
        assert 1 not in awaited
        asyncio.get_running_loop().call_later(0.01, awaited.let_go)
        with pytest.raises(Away):
            await awaited.answer(2, lambda: None, 10)

    asyncio.run(play())


def test_who_is_cancelled_is_not_told_that_nobody_answers() -> None:
    async def play() -> None:
        awaited: Awaited[int] = Awaited()
        task = asyncio.ensure_future(awaited.answer(1, lambda: None, 10))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert 1 not in awaited

    asyncio.run(play())
