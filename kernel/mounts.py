"""Where this process has the kernel's file systems mounted: cgroup2, bpf, tracefs."""

from __future__ import annotations

import ctypes
import errno
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from .errors import KernelError

BPF_MOUNT = Path("/sys/fs/bpf")
TRACE_MOUNT = Path("/sys/kernel/tracing")
MOUNTINFO = Path("/proc/self/mountinfo")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of mountinfo."""

    path: Path
    kind: str
    """Type of the file system."""
    root: str
    """What of the file system is mounted: ``/`` for all of it."""


def parse_mountinfo(text: str) -> list[Mount]:
    """Mounts in mount order (proc(5), /proc/PID/mountinfo); lines that are not such lines are left out."""
    mounts = []
    for line in text.splitlines():
        head, separator, tail = line.partition(" - ")
        fields, kind = head.split(" "), tail.partition(" ")[0]
        if separator and len(fields) >= 6:
            mounts.append(Mount(Path(_unescape(fields[4])), kind, _unescape(fields[3])))
    return mounts


# The table is asked for some dozens of times by a start or a status, and hardly ever another one by then.
_known = lru_cache(maxsize=1)(parse_mountinfo)


def mounts(kind: str) -> list[Mount]:
    """Mounts of one type of file system. Raises KernelError when /proc can't be read."""
    try:
        text = MOUNTINFO.read_text(errors="surrogateescape")
    except OSError as error:
        raise KernelError.of(error, str(MOUNTINFO), "cannot read the mount table") from error
    return [mount for mount in _known(text) if mount.kind == kind]


def require_bpffs(path: Path) -> None:
    """See that `path` lies on a bpf file system; mount one at /sys/fs/bpf if that is where it is missing.

    Raises KernelError.
    """
    resolved = path.resolve()
    if "." in str(resolved):
        raise KernelError(errno.EINVAL, str(path), "a bpf file system allows no dots in names")
    if any(resolved.is_relative_to(mount.path) for mount in mounts("bpf")):
        return
    if not resolved.is_relative_to(BPF_MOUNT):
        raise KernelError(errno.EINVAL, str(path), f"not on a bpf file system; pins usually live below {BPF_MOUNT}")
    _mount("bpf", BPF_MOUNT)


def tracefs() -> Path | None:
    """Where tracefs is mounted; None when it is not."""
    found = mounts("tracefs")
    return found[0].path if found else None


def require_tracefs() -> Path:
    """Where tracefs is mounted; it is mounted where it belongs if it is not. Raises KernelError."""
    found = tracefs()
    if found is None:
        _mount("tracefs", TRACE_MOUNT)
    return found or TRACE_MOUNT


def _mount(kind: str, path: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(kind.encode(), os.fsencode(path), kind.encode(), ctypes.c_ulong(0), b"mode=0700"):
        raise KernelError(ctypes.get_errno(), str(path), f"cannot mount {kind}")


def _unescape(field: str) -> str:
    """Blanks and backslashes come as three octal digits (proc(5), as in fstab)."""
    head, *rest = field.split("\\")
    return head + "".join(chr(int(part[:3], 8)) + part[3:] for part in rest)
