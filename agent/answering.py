"""The start of the resolver."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

from ..kernel.loader import Redirect
from .attribution import Attributor
from .failures import Failure
from .faults import Faults
from .kept import START_S
from .names.keeper import Keeper
from .origins import StandingOf, who_asks
from .resources import Resources
from .tending import tend


def begin_names(
    names: Keeper, redirect: Redirect, attributor: Attributor, standing: StandingOf, faults: Faults, undo: AsyncExitStack
) -> None:
    """Start a resolver: early, since its start takes as long as a worker's beside which it runs."""
    names.who_asks = who_asks(redirect, attributor, standing)
    tend(undo, faults, names.run())


async def answer_names(names: Keeper, redirect: Redirect, resources: Resources, faults: Faults, undo: AsyncExitStack) -> None:
    """Wait for the resolver, and look up what the resources' names lead to before anybody connects. Raises Failure."""
    try:
        async with asyncio.timeout(START_S):
            await names.ready.wait()
    except TimeoutError:
        raise Failure("the resolver does not start; its last words are above") from None
    await resources.look_up(names.look_up, time.monotonic)
    tend(undo, faults, resources.run(names.look_up, time.monotonic))
    redirect.set_resolver(*names.sockets)
