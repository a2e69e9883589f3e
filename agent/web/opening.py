"""The start of the page."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from ...policy.decide import Decider
from ...policy.document import Document
from ..failures import Failure
from ..faults import Faults
from ..history import History
from ..holds import Holds
from ..kept import START_S
from ..names.keeper import Keeper as Names
from ..predecessor import Predecessor
from ..records import Records
from ..rights import Rights
from ..secrecy import Secrecy
from ..tending import tend
from .keeper import Keeper
from .providers import is_wanted


async def open_page(
    document: Document,
    decider: Decider,
    holds: Holds,
    history: History,
    records: Records,
    rights: Rights,
    faults: Faults,
    secrecy: Secrecy,
    names: Names,
    left: Predecessor | None,
    undo: AsyncExitStack,
) -> Keeper | None:
    """Serve it until `undo`; None where none is configured. Raises Failure."""
    listener = left.page(document.web.address) if left else None
    if not is_wanted(document):
        return None
    broker = secrecy.broker
    page = Keeper(document, decider, holds, history, records, rights, faults, lambda: broker.leaves, names.look_up, listener)
    undo.callback(page.close)
    undo.push_async_callback(page.drawing.stop)
    if left is not None:
        page.take_up(left.sessions)
    page.listen()
    secrecy.trust.also.append(page.certify)
    tend(undo, faults, page.run())
    try:
        async with asyncio.timeout(START_S):
            await page.ready.wait()
    except TimeoutError:
        raise Failure("the web page does not start; its last words are above") from None
    return page
