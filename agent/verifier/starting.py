"""The start of what verifies identities; flows that rest on an identity end with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress

from ...policy.decide import Decider
from ...policy.document import Document
from .. import messages
from ..attribution import Attributor
from ..crew import Crew, user_of
from ..failures import Failure
from ..faults import Faults
from ..kept import START_S
from ..names.keeper import Keeper as NameKeeper
from ..paths import Paths
from ..records import Records
from ..tending import tend
from ..wording import cut
from .door import Door
from .keeper import Keeper
from .remembered import Remembered
from .service import Left, Vouching

FIRST_S = 5.0
"""How long the start waits for the first word on the tokens in files: an issuer that is down must not keep the daemon from it."""
CODE = b"57P01"
"""SQLSTATE admin_shutdown: what a server says when a session is ended from outside."""


async def vouch(
    document: Document,
    paths: Paths,
    decider: Decider,
    records: Records,
    attributor: Attributor,
    faults: Faults,
    crew: Crew,
    names: NameKeeper,
    left: Left | None,
    undo: AsyncExitStack,
) -> Vouching:
    """Have tokens verified, and the flows of the crew end with what they rest on. Raises Failure."""
    keeper = Keeper(document, user_of(document), faults)
    undo.callback(keeper.close)
    remembered = Remembered(paths.identities)
    undo.callback(remembered.close)
    vouching = Vouching(keeper, decider, records, attributor, remembered, left or Left())
    vouching.on_change = _review(crew, names, vouching)
    if not keeper.needed:
        return vouching
    door = Door(vouching.admit)
    undo.callback(door.close)
    tend(undo, faults, keeper.run())
    try:
        async with asyncio.timeout(START_S):
            await keeper.ready.wait()
        door.listen(paths.identity)
    except TimeoutError:
        raise Failure("the verifier does not start; its last words are above") from None
    except OSError as error:
        raise Failure(f"the socket {paths.identity} can't be opened: {error.strerror}") from None
    tend(undo, faults, vouching.run())
    with suppress(TimeoutError):
        async with asyncio.timeout(FIRST_S):
            await vouching.first.wait()
    return vouching


def _review(crew: Crew, names: NameKeeper, vouching: Vouching) -> Callable[[], None]:
    """What ends the flows whose agent is no longer verified to be what it was when they began."""

    def review() -> None:
        for flow in crew.flows:
            if flow.observed or flow.ending:
                continue
            standing = vouching.standing(flow.agent, flow.origin.cgroup_id)
            reason = standing.missing
            if not reason and standing.bearer != flow.bearer and not flow.barred:
                reason = f"what is verified of agent {flow.agent} is no longer what it was when the connection began"
            if reason:
                flow.ending = True
                flow.berth.say(messages.End(flow.id, cut(f"hostguard: {reason}"), CODE))
        names.forget(lambda asker: vouching.standing(asker.agent, asker.cgroup_id).bearer != asker.bearer)

    return review
