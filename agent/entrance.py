"""Where redirected connections come in: each is identified, put on record, given to a worker; or refused."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

from ..identity.process import Process
from ..identity.workload import WorkloadRule, Workloads
from ..kernel.flows import origin_of, unix_origin_of
from ..kernel.layouts import Origin, unix_text
from ..kernel.loader import Redirect, netns_cookie
from ..kernel.stand_ins import StandIn
from ..recorder import entry
from ..recorder.durable import LogUnavailable
from .crew import Crew
from .faults import Faults
from .flows import OpenFlow
from .names.keeper import DNS_PORT, Keeper
from .origins import asker_of, process_at
from .records import Records
from .resources import Resources
from .unix_sockets import StandIns

BACKLOG = 1024
ACCEPTS_AT_ONCE = 32
"""After so many the event loop gets its turn."""
PAUSE_S = 0.5
"""Before the next attempt after an accept that failed for want of descriptors or memory."""


class Entrance:
    """Accepts, and asks who that is. Not a byte of what they send is read here."""

    def __init__(
        self,
        redirect: Redirect,
        workloads: Workloads,
        resources: Resources,
        names: Keeper,
        crew: Crew,
        records: Records,
        faults: Faults,
        stand_ins: StandIns,
        self_test: Callable[[Origin], bool],
        max_flows: int,
    ) -> None:
        self.listeners: list[socket.socket] = []
        self.opened = 0
        """Flows since the start."""
        self.refused = 0
        self._redirect = redirect
        self._workloads = workloads
        self._resources = resources
        self._names = names
        self._crew = crew
        self._records = records
        self._faults = faults
        self._stand_ins = stand_ins
        self._self_test = self_test
        self._max_flows = max_flows

    def listen(self) -> None:
        """Open the two listeners on one free port of 127.0.0.1 and ::1 and hand them to the kernel. Raises OSError, KernelError.

        So are the stand-ins of resources' UNIX sockets.
        """
        four, six = _listeners()
        self.listeners = [four, six, *self._stand_ins.listen()]
        for sock in self.listeners:
            asyncio.get_running_loop().add_reader(sock.fileno(), self._accept, sock)
        self._redirect.set_listeners(four, six)
        self._stand_ins.vouch()

    def close(self) -> None:
        """Stop listening: the kernel refuses guarded connects from here on."""
        self._stand_ins.close()
        for sock in self.listeners:
            asyncio.get_running_loop().remove_reader(sock.fileno())
            sock.close()
        self.listeners = []

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
                if listener.family == socket.AF_UNIX:
                    self._identify_unix(sock, self._stand_ins.of[listener])
                else:
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._identify(sock, source[:2])
            except Exception as error:  # the supervising handler of connections that are no flow yet
                self._faults.add(0, "", "internal", repr(error))
                _reset(sock)

    def _resume(self, listener: socket.socket) -> None:
        if listener.fileno() >= 0:
            asyncio.get_running_loop().add_reader(listener.fileno(), self._accept, listener)

    def _identify(self, sock: socket.socket, source: tuple[str, int]) -> None:
        """Find out who connected and where to."""
        origin = origin_of(sock, self._redirect, source)
        if origin is None:
            self._refuse(sock, _stranger(f"{source[0]}:{source[1]}"))
            return
        if self._self_test(origin):
            sock.close()  # no reset: it could reach the probe before its connect() returns, which would then fail
            return
        self._admit(sock, origin, None)

    def _identify_unix(self, sock: socket.socket, stand_in: StandIn) -> None:
        """The same for a UNIX socket. Taken before anything else: the user shown may be another's for the next connection."""
        shown = stand_in.shown
        origin = unix_origin_of(sock, self._redirect, stand_in.name, stand_in.address)
        if origin is None:
            self._refuse(sock, _stranger(unix_text(stand_in.address)))
            return
        self._admit(sock, origin, shown)

    def _admit(self, sock: socket.socket, origin: Origin, shown: tuple[int, int] | None) -> None:
        """Find out which agent that is and what is there, and hand the connection on."""
        process = process_at(origin)
        rule = self._workloads.workload_of(origin.workload, process)
        facts = _facts(origin, process, rule)
        if rule is None:
            self._refuse(sock, entry.FlowRefused(**facts, reason="its cgroup is no workload's"))
            return
        netns = netns_cookie(sock)
        place = self._resources.at((rule.agent, netns), origin.host, origin.port, time.monotonic())
        names = (("name", place.name),) if place.name else ()
        facts["details"] = (*names, ("barred", place.reason)) if place.instead_of else names
        resource = place.resource or place.instead_of
        if not resource and origin.port == DNS_PORT:
            self._names.give(asker_of(origin, process, rule, netns), sock)
            return
        if not resource:
            self._refuse(sock, entry.FlowRefused(**facts, reason=place.reason))
            return
        facts["resource"] = resource
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
        berth.give(OpenFlow(number, origin, process, rule, resource, berth, shown, place.reason), sock)

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


def _stranger(source: str) -> entry.FlowRefused:
    reason = "no record of a redirect: somebody dialled the loop directly"
    return entry.FlowRefused(agent="", workload="", resource="", source=source, reason=reason)


def _facts(origin: Origin, process: Process, rule: WorkloadRule | None) -> dict[str, Any]:
    """The fields that an opened and a refused flow have in common."""
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
    }
