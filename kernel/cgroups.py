"""The cgroup2 hierarchy: paths, ids, membership."""

from __future__ import annotations

import ctypes
import errno
import os
import select
import struct
from pathlib import Path

from .errors import KernelError
from .mounts import mounts

PROCS = "cgroup.procs"
KILL = "cgroup.kill"

# struct file_handle with the 8-byte handle that kernfs uses (FILEID_KERNFS in linux/exportfs.h): the cgroup id.
_HANDLE = struct.Struct("=IiQ")
_FILEID_KERNFS = 0xFE


def mount_point() -> Path:
    """Where the whole cgroup2 hierarchy is mounted (unified or hybrid). Raises KernelError when it is not."""
    for mount in mounts("cgroup2"):
        if mount.root == "/":
            return mount.path
    raise KernelError(errno.ENOENT, "cgroup2", "no cgroup2 file system is mounted")


def cgroup_id(path: Path) -> int:
    """The id that the kernel knows a cgroup by: the inode of its directory. Raises KernelError when `path` is not a cgroup2."""
    mount_point()
    try:
        inode = path.stat().st_ino
        (path / PROCS).stat()
    except OSError as error:
        raise KernelError.of(error, str(path), "not a cgroup") from error
    resolved = path.resolve()
    if not any(resolved.is_relative_to(mount.path) for mount in mounts("cgroup2")):
        raise KernelError(errno.EINVAL, str(path), "a cgroup of version 1; the hooks need cgroup2")
    return inode


def path_of(identifier: int) -> Path | None:
    """Directory of a living cgroup, None when it is gone. Needs CAP_DAC_READ_SEARCH; raises KernelError without.

    open_by_handle_at(2): no walk over the hierarchy, and a removed cgroup is not found even while sockets keep it in memory.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    handle = ctypes.create_string_buffer(_HANDLE.pack(8, _FILEID_KERNFS, identifier), _HANDLE.size)
    root = os.open(mount_point(), os.O_RDONLY | os.O_DIRECTORY)
    try:
        fd = libc.open_by_handle_at(root, handle, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        number = ctypes.get_errno()
    finally:
        os.close(root)
    if fd < 0:
        if number in (errno.ESTALE, errno.ENOENT, errno.ENOTDIR):
            return None
        raise KernelError(number, f"cgroup {identifier}", "cannot find the path")
    try:
        return Path(os.readlink(f"/proc/self/fd/{fd}"))
    finally:
        os.close(fd)


def of_process(pid: int | str = "self") -> Path:
    """The cgroup2 of a process. Raises KernelError when the process is gone."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError as error:
        raise KernelError.of(error, f"process {pid}", "cannot read its cgroup") from error
    relative = next((line[len("0::/") :] for line in lines if line.startswith("0::/")), None)
    if relative is None:
        raise KernelError(errno.ENOENT, f"process {pid}", "in no cgroup2")
    return mount_point() / relative


def create(path: Path) -> int:
    """Make a cgroup, parents included, unless it exists; returns its id. Raises KernelError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise KernelError.of(error, str(path), "cannot make the cgroup") from error
    return cgroup_id(path)


def enter(path: Path, pid: int = 0) -> None:
    """Move a process (0: the caller) with all its threads. Raises KernelError."""
    try:
        (path / PROCS).write_text(f"{pid}\n")
    except OSError as error:
        raise KernelError.of(error, str(path), f"cannot move process {pid or 'self'} into the cgroup") from error


def pids(path: Path) -> list[int]:
    """Processes in the cgroup itself, not in its descendants; empty when it is gone."""
    try:
        return [int(line) for line in (path / PROCS).read_text().split()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        if error.errno == errno.ENODEV:  # removed between open and read
            return []
        raise KernelError.of(error, str(path), "cannot list the cgroup's processes") from error


def remove(path: Path, deadline_s: float = 5.0) -> None:
    """Kill what runs in a cgroup or below, wait for it to be gone, remove the directories; nothing to do is fine.

    Waits at most `deadline_s` on cgroup.events (populated 0), which the kernel signals with POLLPRI. Raises KernelError.
    """
    if not path.exists():
        return
    try:
        _kill_all(path, deadline_s)
        for directory, _, _ in os.walk(path, topdown=False):
            os.rmdir(directory)
    except OSError as error:
        raise KernelError.of(error, str(path), "cannot remove the cgroup") from error


def _kill_all(path: Path, deadline_s: float) -> None:
    (path / KILL).write_text("1\n")
    with (path / "cgroup.events").open() as events:
        waiter = select.poll()
        waiter.register(events, select.POLLPRI)
        while "populated 1" in events.read():
            if not waiter.poll(deadline_s * 1000):
                raise KernelError(errno.EBUSY, str(path), f"still populated {deadline_s} s after its processes were killed")
            events.seek(0)
