"""The structs of ``bpf/shared.h`` as Python reads them; tests/kernel/test_kernel_layouts.py holds both against each other."""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

LISTENER_KEY = struct.Struct("=QII")
ORIGIN_KEY = struct.Struct("=Q16sH6x")
ORIGIN = struct.Struct("=QQQQQQIIII16sHHHH16s")
SETTINGS = struct.Struct("=Q")
CGROUP_ID = struct.Struct("=Q")
WORKLOAD = struct.Struct("=I")
INDEX = struct.Struct("=I")
U64 = struct.Struct("=Q")

COUNTERS = (
    "redirected",
    "refused_no_listener",
    "refused_stale_heartbeat",
    "refused_ip_options",
    "refused_depth",
    "refused_helper_failed",
    "passed_other_protocol",
    "published",
    "publish_failed",
    "ambiguous",
    "cleared_direct_dial",
)
"""In the order of `enum hg_counter`; the meanings are beside `HG_COUNTERS` in the header."""

_MAPPED = b"\0" * 10 + b"\xff\xff"

NS_PER_TICK = 10_000_000
"""/proc counts start times in USER_HZ = 100 per second on every Linux architecture that eBPF runs on but alpha."""


class OriginKey(NamedTuple):
    """The source of a connection, as `accept` tells it."""

    netns_cookie: int
    """SO_NETNS_COOKIE of the accepted socket."""
    address: bytes
    """16 bytes, IPv4 as ::ffff:a.b.c.d."""
    port: int

    def pack(self) -> bytes:
        """Bytes of `struct hg_origin_key`."""
        return ORIGIN_KEY.pack(*self)


class Origin(NamedTuple):
    """Who opened a redirected connection, with where it was going: facts taken in the kernel at `connect`.

    A tuple because one is made for every connection, and a frozen dataclass costs 8 us more.
    """

    source_host: str
    """Address that the connection comes from, as `accept` tells it."""
    source_port: int
    host: str
    """Destination address as text; dotted IPv4 also when the process wrote ::ffff:a.b.c.d."""
    port: int
    mapped: bool
    """The process used an IPv6 socket for an IPv4 destination."""
    pid: int
    """Thread group id in the initial pid namespace."""
    start_ticks: int
    """Start of that process since boot, in the unit of field 22 of /proc/PID/stat: with `pid` a key safe from pid reuse."""
    uid: int
    gid: int
    comm: str
    """Name of the process (its main thread), at most 15 characters; the process can set it to anything."""
    cgroup_id: int
    """Cgroup of the task."""
    socket_cgroup_id: int
    """Cgroup that the socket was created in."""
    guarded_cgroup_id: int
    """The guarded cgroup that holds one of the two: innermost, the task's before the socket's."""
    workload: int
    """What `Redirect.guard` filed that cgroup under."""
    socket_cookie: int
    """SO_COOKIE of the process's socket."""
    connect_ns: int
    """CLOCK_MONOTONIC of the connect."""
    listener_port: int
    """Port that the connection was sent to."""

    @property
    def ipv6(self) -> bool:
        """The destination is a true IPv6 address."""
        return ":" in self.host


def mapped_address(host: str) -> bytes:
    """16 bytes of an address given as text, IPv4 as ::ffff:a.b.c.d; a scope id is ignored. Raises OSError for what is none."""
    if ":" in host:
        return socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    return _MAPPED + socket.inet_pton(socket.AF_INET, host)


def address_text(address: bytes) -> str:
    """Text of 16 bytes, ::ffff:a.b.c.d as dotted IPv4."""
    if address.startswith(_MAPPED):
        return socket.inet_ntop(socket.AF_INET, address[12:])
    return socket.inet_ntop(socket.AF_INET6, address)


def read_origin(key: OriginKey, record: bytes) -> Origin | None:
    """`struct hg_origin`, as found under `key`, to `Origin`; None when the record is void because two connections claimed it."""
    fields = ORIGIN.unpack(record)
    connect_ns, start_ns, cookie, task_cgroup, socket_cgroup, guarded_cgroup, workload, pid, uid, gid = fields[:10]
    address, port, family, listener_port, ambiguous, comm = fields[10:]
    if ambiguous:
        return None
    host = address_text(address)
    return Origin(
        source_host=address_text(key.address),
        source_port=key.port,
        host=host,
        port=port,
        mapped=family == socket.AF_INET6 and ":" not in host,
        pid=pid,
        start_ticks=start_ns // NS_PER_TICK,
        uid=uid,
        gid=gid,
        comm=comm.partition(b"\0")[0].decode(errors="replace"),
        cgroup_id=task_cgroup,
        socket_cgroup_id=socket_cgroup,
        guarded_cgroup_id=guarded_cgroup,
        workload=workload,
        socket_cookie=cookie,
        connect_ns=connect_ns,
        listener_port=listener_port,
    )
