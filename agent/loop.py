"""The enforcement loop of one worker: its flows, with what they need of others.

Sockets come from the supervisor, with their flow's facts; what the flows need beyond their two sockets is asked for by messages.
Nothing here opens, connects or resolves anything: the process could not (`sandbox`).
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import socket
import struct
import time
from collections.abc import Callable
from typing import cast

import msgspec

from ..policy.asks import Approval
from ..policy.credentials import client_tls
from ..policy.decide import Decider, FlowPolicy, Policy
from ..protocols.events import CancelRequested, Close, Conversation, Replied
from ..protocols.opaque import Passage
from ..protocols.postgres.conversation import PostgresConversation
from ..protocols.postgres.limits import Limits
from ..protocols.tls.conversation import TlsConversation
from ..recorder import entry
from . import held, hold_messages, messages, securing, unread
from .asks import Asks
from .counting import Counting
from .drain import Drain
from .durability import Durability
from .ends import CarriedEnd, ClientEnd, ServerEnd
from .facts import Facts
from .flow import Flow, Tally
from .gate import Gate
from .latency import Latency
from .login import Words
from .metering import Meters
from .patience import Patience
from .relay import Relay
from .tls.material import Material
from .wording import Message, cut, cut_all

CLOSE_TIMEOUT_S = 10.0
"""A peer that doesn't take its last bytes in this time is cut off, so that it can't keep a closed flow in memory."""
ADMIN_SHUTDOWN = b"57P01"
STOPPING = "hostguard is stopping"


class Loop:
    """Owns the flows of this worker."""

    def __init__(
        self,
        begin: messages.Begin,
        gate: Gate,
        durable: Durability,
        tally: Tally,
        material: Material,
        say: Callable[[Message], None],
    ) -> None:
        """`say`: to the supervisor."""
        limits = begin.document.limits
        self.gate = gate
        self.durable = durable
        self.tally = tally
        self.decider = Decider(Policy(begin.document, begin.epoch), hash_key=begin.hash_key)
        self.asks = Asks(say, messages.max_from_worker(begin.document))
        self.relays: dict[int, Relay] = {}
        self.counting = Counting(say, self.relays.values)
        self.facts = Facts(self.decider, gate, self._catalog_changed, limits.catalog_s, self.counting.answered)
        self.drain = Drain()
        self.patience = Patience(limits.begin_s, self.relays)
        self.added = Latency()
        """From an operation's decoding to its release."""
        self.material = material
        self.say = say
        self._words = Words()
        self._plain = Limits(max_message_bytes=limits.max_message_bytes)
        self._limits = {
            name: msgspec.structs.replace(self._plain, capture_bytes=one.capture_max_bytes)
            for name, one in begin.document.resources.items()
            if one.capture_replies
        }
        """Of resources whose replies are captured."""
        self._meters = Meters()
        self._dials: dict[int, asyncio.Future[tuple[socket.socket, messages.Dialled]]] = {}

    # -- what the supervisor says ---------------------------------------------------------------------------------------------

    async def open(self, new: messages.NewFlow, sock: socket.socket | None) -> None:
        """Take over a connection. It comes without its socket when this process can't have one more descriptor."""
        flow = Flow(new.flow, new.workload, new.agent, new.resource, self._observes(new.workload), new.names)
        flow.credential = self._words.credential(self.decider.policy.document, new)
        if sock is None:
            self._record_end(flow, "its worker has no descriptor free", "internal")
            return
        if new.unread and not flow.observed:
            self._never_began(flow, sock, new.unread)
            return
        try:
            if new.unread:
                policy = FlowPolicy(self.decider, flow.agent, "")
            else:
                policy = self.decider.open(flow.agent, flow.resource, new.bearer)
            policy.observed = flow.observed
            await asyncio.get_running_loop().connect_accepted_socket(lambda: Arrival(self, flow, policy, new.unread), sock)
        except KeyError:
            # A reload came in between.
            self._never_began(flow, sock, f"the policy no longer knows agent {flow.agent} on {flow.resource}")
        except OSError as error:
            self._never_began(flow, sock, f"the connection was gone: {error.strerror or error}")

    def _never_began(self, flow: Flow, sock: socket.socket, reason: str) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
        self._record_end(flow, reason, "")

    def _observes(self, workload: str) -> bool:
        """Whether the workload is only observed. The one place in this process that reads the mode."""
        section = self.decider.policy.document.workloads.get(workload)
        return section is not None and section.observed

    def begin(self, flow: Flow, policy: FlowPolicy, transport: asyncio.Transport, *, read: bool) -> Relay:
        """Make the flow of a connection that is ours now. `read`: its protocol is known."""
        conversation: Conversation = Passage()
        if read and self.decider.policy.document.resources[flow.resource].protocol == "tls":
            conversation = TlsConversation(flow.names)
        elif read:
            limits = self._limits.get(flow.resource, self._plain)
            resource = self.decider.policy.document.resources[flow.resource]
            conversation = PostgresConversation(limits, os.urandom(18), flow.credential, client_tls(resource))
        conversation.observe(flow.observed)
        relay = Relay(self, flow, policy, conversation, transport)
        relay.meter = self._meters.of(relay, self.decider.policy.document)
        self.relays[flow.id] = relay
        self.patience.expect(flow.id)
        self.drain.enter()
        return relay

    def dialled(self, message: messages.Dialled, sock: socket.socket | None) -> None:
        """The server's connection is there, or could not be had."""
        waiting = self._dials.pop(message.flow, None)
        if waiting is None or waiting.done():
            if sock is not None:
                sock.close()
        elif sock is None:
            waiting.set_exception(OSError(message.error))
        else:
            waiting.set_result((sock, message))

    def judge(self, message: hold_messages.Judge) -> None:
        """Say what would become of the held operation with these approvals. It is not carried out by that."""
        relay = self.relays.get(message.flow)
        if relay is None or relay.operation is None or relay.operation.id != message.operation:
            return
        judgement = relay.policy.decide(relay.operation, Approval(frozenset(message.by)))
        decision, helped_by = judgement.decision, cut_all(judgement.helped_by)
        policies = cut_all(decision.policies)
        reason = cut(decision.reason)
        self.say(hold_messages.Judged(message.flow, message.operation, decision.verdict, reason, policies, helped_by))

    def catalog_changed(self, message: messages.CatalogChanged) -> None:
        """Another worker knows of a change in a database."""
        through = self.facts.changed(message.resource, message.database, message.seen, self.relays.values())
        if through is not None:
            through.read_catalog()

    def take_policy(self, message: messages.NewPolicy) -> None:
        """Put another policy in force, for open flows from their next operation on."""
        self.decider.reload(Policy(message.document, message.epoch))
        assert self.decider.policy.epoch == message.epoch
        self._meters.forget()
        for relay in list(self.relays.values()):
            unread.observe(relay, self._observes(relay.flow.workload))
            relay.meter = self._meters.of(relay, message.document)
        self.say(messages.PolicyTaken(message.epoch))

    def report(self, message: messages.Ping) -> None:
        """What this worker has done, and that it lives."""
        shown = zip(self.relays.values(), range(message.flows), strict=False)
        flows = tuple(_facts(relay.flow) for relay, _ in shown)
        tally, added = self.tally, self.added
        self.say(
            messages.Report(
                number=message.number,
                allowed=tally.allowed,
                denied=tally.denied,
                held=tally.held,
                would_deny=tally.would_deny,
                would_hold=tally.would_hold,
                added=added.counts,
                added_ns=added.total_ns,
                log_failure=cut(self.gate.failure),
                flows=flows,
            )
        )

    # -- what relays need -----------------------------------------------------------------------------------------------------

    async def dial(self, relay: Relay) -> asyncio.Transport:
        """A connection to where the agent wanted to go. Raises OSError with a sentence for the agent."""
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[tuple[socket.socket, messages.Dialled]] = loop.create_future()
        self._dials[relay.flow.id] = waiting
        self.say(messages.Dial(relay.flow.id))
        sock, how = await waiting
        transport: asyncio.Transport
        if how.link is not None:
            transport = await securing.server(relay, sock, how.link)
        elif sock.family == socket.AF_UNIX:
            end = CarriedEnd(relay) if how.carried else ServerEnd(relay)
            transport, _ = await loop.create_unix_connection(lambda: end, sock=sock)
        else:
            transport, _ = await loop.create_connection(lambda: ServerEnd(relay), sock=sock)
        securing.carried(relay, how.carried)
        if relay.closing:
            transport.abort()
            raise OSError("the flow ended meanwhile")
        return transport

    def deliver(self, message: messages.Deliver, sock: socket.socket | None) -> None:
        """Have the flow's request to cancel said by TLS."""
        relay = self.relays.get(message.flow)
        if sock is None:
            return
        if relay is None:
            sock.close()
        else:
            relay.spawn(securing.deliver(relay, message, sock))

    def cancel_key(self, flow: Flow, key: bytes) -> None:
        """The server gave the flow this key."""
        self.say(messages.CancelKey(flow.id, key))

    def cancel(self, flow: Flow, effect: CancelRequested) -> None:
        """This flow is a request to cancel what another does; the supervisor knows which, and ends this one when it is done."""
        self.say(messages.Cancel(flow.id, effect.key, effect.request))

    def replied(self, flow: Flow, effect: Replied, released_ns: int) -> None:
        """Note what came back for an operation."""
        summary = effect.summary
        relay = self.relays.get(flow.id)
        if relay is not None and relay.meter is not None:
            relay.meter.replied(summary.rows, summary.bytes)
        self.gate.captured(flow, effect)
        self.gate.note(
            flow,
            entry.Reply(
                operation=effect.operation_id,
                status=summary.status,
                tag=summary.tag,
                rows=summary.rows,
                bytes=summary.bytes,
                columns=summary.columns,
                masked=summary.masked,
                tags=summary.tags,
                would_mask=summary.would_mask,
                duration_us=(time.monotonic_ns() - released_ns) // 1000 if released_ns else 0,
            ),
        )

    def fault(self, flow: Flow, effect: Close) -> None:
        """A peer broke the protocol, or asked for what would take the flow out of sight."""
        self.say(messages.Fault(flow.id, effect.fault, cut(effect.reason)))

    def crashed(self, flow: Flow, error: Exception, trace: str) -> None:
        """A bug of ours ended the flow."""
        self.gate.note(flow, entry.Fault(where="loop", error=trace))
        self.say(messages.Fault(flow.id, "internal", cut(repr(error))))

    def closed(self, relay: Relay, reason: str, fault: str) -> None:
        """The flow has ended, whatever the way."""
        flow = relay.flow
        if self.relays.pop(flow.id, None) is None:
            return
        self.patience.forget(flow.id)
        if relay.operation is not None and relay.pending is not None:
            held.note_unfiled(relay)
            self.asks.withdraw(flow, relay.operation.id, reason)
        waiting = self._dials.pop(flow.id, None)
        if waiting is not None:
            waiting.cancel()
        self._record_end(flow, reason, fault)
        self.drain.leave()
        for transport in (relay.client, relay.server):
            if transport is not None:
                asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, transport.abort)

    def _record_end(self, flow: Flow, reason: str, fault: str) -> None:
        close = entry.FlowClose(reason=reason, fault=fault, client_bytes=flow.client_bytes, server_bytes=flow.server_bytes)
        self.gate.note(flow, close)
        self.gate.record(flow)
        self.say(messages.Closed(flow.id))

    async def refresh(self) -> None:
        """Keep the catalogs fresh while flows stay open; runs until cancelled."""
        while True:
            await asyncio.sleep(self.facts.look_s)
            for relay in self.facts.stale(self.relays.values()):
                relay.read_catalog()

    def _catalog_changed(self, resource: str, database: str, seen: bool) -> None:
        self.say(messages.CatalogChanged(cut(resource), cut(database), seen))

    # -- the end --------------------------------------------------------------------------------------------------------------

    async def stop(self, grace_s: float) -> None:
        """Withdraw what is held, let busy flows finish for `grace_s` seconds, end the rest."""
        for relay in list(self.relays.values()):
            relay.withdraw(STOPPING, ADMIN_SHUTDOWN)
            if relay.conversation.idle:
                relay.terminate(f"terminating connection: {STOPPING}", ADMIN_SHUTDOWN)
        if not await self.drain.finished(grace_s):
            for relay in list(self.relays.values()):
                relay.terminate(f"terminating connection: {STOPPING}", ADMIN_SHUTDOWN)
        self.gate.flush()


class Arrival(ClientEnd):
    """The client's end of a connection that was just handed over; becomes a flow's."""

    __slots__ = ("_flow", "_loop", "_policy", "_unread")

    def __init__(self, loop: Loop, flow: Flow, policy: FlowPolicy, unread: str) -> None:
        self._unread = unread
        self._loop = loop
        self._flow = flow
        self._policy = policy

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        ours = cast(asyncio.Transport, transport)  # uvloop's are no subclasses
        self.relay = self._loop.begin(self._flow, self._policy, ours, read=not self._unread)
        if self._unread:
            unread.from_the_start(self.relay, self._unread)


def _facts(flow: Flow) -> messages.FlowFacts:
    tally = flow.tally
    return messages.FlowFacts(flow.id, cut(flow.database), cut(flow.user), **dataclasses.asdict(tally))
