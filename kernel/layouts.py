"""The structs of ``bpf/shared.h`` as Python reads them; tests/kernel/test_kernel_layouts.py holds both against each other."""

from __future__ import annotations

import enum
import os
import socket
import struct
from typing import NamedTuple

LISTENER_KEY = struct.Struct("=QII")
ORIGIN_KEY = struct.Struct("=Q16sH6x")
ORIGIN = struct.Struct("=QQQQQQIIII16sHHHH16sQI4x")
PROGRAM_KEY = struct.Struct("=QI4x")
UNIX_KEY = struct.Struct("=I108s")
UNIX_RULE = struct.Struct("=II108s")
PATH_KEY = struct.Struct("=256s")
EVENT = struct.Struct("=QQQIIII16sHHHH16sI108s")
SETTINGS = struct.Struct("=QQ")
CGROUP_ID = struct.Struct("=Q")
WORKLOAD = struct.Struct("=I")
UID = struct.Struct("=I")
MODE = struct.Struct("=I")
FD = struct.Struct("=i")
"""Key of a socket's storage, as user space reads it."""
SOCKET_STATE_BYTES = 128
"""`struct socket_state` of maps.bpf.h; only whether there is one matters here."""
MARK = struct.Struct("=32sII")
"""`struct socket_mark` of maps.bpf.h: where its query was published, workload, accepted by a server."""
INDEX = struct.Struct("=I")
U64 = struct.Struct("=Q")
EVENT_RATE = struct.Struct("=QQ")
"""`struct event_rate` of maps.bpf.h."""

MAP_SIZES = {
    "guarded": (CGROUP_ID.size, WORKLOAD.size),
    "epoch": (INDEX.size, U64.size),
    "users": (UID.size, WORKLOAD.size),
    "programs": (PROGRAM_KEY.size, WORKLOAD.size),
    "modes": (WORKLOAD.size, MODE.size),
    "paths": (PATH_KEY.size, WORKLOAD.size),
    "unix": (UNIX_KEY.size, UNIX_RULE.size),
    "listeners": (LISTENER_KEY.size, U64.size),
    "resolvers": (LISTENER_KEY.size, U64.size),
    "heartbeat": (INDEX.size, U64.size),
    "sockets": (FD.size, SOCKET_STATE_BYTES),
    "marks": (FD.size, MARK.size),
    "origins": (ORIGIN_KEY.size, ORIGIN.size),
    "queries": (ORIGIN_KEY.size, ORIGIN.size),
    "events": (0, 0),
    "rates": (INDEX.size, EVENT_RATE.size),
    "counters": (INDEX.size, U64.size),
}
"""Bytes of each map's keys, of its values."""

COUNTERS = (
    "redirected",
    "refused_no_listener",
    "refused_stale_heartbeat",
    "refused_ip_options",
    "refused_depth",
    "refused_helper_failed",
    "refused_pending",
    "refused_no_resolver",
    "denied_datagram",
    "denied_protocol",
    "denied_socket",
    "denied_option",
    "denied_unix",
    "dropped",
    "killed_family",
    "killed_uring",
    "published",
    "publish_failed",
    "ambiguous",
    "cleared_direct_dial",
    "queries_redirected",
    "queries_published",
    "unix_redirected",
    "unix_allowed",
    "cgroups_filed",
    "observed",
    "events_suppressed",
    "events_lost",
    "tainted",
    "killed_send",
)
"""In the order of `enum hg_counter`; the meanings are beside `HG_COUNTERS` in the header. Kinds of events have the same names."""

SELF_TEST = 0xFFFF_FFFF
"""Number of the self-test's workload; configured ones count from 1."""
WATCHED = 0xFFFF_FFFE
"""Filed under a cgroup: below it, what comes from a cgroup that nobody has classified is refused."""
CLEARED = 0xFFFF_FFFD
"""Filed under a cgroup: classified, with nothing to say against what the cgroups around it say."""
RESERVED = frozenset({WATCHED, CLEARED})

UNIX_ALLOW = 1
UNIX_REDIRECT = 2
UNIX_STAND_IN = 3
STAND_IN_PREFIX = b"\0hostguard/"
STAND_IN_LETTERS = 16
UNIX_SCHEME = "unix:"
UNIX_LENGTH = 108
PATH_LENGTH = 256

_MAPPED = b"\0" * 10 + b"\xff\xff"

NS_PER_TICK = 10_000_000
"""/proc counts start times in USER_HZ = 100 per second on every Linux architecture that eBPF runs on but alpha."""


