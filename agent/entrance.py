"""Where redirected connections come in: each is identified, put on record, given to a worker; or refused."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any

from ..kernel.flows import origin_of, unix_origin_of
from ..kernel.layouts import Origin, unix_text
from ..kernel.loader import Redirect, netns_cookie
from ..recorder import entry
from ..recorder.durable import LogUnavailable
from .attribution import Attribution, Attributor
from .crew import Crew
from .faults import Faults
from .flows import OpenFlow
from .modes import OBSERVED, Modes
from .names.keeper import DNS_PORT, Keeper
from .origins import StandingOf, asker_of
from .records import Records
from .resources import Resources
from .unix_sockets import StandIns
from .verifier.bindings import Standing

BACKLOG = 1024
ACCEPTS_AT_ONCE = 32
"""After so many the event loop gets its turn."""
PAUSE_S = 0.5
"""Before the next attempt after an accept that failed for want of descriptors or memory."""


class Door:
    """A listening socket that is accepted on."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    @property
    def is_open(self) -> bool:
        """Not closed yet."""
        return self._sock.fileno() >= 0

    def pause(self) -> None:
        """Stop accepting; what connects waits in the socket."""
        if self._sock.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._sock.fileno())

    def close(self) -> None:
        """Stop accepting, close the socket."""
        if self._sock.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._sock.fileno())
            self._sock.close()


