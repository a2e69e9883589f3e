"""What a process gives up for good before it runs a guarded program.

The INET hooks see neither packet sockets nor vsock, and io_uring makes sockets past a filter on socket(2): so a guarded program
gets none of them. It keeps no capability that could undo the guard, whoever it runs as, and gains none from setuid programs.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from .errors import KernelError

# include/linux/socket.h
FAMILIES = {
    "unix": 1,
    "inet": 2,
    "inet6": 10,
    "netlink": 16,
    "packet": 17,
    "rds": 21,
    "can": 29,
    "tipc": 30,
    "bluetooth": 31,
    "alg": 38,
    "vsock": 40,
    "kcm": 41,
    "smc": 43,
    "xdp": 44,
}
# include/uapi/linux/capability.h. A list of what stays: a capability that a later kernel adds is dropped. None of these reaches
# the network, another process's memory, a device, the kernel's code, or a cgroup's attachments.
KEPT_CAPABILITIES = {
    "CAP_CHOWN": 0,
    "CAP_DAC_OVERRIDE": 1,
    "CAP_FOWNER": 3,
    "CAP_FSETID": 4,
    "CAP_KILL": 5,
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
    "CAP_NET_BIND_SERVICE": 10,
    "CAP_IPC_LOCK": 14,
    "CAP_SYS_CHROOT": 18,
    "CAP_SYS_NICE": 23,
    "CAP_SYS_RESOURCE": 24,
}
LAST_CAPABILITY = Path("/proc/sys/kernel/cap_last_cap")
CAP_SETPCAP = 8

PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
CAPABILITY_VERSION_3 = 0x20080522

IO_URING_CALLS = ("io_uring_setup", "io_uring_enter", "io_uring_register")

# Other ABIs whose calls the kernel takes from a process of this machine: each needs the same rules (seccomp(2), on `arch`).
_COMPATIBLE = {"x86_64": ("X86", "X32"), "aarch64": ("ARM",)}


class CallFilter(Protocol):
    """A system call filter, made."""

    def load(self) -> None:
        """Load it into this thread with what it starts. Raises OSError."""
        ...


def bound_capabilities() -> None:
    """Take all but `KEPT_CAPABILITIES` from what this process can ever hold. The first step: it needs CAP_SETPCAP.

    Without that capability nothing is done here, and nothing is lost: `renounce` stops exec from raising any. Raises KernelError.
    """
    if not _effective() >> CAP_SETPCAP & 1:
        return
    for number in range(int(LAST_CAPABILITY.read_text()) + 1):
        if number not in KEPT_CAPABILITIES.values():
            _call("prctl", "the bounding set", PR_CAPBSET_DROP, number, 0, 0, 0)


def call_filter(families: Iterable[str], *, io_uring: bool) -> CallFilter:
    """The system call filter that refuses sockets of other families, in every ABI the kernel takes. Raises KernelError.

    families: names in `FAMILIES`; others fail with EAFNOSUPPORT. io_uring: whether its calls stay; else they fail with ENOSYS, as
    in a kernel without it, which is what programs are ready for.

    The rules compare all 64 bits of the family, of which the kernel reads 32: one with rubbish above is refused as well. i386 can
    ask by socketcall(2) too, whose arguments lie in memory: there sockets are refused whatever the family.
    """
    try:
        # Here, because it looks for libseccomp as it is imported: only a command that runs a program should wait for that.
        import pyseccomp
    except (ImportError, RuntimeError, OSError) as error:
        raise KernelError(errno.ENOENT, "seccomp", f"libseccomp does not load: {error}") from None
    wanted = {FAMILIES[name] for name in families}
    try:
        rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
        rules.set_attr(pyseccomp.Attr.ACT_BADARCH, pyseccomp.KILL_PROCESS)
        for name in _COMPATIBLE.get(platform.machine(), ()):
            rules.add_arch(getattr(pyseccomp.Arch, name))
        refused = pyseccomp.ERRNO(errno.EAFNOSUPPORT)
        for call in ("socket", "socketpair"):
            for family in set(range(max(wanted))) - wanted:
                rules.add_rule(refused, call, pyseccomp.Arg(0, pyseccomp.EQ, family))
            rules.add_rule(refused, call, pyseccomp.Arg(0, pyseccomp.GT, max(wanted)))
        for call in () if io_uring else IO_URING_CALLS:
            rules.add_rule(pyseccomp.ERRNO(errno.ENOSYS), call)
    except OSError as error:
        raise KernelError.of(error, "seccomp", "the system call filter can't be made") from None
    made: CallFilter = rules
    return made


def renounce(calls: CallFilter) -> None:
    """Drop capabilities, gain none by exec, make only the calls of the filter. The last step before exec; nothing undoes it.

    Reads no file, so it may follow a change of user. Raises KernelError.
    """
    _call("prctl", "ambient capabilities", PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    _keep_capabilities(sum(1 << number for number in KEPT_CAPABILITIES.values()))
    _call("prctl", "no_new_privs", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    try:
        calls.load()
    except OSError as error:
        raise KernelError.of(error, "seccomp", "the system call filter does not load") from None


def _effective() -> int:
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), 16)


def _keep_capabilities(kept: int) -> None:
    """Of what this thread has, keep only these: effective, permitted; inherit none (capset(2))."""
    header = struct.pack("=Ii", CAPABILITY_VERSION_3, 0)
    data = ctypes.create_string_buffer(24)
    _call("capget", "capabilities", header, data)
    effective, permitted, _, effective_high, permitted_high, _ = struct.unpack("=6I", data.raw)
    low, high = kept & 0xFFFF_FFFF, kept >> 32
    held = (effective & low, permitted & low, 0, effective_high & high, permitted_high & high, 0)
    _call("capset", "capabilities", header, struct.pack("=6I", *held))


def _call(name: str, subject: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise KernelError(number, subject, f"{name} failed: {os.strerror(number)}")
