"""What goes on for as long as the daemon lives."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any

from .faults import Faults


def tend(undo: AsyncExitStack, faults: Faults, *works: Coroutine[Any, Any, None]) -> None:
    """Run these until `undo`. One that an error ends is told by ``status``, which stays red: nothing does it any more."""
    for work in works:
        task = asyncio.ensure_future(tended(work, faults))
        undo.callback(task.cancel)


async def tended(work: Coroutine[Any, Any, None], faults: Faults) -> None:
    """Run it; as `tend`, for who ends it himself."""
    try:
        await work
    except Exception as error:  # the supervising handler of works that nobody waits for
        traceback.print_exc()
        name = getattr(work, "__qualname__", "a work")
        faults.stopped.append(f"{name} has ended by an error, restart the daemon: {type(error).__name__}: {error}")
