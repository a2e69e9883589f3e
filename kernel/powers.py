"""Guarded processes that could undo the guard: what they hold that an agent must not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .enrol import guarded_processes
from .loader import Redirect

# include/uapi/linux/capability.h. What each of them could do to the hooks, or behind them; docs/kernel.md, Limits.
POWERS = {
    "CAP_DAC_READ_SEARCH": 2,  # reads the keys
    "CAP_NET_ADMIN": 12,  # tc mirrors, forwarding, tun devices; with CAP_BPF detaches hooks
    "CAP_NET_RAW": 13,  # packet sockets
    "CAP_SYS_MODULE": 16,
    "CAP_SYS_RAWIO": 17,
    "CAP_SYS_PTRACE": 19,  # acts through processes that are not guarded
    "CAP_SYS_ADMIN": 21,  # moves to another cgroup, unpins
    "CAP_SYS_BOOT": 22,  # kexec
    "CAP_MKNOD": 27,  # block devices
    "CAP_MAC_ADMIN": 33,
    "CAP_PERFMON": 38,
    "CAP_BPF": 39,
    "CAP_CHECKPOINT_RESTORE": 40,
}


@dataclass(frozen=True, slots=True)
class Powerful:
    """A guarded process with more than an agent needs."""

    pid: int
    workload: int
    """What the kernel files it under."""
    comm: str
    root: bool
    """Its user is root in the host's user namespace: cgroups, units, cron jobs are its to write, whatever its capabilities."""
    capabilities: tuple[str, ...]
    """Of `POWERS`, those that it may use in the host's user namespace."""


def powerful(redirect: Redirect) -> Iterator[Powerful]:
    """Guarded processes that hold one of `POWERS` or run as the host's root. Raises KernelError when nothing can be told.

    Capabilities in a user namespace of its own are left out: the host's things are not theirs to change.
    """
    ours = os.readlink("/proc/self/ns/user")
    for pid, workload in guarded_processes(redirect):
        try:
            found = _look(pid, workload, ours)
        except OSError:  # it has ended meanwhile
            continue
        if found is not None:
            yield found


def _look(pid: int, workload: int, ours: str) -> Powerful | None:
    lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    root = "0" in status["Uid"].split()
    held = 0
    if os.readlink(f"/proc/{pid}/ns/user") == ours:
        # Permitted counts: what is in there can be made effective at any time.
        held = int(status["CapPrm"], 16)
    names = tuple(name for name, bit in POWERS.items() if held >> bit & 1)
    if not root and not names:
        return None
    return Powerful(pid, workload, status["Name"], root, names)
