"""The process behind what the kernel noted of a socket."""

from __future__ import annotations

import socket
from collections.abc import Callable

from ..identity.process import Process
from ..identity.workload import WorkloadRule
from ..kernel.layouts import Origin, OriginKey, mapped_address
from ..kernel.loader import Redirect, netns_cookie
from .attribution import Attributor
from .names.asker import Asker
from .names.keeper import WhoAsks
from .verifier.bindings import Standing

StandingOf = Callable[[str, int], Standing]
"""What is verified of a process, by its agent, its cgroup's id."""


def asker_of(origin: Origin, process: Process, rule: WorkloadRule, netns: int, standing: Standing) -> Asker:
    """Who asks for a name. `netns`: cookie of the network namespace."""
    return Asker(
        ref=0,
        agent=rule.agent,
        workload=rule.name,
        server=f"[{origin.host}]:{origin.port}" if origin.ipv6 else origin.destination,
        netns=netns,
        pid=process.pid,
        start_ticks=process.start_ticks,
        uid=process.uid,
        comm=process.comm,
        exe=process.exe,
        cgroup=process.cgroup,
        cgroup_id=origin.cgroup_id,
        bearer=standing.bearer,
        unverified=standing.missing,
    )


def who_asks(redirect: Redirect, attributor: Attributor, standing: StandingOf) -> WhoAsks:
    """Who sends a datagram to a socket of ours, by the kernel's record of theirs."""

    def who(sock: socket.socket, source: tuple[str, int]) -> Asker | None:
        netns = netns_cookie(sock)
        try:
            key = OriginKey(netns, mapped_address(source[0]), source[1])
        except OSError:
            return None  # no address: the resolver says so, and may be wrong
        origin = redirect.query_origin(key)
        if origin is None:
            return None
        found = attributor.attribute_now(origin)
        if found.rule is None:
            return None
        return asker_of(origin, found.process, found.rule, netns, standing(found.rule.agent, origin.cgroup_id))

    return who
