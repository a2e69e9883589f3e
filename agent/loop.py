"""The enforcement loop: every connection that the kernel redirected becomes a flow, or is refused."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import os
import socket
import struct
import time
from collections.abc import Callable, Mapping
from typing import Any, cast

import msgspec

from ..kernel.errors import KernelError
from ..kernel.flows import origin_of
from ..kernel.layouts import Origin
from ..kernel.loader import Redirect
from ..policy.decide import Decider
from ..protocols.events import Close, Replied
from ..protocols.postgres.conversation import PostgresConversation
from ..protocols.postgres.limits import Limits
from ..recorder import entry
from ..recorder.durable import LogUnavailable
from ..recorder.log import Log
from .attribution import Attribution, Attributor
from .cancels import Cancels
from .drain import Drain
from .durability import Durability
from .ends import ClientEnd, ServerEnd
from .facts import REFRESH_S, Facts
from .flow import Flow, Tally
from .gate import Gate
from .holds import Holds
from .latency import Latency
from .namespaces import Namespaces
from .relay import Relay
from .resources import Resources

BACKLOG = 1024
DIAL_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 10.0
"""A peer that doesn't take its last bytes in this time is cut off, so that it can't keep a closed flow in memory."""
ADMIN_SHUTDOWN = b"57P01"
MAX_FAULTS = 32


class Arrival(asyncio.Protocol):
    """A connection that was just accepted, until it is known whose it is; what it sends meanwhile is kept, one piece at most."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.early = b""
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports are no subclasses
        self._loop.arrived(self._transport, self)

    def data_received(self, data: bytes) -> None:
        self.early += data
        self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True

    def become(self, relay: Relay) -> None:
        """Hand everything over to the flow."""
        if self.lost:
            relay.client_lost()
            return
        self._transport.set_protocol(ClientEnd(relay))
        self._transport.resume_reading()
        if self.early:
            relay.feed_client(self.early)


class Refused(asyncio.Protocol):
    """The end of a connection that did not become a flow: it swallows what still comes in until the reset is out."""


REFUSED = Refused()


@dataclasses.dataclass(slots=True)
class Services:
    """What the loop was given by the daemon."""

    log: Log
    gate: Gate
    durable: Durability
    decider: Decider
    redirect: Redirect
    attributor: Attributor
    resources: Resources
    tally: Tally
    limits: Limits
    max_flows: int
    captures: Mapping[str, int]
    """Resources whose replies are captured, with the bytes of each that are kept."""


