"""When files are read again; what is in force then is `e2e/test_reload.py`'s."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hostguard.agent.reload import Reload


class Reads(Reload):
    """Counts, and takes its time."""

    def __init__(self, *failures: Exception) -> None:
        unused: Any = None
        super().__init__(unused, unused, unused, unused, unused, unused)
        self.begun = 0
        self._failures = list(failures)

    async def run(self) -> None:
        self.begun += 1
        await asyncio.sleep(0.01)
        if self._failures:
            raise self._failures.pop(0)
        self.failure = ""


def test_an_edit_after_the_files_were_read_is_not_lost() -> None:
    async def play() -> int:
        reload = Reads()
        reload.soon()
        await asyncio.sleep(0.001)
        for _ in range(3):
            reload.soon()
        await asyncio.sleep(0.1)
        return reload.begun

    assert asyncio.run(play()) == 2


def test_an_error_of_ours_is_told_and_the_next_signal_reads_again(capsys: pytest.CaptureFixture[str]) -> None:
    async def play() -> tuple[str, str]:
        reload = Reads(RuntimeError("a bug"))
        reload.soon()
        await asyncio.sleep(0.1)
        failed = reload.failure
        reload.soon()
        await asyncio.sleep(0.1)
        return failed, reload.failure

    assert asyncio.run(play()) == ("RuntimeError: a bug", "")
    assert "a bug" in capsys.readouterr().err
