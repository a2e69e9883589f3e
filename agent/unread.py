"""A flow that passes unread: its workload is only observed, or policy has allowed what is encrypted between its two ends.

Its place in the order is the gate's: that it can't be read, and why it would have been refused, is on record (`strict`: on disk)
before a byte of it passes. While that takes time the bytes wait in the `Passage`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..protocols.events import Effect, Opaque, Settled
from ..protocols.opaque import Passage
from ..recorder import entry
from . import held

if TYPE_CHECKING:
    from .relay import Relay

NO_LONGER: Final = "its workload is no longer only observed, and this flow can't be read"


def from_the_start(relay: Relay, reason: str) -> None:
    """Where it goes is no resource, so nobody knows its protocol; servers of some speak first."""
    relay.do(lambda: begin(relay, Opaque(reason)))


def begin(relay: Relay, effect: Opaque) -> list[Effect]:
    """Nothing can be read from here on."""
    refusal = relay.loop.gate.record(relay.flow, entry.Opaque(reason=effect.reason, fault=effect.fault))
    relay.conversation = passage = Passage(effect.to_server, effect.to_client)
    relay.operation = relay.pending = None
    if refusal is not None:
        return passage.terminate(refusal.reason, refusal.refusal)
    if relay.server is None:
        relay.dial()
        return []
    if relay.loop.durable.strict:
        relay.hold_reading_server(True)
        relay.spawn(go_on(relay, passage))
        return []
    return passage.start()


def settled(relay: Relay, effect: Settled) -> list[Effect]:
    """It was asked about, and is encrypted between its two ends from here on."""
    relay.conversation = passage = Passage(effect.to_server, effect.to_client, settled=True)
    return passage.start()


async def go_on(relay: Relay, passage: Passage) -> None:
    """The server is there: let all pass once the record is as sure as is configured."""
    refusal = await relay.loop.durable.synced() if relay.loop.durable.strict else None
    if relay.closing or relay.server is None:
        return
    if refusal is not None:
        relay.carry_out(passage.terminate(refusal.reason, refusal.refusal))
        return
    relay.hold_reading_server(False)
    relay.carry_out(passage.start())
    if passage.half_closed:
        relay.server.write_eof()
    relay.balance()


def observe(relay: Relay, observed: bool) -> None:
    """The mode of its workload, which may have changed. What nobody can read ends when it is no longer observed."""
    relay.flow.observed = relay.policy.observed = observed
    relay.conversation.observe(observed)
    if observed:
        held.let_go(relay)
    elif isinstance(relay.conversation, Passage) and not relay.conversation.settled:
        relay.terminate(NO_LONGER, b"")


def half_close(relay: Relay, client: bool) -> bool:
    """The client, or the server, sends no more. True: the other direction goes on, as it would without us."""
    passage = relay.conversation
    if not isinstance(passage, Passage) or passage.half_closed or relay.closing:
        return False
    passage.half_closed = True
    to = relay.server if client else relay.client
    # A client may have said all before its server is there: `go_on` tells the server.
    if to is not None and passage.open:
        to.write_eof()
    return True