class Loop:
    """Accepts redirected connections and owns the flows."""

    def __init__(self, services: Services, holds: Holds, self_test: Callable[[Origin], bool]) -> None:
        self.services = services
        self.gate = services.gate
        self.durable = services.durable
        self.holds = holds
        self.facts = Facts(services.decider, services.gate)
        self.cancels = Cancels(self)
        self.relays: set[Relay] = set()
        self.drain = Drain()
        self.faults: collections.deque[dict[str, Any]] = collections.deque(maxlen=MAX_FAULTS)
        """The latest unexpected events, for ``status``."""
        self.fault_counts: collections.Counter[str] = collections.Counter({"client": 0, "server": 0, "unsafe": 0, "internal": 0})
        """Every such event since the start, by whose fault."""
        self.added = Latency()
        """From an operation's decoding to its release."""
        self.opened = 0
        """Flows since the start."""
        self.refused = 0
        self._self_test = self_test
        self._servers: list[asyncio.Server] = []
        self.namespaces: Namespaces | None = None
        """Where flows of other network namespaces are dialled from; set by the daemon."""
        self._identifying: set[asyncio.Task[None]] = set()
        self.listeners: list[socket.socket] = []

    # -- listening ------------------------------------------------------------------------------------------------------------

    async def listen(self) -> None:
        """Open the two listeners on one free port of 127.0.0.1 and ::1 and hand them to the kernel. Raises OSError."""
        self.listeners = _listeners()
        self._servers = [await self.accept_on(sock) for sock in self.listeners]
        self.services.redirect.set_listeners(*self.listeners)

    async def accept_on(self, sock: socket.socket) -> asyncio.Server:
        """Make flows of what a listening socket accepts, until the returned server is closed."""
        return await asyncio.get_running_loop().create_server(lambda: Arrival(self), sock=sock, backlog=BACKLOG)

    def arrived(self, transport: asyncio.Transport, arrival: Arrival) -> None:
        """Make a flow of an accepted connection, or refuse it; a failure of ours refuses, and is shown."""
        try:
            origin = self._origin(transport)
        except Exception as error:  # the supervising handler of connections that are no flow yet
            self._unidentified(transport, error)
            return
        if origin is not None:
            task = asyncio.get_running_loop().create_task(self._identify(transport, arrival, origin))
            self._identifying.add(task)
            task.add_done_callback(self._identifying.discard)

    def _origin(self, transport: asyncio.Transport) -> Origin | None:
        """Where the connection comes from; None after refusing it, and for one that is nobody's but ours."""
        source = transport.get_extra_info("peername")[:2]
        origin = origin_of(transport.get_extra_info("socket"), self.services.redirect, source)
        if origin is None:
            self._refuse(transport, _stranger(source))
        elif self._self_test(origin):
            transport.set_protocol(REFUSED)
            transport.close()  # no reset: it could reach the probe before its connect() returns, which would then fail
            return None
        return origin

    async def _identify(self, transport: asyncio.Transport, arrival: Arrival, origin: Origin) -> None:
        try:
            relay = self._admit(transport, origin, await self.services.attributor.attribute(origin))
            if relay is not None:
                arrival.become(relay)
        except Exception as error:  # the supervising handler of connections that are no flow yet
            self._unidentified(transport, error)

    def _unidentified(self, transport: asyncio.Transport, error: Exception) -> None:
        self._show_fault(0, "", "internal", repr(error))
        transport.set_protocol(REFUSED)
        _reset(transport)

    def _admit(self, transport: asyncio.Transport, origin: Origin, found: Attribution) -> Relay | None:
        """Open the flow; None after refusing it."""
        facts = _facts(origin, found)
        rule, resource = found.rule, self.services.resources.at(origin.host, origin.port)
        if rule is None:
            self._refuse(transport, entry.FlowRefused(**facts, reason=found.reason))
            return None
        if resource is None:
            reason = f"no resource has the address {origin.host}:{origin.port}"
            self._refuse(transport, entry.FlowRefused(**facts, reason=reason))
            return None
        facts["resource"] = resource
        if len(self.relays) >= self.services.max_flows:
            reason = f"limits.max_flows ({self.services.max_flows}) is reached"
            self._refuse(transport, entry.FlowRefused(**facts, reason=reason))
            return None
        try:
            number = self.services.log.open_flow(entry.FlowOpen(**facts))
        except LogUnavailable as error:
            self.gate.failure = str(error)
            transport.set_protocol(REFUSED)
            _reset(transport)
            return None
        return self._open(transport, Flow(number, origin, found.process, rule.name, rule.agent, resource, time.monotonic()))

    def _refuse(self, transport: asyncio.Transport, record: entry.FlowRefused) -> None:
        self.refused += 1
        try:
            self.services.log.open_flow(record)
        except LogUnavailable as error:
            self.gate.failure = str(error)
        transport.set_protocol(REFUSED)
        _reset(transport)

    def _open(self, transport: asyncio.Transport, flow: Flow) -> Relay:
        policy = self.services.decider.open(flow.agent, flow.resource)
        limits = self.services.limits
        if kept := self.services.captures.get(flow.resource):
            limits = msgspec.structs.replace(limits, capture_bytes=kept)
        conversation = PostgresConversation(limits, os.urandom(8))
        relay = Relay(self, flow, policy, conversation, transport)
        self.relays.add(relay)
        self.opened += 1
        self.drain.enter()
        return relay

    # -- what relays need -----------------------------------------------------------------------------------------------------

    async def dial(self, relay: Relay) -> asyncio.Transport:
        """Connect to where the agent wanted to go. Raises OSError."""
        origin = relay.flow.origin
        try:
            async with asyncio.timeout(DIAL_TIMEOUT_S):
                transport = await self._connect(relay, origin)
        except TimeoutError:
            raise OSError(None, f"no answer within {DIAL_TIMEOUT_S:.0f} s") from None
        return transport

    async def _connect(self, relay: Relay, origin: Origin) -> asyncio.Transport:
        loop, family = asyncio.get_running_loop(), socket.AF_INET6 if origin.ipv6 else socket.AF_INET
        try:
            sock = self.namespaces.stream_socket(origin.netns_cookie, family) if self.namespaces is not None else None
        except KernelError as error:
            raise OSError(None, str(error)) from None
        if sock is None:
            transport, _ = await loop.create_connection(lambda: ServerEnd(relay), origin.host, origin.port)
            return transport
        try:
            await loop.sock_connect(sock, (origin.host, origin.port))
            transport, _ = await loop.create_connection(lambda: ServerEnd(relay), sock=sock)
        except BaseException:
            sock.close()
            raise
        return transport

    def replied(self, flow: Flow, effect: Replied, released_ns: int) -> None:
        """Note what came back for an operation."""
        summary = effect.summary
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
                duration_us=(time.monotonic_ns() - released_ns) // 1000 if released_ns else 0,
            ),
        )

    def fault(self, flow: Flow, effect: Close) -> None:
        """A peer broke the protocol, or asked for what would take the flow out of sight."""
        self._show_fault(flow.id, flow.agent, effect.fault, effect.reason)

    def crashed(self, flow: Flow, error: Exception, trace: str) -> None:
        """A bug of ours ended the flow."""
        self.gate.note(flow, entry.Fault(where="loop", error=trace))
        self._show_fault(flow.id, flow.agent, "internal", repr(error))

    def _show_fault(self, flow: int, agent: str, fault: str, reason: str) -> None:
        self.fault_counts[fault] += 1
        self.faults.append({"flow": flow, "agent": agent, "fault": fault, "reason": reason, "at": time.time()})

    def closed(self, relay: Relay, reason: str, fault: str) -> None:
        """The flow has ended, whatever the way."""
        if relay not in self.relays:
            return
        self.relays.discard(relay)
        self.holds.withdraw(relay, reason)
        self.cancels.remove(relay)
        flow = relay.flow
        close = entry.FlowClose(reason=reason, fault=fault, client_bytes=flow.client_bytes, server_bytes=flow.server_bytes)
        self.gate.note(flow, close)
        self.gate.record(flow)
        self.drain.leave()
        for transport in (relay.client, relay.server):
            if transport is not None:
                asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, transport.abort)

    async def refresh(self) -> None:
        """Keep the catalogs fresh while flows stay open; runs until cancelled."""
        while True:
            await asyncio.sleep(REFRESH_S)
            for relay in self.facts.stale(self.relays):
                relay.read_catalog()

    # -- the end --------------------------------------------------------------------------------------------------------------

    async def stop(self, grace_s: float) -> None:
        """Stop accepting, withdraw what is held, let busy flows finish for `grace_s` seconds, end the rest."""
        for server in self._servers:
            server.close()
        for relay in list(self.relays):
            relay.withdraw("hostguard is stopping", ADMIN_SHUTDOWN)
            if relay.conversation.idle:
                relay.terminate("terminating connection: hostguard is stopping", ADMIN_SHUTDOWN)
        if not await self.drain.finished(grace_s):
            for relay in list(self.relays):
                relay.terminate("terminating connection: hostguard is stopping", ADMIN_SHUTDOWN)


