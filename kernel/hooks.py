"""The table of hooks: which there are, in the order in which they are attached."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

OBJECTS = Path(__file__).parent / "bpf"

# enum bpf_attach_type, enum bpf_link_type (linux/bpf.h)
TRACE_RAW_TP = 23
PERF_EVENT = 41
LINK_CGROUP = 3


@dataclass(frozen=True, slots=True)
class Place:
    """Where a program is attached."""

    object: str
    """The program ``hg_HOOK`` is in ``bpf/OBJECT.bpf.o``."""
    attach_type: int
    """`enum bpf_attach_type`."""
    tracepoint: str = ""
    """For `PERF_EVENT`: the tracepoint, as ``syscalls/sys_enter_socket``."""
    retyped: bool = False
    """The object's section name stands for another attach type: set this one before loading."""
    remedy: str = ""
    """What an operator can do where this optional hook does not attach; empty: all hooks without one are attached, or none."""

    @property
    def required(self) -> bool:
        """Without it nothing is guarded."""
        return not self.remedy

    @property
    def at_cgroup(self) -> bool:
        """Attached to a cgroup; the others see the whole host, and look for the cgroup themselves."""
        return self.attach_type not in (TRACE_RAW_TP, PERF_EVENT)

    @property
    def path(self) -> Path:
        """The object file."""
        return OBJECTS / f"{self.object}.bpf.o"


_UNIX_REMEDY = "run Linux 6.7 or newer, or keep sockets of databases out of the agents' reach (InaccessiblePaths= in their units)"
_FAMILY_REMEDY = "set RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK in the agents' units"
_COMPAT_REMEDY = "set SystemCallArchitectures=native in the agents' units"
_URING_REMEDY = f"{_FAMILY_REMEDY}, with sysctl kernel.io_uring_disabled=2"
_TCP_SEND_REMEDY = "run Linux 6.16 or newer, or hand agents no connected sockets (hostguard exec hands on none)"
_SEND_REMEDY = "run Linux 6.3 or newer, or hand agents no sockets (hostguard exec hands on none)"
_MKDIR_REMEDY = "do not remove agents' cgroups and make them again while the daemon is down"

# What restores and publishes stands before what redirects, so that nothing is ever redirected without a record; what marks
# sockets stands before the fence, which drops those that it does not know.
HOOKS = {
    "getpeername4": Place("redirect", 29),
    "getpeername6": Place("redirect", 30),
    "recvmsg4": Place("datagrams", 19),
    "recvmsg6": Place("datagrams", 20),
    "sockops": Place("redirect", 3),
    "sock_release": Place("sockets", 34),
    "sock_create": Place("sockets", 2),
    "setsockopt": Place("sockets", 22),
    "egress": Place("fence", 1),
    "cgroup_mkdir": Place("cgroups", TRACE_RAW_TP, remedy=_MKDIR_REMEDY),
    "tcp_send": Place("senders", TRACE_RAW_TP, remedy=_TCP_SEND_REMEDY),
    "send": Place("senders", TRACE_RAW_TP, remedy=_SEND_REMEDY),
    "unix_getpeername": Place("unix", 52, retyped=True, remedy=_UNIX_REMEDY),
    "unix_getsockname": Place("unix", 53, retyped=True, remedy=_UNIX_REMEDY),
    "unix_connect": Place("unix", 49, retyped=True, remedy=_UNIX_REMEDY),
    "unix_sendmsg": Place("unix", 50, retyped=True, remedy=_UNIX_REMEDY),
    "sys_enter_socket": Place("families", PERF_EVENT, "syscalls/sys_enter_socket", remedy=_FAMILY_REMEDY),
    "compat_socket": Place("families", TRACE_RAW_TP, remedy=_COMPAT_REMEDY),
    "uring_submit": Place("families", TRACE_RAW_TP, remedy=_URING_REMEDY),
    "sendmsg4": Place("datagrams", 14),
    "sendmsg6": Place("datagrams", 15),
    "connect4": Place("redirect", 10),
    "connect6": Place("redirect", 11),
}
REQUIRED = tuple(name for name, place in HOOKS.items() if place.required)


def code() -> str:
    """SHA-256 in hex of what there is to attach: objects, sources, where they go. The same code need not be attached again."""
    found = hashlib.sha256(repr(HOOKS).encode())
    for path in sorted(path for path in OBJECTS.iterdir() if path.suffix in (".c", ".h", ".o")):
        found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()
