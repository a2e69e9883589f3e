"""Where this process has the cgroup2 file system mounted, where the bpf file system."""

from __future__ import annotations

import ctypes
import errno
import os
from dataclasses import dataclass
from pathlib import Path

from .errors import KernelError

BPF_MOUNT = Path("/sys/fs/bpf")
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


def mounts(kind: str) -> list[Mount]:
    """Mounts of one type of file system. Raises KernelError when /proc can't be read."""
    try:
        text = MOUNTINFO.read_text(errors="surrogateescape")
    except OSError as error:
        raise KernelError.of(error, str(MOUNTINFO), "cannot read the mount table") from error
    return [mount for mount in parse_mountinfo(text) if mount.kind == kind]


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
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"bpf", os.fsencode(BPF_MOUNT), b"bpf", ctypes.c_ulong(0), b"mode=0700"):
        raise KernelError(ctypes.get_errno(), str(BPF_MOUNT), "cannot mount the bpf file system")


def _unescape(field: str) -> str:
    """Blanks and backslashes come as three octal digits (proc(5), as in fstab)."""
    head, *rest = field.split("\\")
    return head + "".join(chr(int(part[:3], 8)) + part[3:] for part in rest)