class Mode(enum.IntFlag):
    """How a workload is treated, beside its policy; none set: everything is enforced."""

    ENFORCE = 0
    OBSERVE = 1
    """Nothing is refused: TCP goes to the loop if it is there, all else passes; each is counted and told."""
    UNIX_OPEN = 2
    """UNIX sockets are not restricted."""
    INBOUND = 4
    """Servers of this workload may answer peers that are not on loopback."""
    FAMILIES = 8
    """Its configuration allows socket families that no hook sees: nobody is ended for one."""


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
    """Destination address as text; dotted IPv4 also when the process wrote ::ffff:a.b.c.d; a UNIX socket's as `unix_text`."""
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
    netns_cookie: int = 0
    """The network namespace of the process's socket, as SO_NETNS_COOKIE tells it."""
    exe: tuple[int, int] = (0, 0)
    """Inode and device (as the kernel writes it: major << 20 | minor) of the program that the process ran; 0 for none."""

    @property
    def ipv6(self) -> bool:
        """The destination is a true IPv6 address."""
        return ":" in self.host and not self.unix

    @property
    def unix(self) -> bool:
        """The destination is a UNIX socket."""
        return self.host.startswith(UNIX_SCHEME)

    @property
    def destination(self) -> str:
        """``203.0.113.7:5432``, or ``unix:/run/postgresql/.s.PGSQL.5432``."""
        return self.host if self.unix else f"{self.host}:{self.port}"

    @property
    def source(self) -> str:
        """Where it comes from: address with port, or the cookie of a UNIX socket, which has no address."""
        return f"{UNIX_SCHEME}{self.socket_cookie}" if self.unix else f"{self.source_host}:{self.source_port}"


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
    address, port, family, listener_port, ambiguous, comm, exe_inode, exe_device = fields[10:]
    if ambiguous:
        return None
    # Of a UNIX socket the record names the stand-in; whoever accepted there knows what that stands for.
    host = UNIX_SCHEME + address.decode(errors="replace") if family == socket.AF_UNIX else address_text(address)
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
        netns_cookie=key.netns_cookie,
        exe=(exe_inode, exe_device),
    )


class Event(NamedTuple):
    """Something that the programs refused, dropped or ended, or would have."""

    kind: str
    """One of `COUNTERS`."""
    observed: bool
    """It was only told: the workload is observed."""
    workload: int
    """0 when it cannot be told; `WATCHED`: in a cgroup that was not classified."""
    time_ns: int
    """CLOCK_MONOTONIC."""
    pid: int
    """Thread group id in the initial pid namespace; 0 when no process can be named, as for what the fence drops."""
    start_ticks: int
    """As in `Origin`."""
    uid: int
    cgroup_id: int
    """Of the task; of the socket for what the fence drops."""
    comm: str
    family: int
    """0 when there was no address."""
    protocol: int
    """IP protocol; the option's number for ``denied_option``."""
    host: str
    """Destination; empty without one."""
    port: int
    path: bytes
    """Address of a UNIX socket, an abstract one with its leading NUL; empty for others."""


def read_event(record: bytes) -> Event:
    """`struct hg_event` to `Event`."""
    fields = EVENT.unpack(record)
    time_ns, start_ns, cgroup, kind, workload, pid, uid, address, port, family, protocol, observed, comm, length, path = fields
    return Event(
        kind=COUNTERS[kind] if kind < len(COUNTERS) else str(kind),
        observed=bool(observed),
        workload=workload,
        time_ns=time_ns,
        pid=pid,
        start_ticks=start_ns // NS_PER_TICK,
        uid=uid,
        cgroup_id=cgroup,
        comm=comm.partition(b"\0")[0].decode(errors="replace"),
        family=family,
        protocol=protocol,
        host=address_text(address) if any(address) else "",
        port=port,
        path=path[:length],
    )


def unix_key(address: bytes) -> bytes:
    """`struct hg_unix_key` of a UNIX socket's address: a path without its NUL, or an abstract name with its leading NUL.

    Raises ValueError for an address that is empty, too long for a socket, or a path with a NUL in it.
    """
    if not 0 < len(address) <= UNIX_LENGTH:
        raise ValueError(f"a UNIX socket's address has 1 to {UNIX_LENGTH} bytes, not {len(address)}: {address!r}")
    if address[0] and 0 in address:
        raise ValueError(f"a path has no NUL in it: {address!r}")
    return UNIX_KEY.pack(len(address), address)


def unix_text(address: bytes) -> str:
    """``unix:/path`` or ``unix:@name``: a UNIX socket's address as configuration, records and lists write it."""
    return UNIX_SCHEME + (f"@{os.fsdecode(address[1:])}" if address.startswith(b"\0") else os.fsdecode(address))


def unix_address(text: str) -> bytes:
    """The address as connect(2) takes it, of ``/path`` or ``@name``: an abstract name begins with a zero byte (unix(7))."""
    return b"\0" + os.fsencode(text[1:]) if text.startswith("@") else os.fsencode(text)


def path_key(path: str) -> bytes:
    """`struct hg_path_key` of a cgroup's path below the mount, as ``/agents/a``. Raises ValueError when it can't be one."""
    raw = path.encode()
    if not raw.startswith(b"/") or len(raw) >= PATH_LENGTH:
        raise ValueError(f"not a path of at most {PATH_LENGTH - 1} bytes that begins at the cgroup2 mount: {path}")
    return PATH_KEY.pack(raw)