def _listeners() -> list[socket.socket]:
    """127.0.0.1 and ::1 on the same free port; the kernel rewrites to either (interception.md, section 2)."""
    for _ in range(16):
        four = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        six = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        four.bind(("127.0.0.1", 0))
        try:
            six.bind(("::1", four.getsockname()[1]))
        except OSError:
            four.close()
            six.close()
            continue
        for sock in (four, six):
            sock.setblocking(False)
            sock.listen(BACKLOG)
        return [four, six]
    raise OSError("no port is free on both 127.0.0.1 and ::1")


def _reset(transport: asyncio.Transport) -> None:
    """Close so that the process sees a reset at once, not an orderly end of a server that never spoke."""
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _stranger(source: tuple[str, int]) -> entry.FlowRefused:
    reason = "no record of a redirect: somebody dialled the loop directly"
    return entry.FlowRefused(agent="", workload="", resource="", source=f"{source[0]}:{source[1]}", reason=reason)


def _facts(origin: Origin, found: Attribution) -> dict[str, Any]:
    """The fields that an opened and a refused flow have in common."""
    process, rule = found.process, found.rule
    return {
        "agent": rule.agent if rule else "",
        "workload": rule.name if rule else "",
        "resource": "",
        "protocol": "postgres",
        "source": f"{origin.source_host}:{origin.source_port}",
        "destination": f"{origin.host}:{origin.port}",
        "pid": process.pid,
        "start_ticks": process.start_ticks,
        "uid": process.uid,
        "gid": process.gid,
        "comm": process.comm,
        "exe": process.exe,
        "cmdline": process.cmdline,
        "cgroup": process.cgroup,
        "ancestors": tuple(f"{ancestor.pid} {ancestor.exe}" for ancestor in process.ancestors),
        "gone": process.gone,
        "details": found.details,
    }