class Entrance:
    """Accepts, and asks who that is. Not a byte of what they send is read here."""

    def __init__(
        self,
        redirect: Redirect,
        attributor: Attributor,
        modes: Modes,
        resources: Resources,
        names: Keeper,
        crew: Crew,
        records: Records,
        faults: Faults,
        stand_ins: StandIns,
        self_test: Callable[[Origin], bool],
        max_flows: int,
        choose: Callable[[OpenFlow], None],
        stopped: Callable[[str], str],
        standing: StandingOf,
    ) -> None:
        """`choose`: decides whose login the flow's server is to see. `stopped`: why nothing of an agent's may go on, or empty."""
        self.listeners: list[socket.socket] = []
        self.opened = 0
        """Flows since the start."""
        self.refused = 0
        self.paused = False
        self._open = True
        self._doors: set[Door] = set()
        """In other network namespaces than the daemon's."""
        self._redirect = redirect
        self._attributor = attributor
        self._modes = modes
        self._resources = resources
        self._names = names
        self._crew = crew
        self._records = records
        self._faults = faults
        self._stand_ins = stand_ins
        self._self_test = self_test
        self._max_flows = max_flows
        self._choose = choose
        self._stopped = stopped
        self._standing = standing
        self._waiting: set[asyncio.Task[None]] = set()
        """One for each accepted connection of which it is not known yet whose it is."""

    def listen(self, inherited: Sequence[socket.socket] = ()) -> None:
        """Open the two listeners on one free port of 127.0.0.1 and ::1 and hand them to the kernel. Raises OSError, KernelError.

        `inherited`: those that an earlier supervisor opened, with the connections that wait in them. The stand-ins of resources'
        UNIX sockets are always new ones.
        """
        four, six = list(inherited) or _listeners()
        self.listeners = [four, six, *self._stand_ins.listen()]
        self._redirect.set_listeners(four, six)
        for sock in self.listeners:
            self._resume(sock)
        self._stand_ins.vouch()

    def pause(self) -> None:
        """Accept no more; what connects waits in the listeners, and is refused by what stands for UNIX sockets."""
        self.paused = True
        self._stand_ins.close()
        for door in (*map(Door, self.listeners), *self._doors):
            door.pause()

    async def settle(self, limit_s: float) -> None:
        """Wait until it is known whose the accepted connections are, at most this long."""
        if self._waiting:
            await asyncio.wait(self._waiting, timeout=limit_s)

    def leave(self) -> list[int]:
        """The descriptors of the daemon's own two listeners, for the next supervisor; nothing is accepted here any more."""
        self.pause()
        return [sock.detach() for sock in self.listeners if sock.family != socket.AF_UNIX]

    def close(self) -> None:
        """Stop listening, in all namespaces: the kernel refuses guarded connects from here on."""
        self._open = False
        self._stand_ins.close()
        for door in (*map(Door, self.listeners), *self._doors):
            door.close()
        self.listeners = []
        self._doors.clear()
        for task in self._waiting:
            task.cancel()

    async def open_door(self, sock: socket.socket) -> Door:
        """Accept on a listener of another network namespace, which the kernel knows of, until the door is closed."""
        self._doors = {door for door in self._doors if door.is_open}
        door = Door(sock)
        if self._open:
            self._resume(sock)
            self._doors.add(door)
        else:
            door.close()
        return door

    @property
    def problem(self) -> str:
        """What is wrong with the stand-ins; empty when nothing is."""
        return self._stand_ins.failure

    def name_of(self, listener: socket.socket) -> str:
        """Where a listener listens; of a stand-in, what it stands for."""
        if listener.family == socket.AF_UNIX:
            return unix_text(self._stand_ins.of[listener].address)
        host, port = listener.getsockname()[:2]
        return f"{host}:{port}"

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(ACCEPTS_AT_ONCE):
            try:
                sock, source = listener.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                # No descriptor or no memory is free: what waits stays in the backlog for a moment.
                self._faults.add(0, "", "internal", f"accept: {error.strerror}")
                loop = asyncio.get_running_loop()
                loop.remove_reader(listener.fileno())
                loop.call_later(PAUSE_S, self._resume, listener)
                return
            sock.setblocking(False)
            try:
                shown = self._stand_ins.shown_at(listener)
                origin = self._origin(listener, sock, source)
            except Exception as error:  # the supervising handler of connections that are no flow yet
                self._faults.add(0, "", "internal", repr(error))
                _reset(sock)
                continue
            if origin is not None:
                task = asyncio.get_running_loop().create_task(self._identify(sock, origin, shown))
                self._waiting.add(task)
                task.add_done_callback(self._waiting.discard)

    def _resume(self, listener: socket.socket) -> None:
        if listener.fileno() >= 0 and not self.paused:
            asyncio.get_running_loop().add_reader(listener.fileno(), self._accept, listener)

    def _origin(self, listener: socket.socket, sock: socket.socket, source: Any) -> Origin | None:
        """Where the connection comes from; None after refusing it, and for one that is nobody's but ours."""
        if listener.family == socket.AF_UNIX:
            stand_in = self._stand_ins.of[listener]
            origin, where = unix_origin_of(sock, self._redirect, stand_in.name, stand_in.address), unix_text(stand_in.address)
        else:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            origin, where = origin_of(sock, self._redirect, source[:2]), f"{source[0]}:{source[1]}"
        if origin is None:
            self._refuse(sock, _stranger(where))
        elif self._self_test(origin):
            sock.close()  # no reset: it could reach the probe before its connect() returns, which would then fail
            return None
        elif len(self._waiting) >= self._max_flows:
            reason = f"limits.max_flows ({self._max_flows}) connections wait for the hash of their program"
            self._refuse(sock, _stranger(where, reason))
            return None
        return origin

    async def _identify(self, sock: socket.socket, origin: Origin, shown: tuple[int, int] | None) -> None:
        """Find out who connected, and hand the connection on."""
        try:
            self._admit(sock, origin, shown, await self._attributor.attribute(origin))
        except asyncio.CancelledError:
            _reset(sock)
            raise
        except Exception as error:  # the supervising handler of connections that are no flow yet
            self._faults.add(0, "", "internal", repr(error))
            _reset(sock)

    def _admit(self, sock: socket.socket, origin: Origin, shown: tuple[int, int] | None, found: Attribution) -> None:
        """Open the flow, or refuse it."""
        facts, process, rule = _facts(origin, found), found.process, found.rule
        if rule is None:
            self._refuse(sock, entry.FlowRefused(**facts, reason=found.reason))
            return
        netns = netns_cookie(sock)
        asking = (rule.agent, netns)
        place = self._resources.at(asking, origin.host, origin.port, time.monotonic())
        names = (("name", place.name),) if place.name else ()
        observed = self._modes.observes(rule.name)
        standing = self._standing(rule.agent, origin.cgroup_id)
        # It becomes a flow all the same, so that the agent hears why in its protocol's words; its server is not dialled.
        why_not = place.reason if place.instead_of else standing.missing
        barred = (("barred", why_not),) if why_not else ()
        facts["details"] = (*names, *barred, *found.details, *_verified(standing), *((OBSERVED,) if observed else ()))
        resource = place.resource or place.instead_of
        if not resource and origin.port == DNS_PORT:
            self._names.give(asker_of(origin, process, rule, netns, standing), sock)
            return
        unread = "" if resource or not observed else place.reason
        if not resource and not observed:
            self._refuse(sock, entry.FlowRefused(**facts, reason=place.reason))
            return
        stopped = self._stopped(rule.agent)
        if stopped and unread:
            self._refuse(sock, entry.FlowRefused(**facts, reason=stopped))
            return
        if stopped:
            # It becomes a flow so that the agent hears why, in its protocol's words; its server is not dialled (`desk`).
            facts["details"] = (*facts["details"], ("stopped", stopped))
        facts["resource"], facts["protocol"] = resource, "" if unread else self._resources.protocols[resource]
        if self._crew.count >= self._max_flows:
            reason = f"limits.max_flows ({self._max_flows}) is reached"
            self._refuse(sock, entry.FlowRefused(**facts, reason=reason))
            return
        berth = self._crew.pick()
        if berth is None:
            self._refuse(sock, entry.FlowRefused(**facts, reason="no worker is ready to carry it"))
            return
        try:
            number = berth.open_flow(entry.FlowOpen(**facts))
        except LogUnavailable as error:
            self._records.failure = str(error)
            _reset(sock)
            return
        self.opened += 1
        flow = OpenFlow(number, origin, process, rule, resource, berth, shown, why_not, observed, unread)
        flow.names, flow.bearer = self._resources.told(asking, origin.host), standing.bearer
        self._choose(flow)
        berth.give(flow, sock)

    def _refuse(self, sock: socket.socket, record: entry.FlowRefused) -> None:
        self.refused += 1
        self._records.refuse(record)
        _reset(sock)


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


def _reset(sock: socket.socket) -> None:
    """Close so that the process sees a reset at once, not an orderly end of a server that never spoke."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def _stranger(source: str, reason: str = "no record of a redirect: somebody dialled the loop directly") -> entry.FlowRefused:
    return entry.FlowRefused(agent="", workload="", resource="", source=source, reason=reason)


def _verified(standing: Standing) -> tuple[tuple[str, str], ...]:
    """What is on record of who vouches for it."""
    bearer = standing.bearer
    if not bearer.issuer:
        return ()
    return (("issuer", bearer.issuer), ("subject", bearer.subject), ("roles", " ".join(bearer.roles)))


def _facts(origin: Origin, found: Attribution) -> dict[str, Any]:
    """The fields that an opened and a refused flow have in common."""
    process, rule = found.process, found.rule
    return {
        "agent": rule.agent if rule else "",
        "workload": rule.name if rule else "",
        "resource": "",
        "protocol": "postgres",
        "source": origin.source,
        "destination": origin.destination,
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
