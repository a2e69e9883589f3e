"""The process behind what the kernel noted of a socket."""

from __future__ import annotations

import socket

from ..identity.process import Process, Seen, process_of
from ..identity.workload import WorkloadRule, Workloads
from ..kernel import cgroups
from ..kernel.layouts import Origin, OriginKey, mapped_address
from ..kernel.loader import Redirect, netns_cookie
from .names.asker import Asker
from .names.keeper import WhoAsks


def process_at(origin: Origin) -> Process:
    """The process as /proc shows it, or as the kernel saw it when it has ended since."""
    path = cgroups.path_of(origin.cgroup_id)
    seen = Seen(origin.comm, origin.uid, origin.gid, str(path or ""))
    process = process_of(origin.pid, origin.start_ticks, seen)
    assert process is not None
    return process


def asker_of(origin: Origin, process: Process, rule: WorkloadRule, netns: int) -> Asker:
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
    )


def who_asks(redirect: Redirect, workloads: Workloads) -> WhoAsks:
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
        process = process_at(origin)
        rule = workloads.workload_of(origin.workload, process)
        return asker_of(origin, process, rule, netns) if rule is not None else None

    return who
