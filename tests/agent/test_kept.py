"""A process that is kept running is started again whatever was in the way."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from typing import ClassVar, NoReturn

import pytest

from hostguard.agent.child import Child
from hostguard.agent.faults import Faults
from hostguard.agent.kept import Kept


class Anything(Kept):
    NAME: ClassVar[str] = "the thing"
    MISSED: ClassVar[str] = "nothing was done"
    MODULE: ClassVar[str] = "hostguard.agent.kept"
    HUNG_S: ClassVar[float] = 10.0
    TAKES_SOCKETS: ClassVar[bool] = False
    MAX_MESSAGE_BYTES: ClassVar[int] = 1024

    def _descriptors(self) -> list[int]:
        return []

    def _arguments(self) -> list[str]:
        return []

    def _greet(self) -> None: ...

    def _ping(self) -> None: ...

    def _take(self, data: bytes, sock: socket.socket | None) -> None: ...

    def _away(self) -> None: ...


def _full(*_: object) -> NoReturn:
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def test_a_start_that_fails_is_told_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    faults = Faults()

    async def test() -> None:
        kept = Anything(faults)
        with monkeypatch.context() as patch:
            patch.setattr(Child, "start", _full)
            keeping = asyncio.create_task(kept.run())
            await _until(lambda: kept.ended >= 2)
        await _until(lambda: kept.pid > 0)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)

    asyncio.run(test())
    assert "could not be started (Resource temporarily unavailable)" in faults.latest[0]["reason"]


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.01)
