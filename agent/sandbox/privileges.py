"""Root gives itself up: user, groups, every capability, the right to get any back.

The order is forced. The bounding set and the groups can only be changed with capabilities, so they go first; changing the user
clears the permitted and effective sets, the signal at the parent's death and the dumpable flag, so these are set after it
(capabilities(7), prctl(2)). What was done is read back from the kernel: a worker that kept anything must not run.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
from pathlib import Path

from . import libc

# include/uapi/linux/prctl.h
_SET_PDEATHSIG, _SET_DUMPABLE, _SET_NAME = 1, 4, 15
_CAPBSET_DROP, _SET_NO_NEW_PRIVS, _CAP_AMBIENT, _CAP_AMBIENT_CLEAR_ALL = 24, 38, 47, 4
_CAPSET, _MLOCKALL = 126, 151
"""System call numbers on x86-64."""
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
"""include/uapi/asm-generic/mman.h; by the third only what is used takes memory."""
_CAPABILITY_VERSION_3 = 0x20080522
OOM_SCORE = "500"
_WANTED = {
    **dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), "0000000000000000"),
    "NoNewPrivs": "1",
    "Groups": "",
}


class StillPrivileged(Exception):
    """Something could not be given up; the message says what."""


def give_up(uid: int, gid: int, files: int, name: str, *, locked: bool = False) -> None:
    """Become this user for good, with room for `files` descriptors. Raises StillPrivileged.

    `name`: what ``ps -o comm`` shows, at most 15 characters. `locked`: memory that was locked may grow.
    """
    try:
        _limit(files, locked=locked)
        # Whoever parses is killed for memory before whoever keeps the log is.
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(OOM_SCORE, encoding="ascii")
        _bound_capabilities()
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        _clear_capabilities()
        libc.prctl(_SET_NO_NEW_PRIVS, 1)
        libc.prctl(_SET_PDEATHSIG, signal.SIGKILL)
        title = ctypes.create_string_buffer(name.encode()[:15])
        libc.prctl(_SET_NAME, ctypes.addressof(title))
        _check(uid, gid)
        libc.prctl(_SET_DUMPABLE, 0)
    except (OSError, ValueError) as error:
        raise StillPrivileged(f"root could not be given up: {error}") from None


def renounce() -> None:
    """Give up all capabilities for good, also over an execve, while staying the user that one is. Raises OSError."""
    _bound_capabilities()
    _clear_capabilities()
    libc.prctl(_SET_NO_NEW_PRIVS, 1)


def lock_memory() -> str:
    """Keep all that this process has in its memory, or will have, out of swap; returns why that can't be had, or ""."""
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        libc.syscall(_MLOCKALL, _MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT)
    except (OSError, ValueError) as error:
        return f"what it holds could be swapped out ({error})"
    return ""


def _bound_capabilities() -> None:
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text(encoding="ascii"))
    for capability in range(last + 1):
        libc.prctl(_CAPBSET_DROP, capability)
    libc.prctl(_CAP_AMBIENT, _CAP_AMBIENT_CLEAR_ALL)


def _limit(files: int, *, locked: bool) -> None:
    """What a worker never needs it can't have: processes, locked memory, core files, files that grow."""
    for limit, value in (
        (resource.RLIMIT_NOFILE, files),
        (resource.RLIMIT_NPROC, 0),
        *(() if locked else ((resource.RLIMIT_MEMLOCK, 0),)),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        resource.setrlimit(limit, (value, value))


def _clear_capabilities() -> None:
    """Empty the three sets of this thread; the change of user left the inheritable one."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()
    libc.syscall(_CAPSET, ctypes.byref(header), ctypes.byref(sets))


def _check(uid: int, gid: int) -> None:
    status = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace")
    found = {name: value.strip() for name, _, value in (line.partition(":") for line in status.splitlines())}
    wanted = _WANTED | {"Uid": "\t".join([str(uid)] * 4), "Gid": "\t".join([str(gid)] * 4)}
    wrong = [f"{name} is {found.get(name)}" for name, value in wanted.items() if found.get(name) != value]
    if wrong:
        raise StillPrivileged(f"root could not be given up: {', '.join(wrong)}")
