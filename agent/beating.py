"""The sign of life that the kernel's hooks want, or they refuse every connection."""

from __future__ import annotations

import asyncio
import time

from ..kernel.loader import Redirect

BEAT_S = 0.1
HEARTBEAT_LIMIT_MS = 2000
"""A loop that did not turn for this long counts as hung: connects are refused until it turns again."""


async def beat(redirect: Redirect) -> None:
    """Show that this event loop turns; runs until cancelled."""
    while True:
        redirect.beat(time.monotonic_ns())
        await asyncio.sleep(BEAT_S)
