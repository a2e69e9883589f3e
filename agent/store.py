"""A ledger in a thread of its own: the event loop goes on while a disk is synced."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from .ledger import Ledger

T = TypeVar("T")


class Store:
    """One open ledger. What it is asked for is done one after the other, in the order of asking."""

    def __init__(self, thread: ThreadPoolExecutor, ledger: Ledger) -> None:
        self._thread = thread
        self._ledger = ledger

    @classmethod
    async def open(cls, path: Path, steps: Sequence[str]) -> Store:
        """As `Ledger.open`. Raises Failure."""
        thread = ThreadPoolExecutor(1, thread_name_prefix=path.name)
        ledger = await asyncio.get_running_loop().run_in_executor(thread, Ledger.open, path, steps)
        return cls(thread, ledger)

    async def do(self, work: Callable[[Ledger], T]) -> T:
        """The result of `work`, which runs in the ledger's thread and touches nothing else. Raises LedgerUnavailable."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, self._ledger)

    async def close(self) -> None:
        """Close the file, after what was asked for before."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._ledger.close)
        self._thread.shutdown()
