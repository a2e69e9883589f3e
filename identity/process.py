"""A process of this host as /proc shows it: the one module of this room that reads files.

A pid is no identity: pids come again. What names a process is its pid with its start time, which the kernel puts on record when
the process connects. Reading /proc/PID by path could therefore describe somebody else. Two things prevent it: the folder is
opened once, and a descriptor of /proc/PID belongs to that process for good (reads fail with ESRCH once it has ended, whoever
has the pid by then; fs/proc/base.c, ``get_proc_task``); the start time must be the kernel's record before the facts are read
and after.

The facts are those of the moment of reading, which is shortly after the connect: a process that calls execve in between shows its
new program. `cmdline` and `comm` are the process's own words, for people to read; nothing may be decided by them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

MAX_CMDLINE_BYTES = 4096
"""Enough to recognise a command; an argument list may have megabytes, and all of it would go into the log."""
MAX_CGROUP_FILE_BYTES = 65536
"""/proc/PID/cgroup has a line for each hierarchy, of at most 4096 bytes each; the unified one is last."""
MAX_LINK_BYTES = 4096
MAX_ANCESTORS = 16
_STAT_BYTES = 4096
_STATUS_BYTES = 4096
_PF_EXITING = 0x4
"""include/linux/sched.h: the task is in do_exit. Its program and arguments go away before its state says that it is a zombie. A
process whose first thread has ended though others run looks the same, so it is described by what the kernel saw."""


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A parent, or its parent, and so on."""

    pid: int
    exe: str
    """Path of its program; empty for kernel threads and for what may not be read."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the kernel noted of a process when it connected; all that there is of one that has ended since."""

    comm: str
    uid: int
    gid: int
    cgroup: str
    """Path of its cgroup, relative to the cgroup2 mount; empty if unknown."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process. Texts are UTF-8 with bytes that are none written as ``\\xff``."""

    pid: int
    start_ticks: int
    """Start time, clock ticks since boot, as in /proc/PID/stat."""
    uid: int
    """Real user id; -1 if unknown."""
    gid: int
    comm: str
    ppid: int = 0
    exe: str = ""
    """Path of the program; ends in `` (deleted)`` when the file is gone."""
    cmdline: tuple[str, ...] = ()
    cmdline_cut: bool = False
    """There is more of it than `MAX_CMDLINE_BYTES`."""
    cgroup: str = ""
    """Path in the unified hierarchy, from its mount: ``/agents/shop``."""
    ancestors: tuple[Ancestor, ...] = ()
    """From the parent upwards, at most `MAX_ANCESTORS`."""
    gone: bool = False
    """It had ended when it was looked at: `Seen` is all that is known."""


@dataclass(frozen=True, slots=True)
class _Stat:
    """proc_pid_stat(5)."""

    comm: str
    ppid: int
    start_ticks: int


def process_of(pid: int, start_ticks: int | None, seen: Seen | None = None) -> Process | None:
    """The process with this pid and start time (None: whichever has the pid now).

    One that has ended is described by `seen`, as `gone`; without `seen` the answer is None. Never raises; reads a bounded amount.
    """
    try:
        folder = _open_process(pid)
    except OSError:
        return _gone(pid, start_ticks, seen)
    try:
        return _read(folder, pid, start_ticks) or _gone(pid, start_ticks, seen)
    finally:
        os.close(folder)


def process_folder(pid: int, start_ticks: int) -> int | None:
    """A descriptor of /proc/PID, to be closed, that belongs to the process with this start time; None when it has ended."""
    try:
        folder = _open_process(pid)
    except OSError:
        return None
    stat = _stat(folder)
    if stat is None or stat.start_ticks != start_ticks:
        os.close(folder)
        return None
    return folder


def _gone(pid: int, start_ticks: int | None, seen: Seen | None) -> Process | None:
    if seen is None:
        return None
    return Process(pid, start_ticks or 0, seen.uid, seen.gid, seen.comm, cgroup=seen.cgroup, gone=True)


def _read(folder: int, pid: int, start_ticks: int | None) -> Process | None:
    """None when the process ended before all was read, or is another one."""
    before = _stat(folder)
    if before is None or start_ticks not in (None, before.start_ticks):
        return None
    uid, gid = _owner(folder)
    cmdline, cut = _cmdline(folder)
    process = Process(
        pid=pid,
        start_ticks=before.start_ticks,
        uid=uid,
        gid=gid,
        comm=before.comm,
        ppid=before.ppid,
        exe=_exe(folder),
        cmdline=cmdline,
        cmdline_cut=cut,
        cgroup=_cgroup(folder),
        ancestors=_ancestors(before),
    )
    after = _stat(folder)
    return process if after is not None and after.start_ticks == before.start_ticks else None


def _open_process(pid: int) -> int:
    return os.open(f"/proc/{pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _stat(folder: int) -> _Stat | None:
    """None once it has ended. ``pid (comm) state ppid … starttime …``: comm may hold parentheses, it ends at the last one."""
    head, _, tail = _read_file(folder, "stat", _STAT_BYTES).rpartition(b") ")
    fields = tail.split()
    if len(fields) < 20 or int(fields[6]) & _PF_EXITING:
        return None
    return _Stat(_text(head.partition(b"(")[2]), int(fields[1]), int(fields[19]))


def _owner(folder: int) -> tuple[int, int]:
    """Real user and group id: the second column of ``Uid:`` and ``Gid:`` (proc_pid_status(5)); -1 if not there."""
    ids = {b"Uid:": -1, b"Gid:": -1}
    for line in _read_file(folder, "status", _STATUS_BYTES).split(b"\n"):
        fields = line.split()
        if len(fields) == 5 and fields[0] in ids:
            ids[fields[0]] = int(fields[1])
    return ids[b"Uid:"], ids[b"Gid:"]


def _cmdline(folder: int) -> tuple[tuple[str, ...], bool]:
    data = _read_file(folder, "cmdline", MAX_CMDLINE_BYTES + 1)
    cut = len(data) > MAX_CMDLINE_BYTES
    data = data[:MAX_CMDLINE_BYTES].removesuffix(b"\0")
    return tuple(_text(word) for word in data.split(b"\0")) if data else (), cut


def _cgroup(folder: int) -> str:
    """The path in the unified hierarchy: the line ``0::PATH`` (cgroups(7)); also in hybrid set-ups."""
    for line in _read_file(folder, "cgroup", MAX_CGROUP_FILE_BYTES).split(b"\n"):
        if line.startswith(b"0::"):
            return _text(line[3:])
    return ""


def _exe(folder: int) -> str:
    try:
        return _text(os.fsencode(os.readlink("exe", dir_fd=folder))[:MAX_LINK_BYTES])
    except OSError:
        return ""


def _ancestors(child: _Stat) -> tuple[Ancestor, ...]:
    """Parents as they are now. One that began after its child has taken over a dead parent's pid: the line ends there."""
    found: list[Ancestor] = []
    while child.ppid > 0 and len(found) < MAX_ANCESTORS:
        pid = child.ppid
        try:
            folder = _open_process(pid)
        except OSError:
            break
        try:
            parent = _stat(folder)
            if parent is None or parent.start_ticks > child.start_ticks:
                break
            found.append(Ancestor(pid, _exe(folder)))
            child = parent
        finally:
            os.close(folder)
    return tuple(found)


def _read_file(folder: int, name: str, size: int) -> bytes:
    """Up to `size` bytes; empty when the process has ended or the file may not be read.

    The files of /proc/PID are written whole for a read that has room for them (fs/seq_file.c, ``seq_read_iter``; for ``cmdline``
    fs/proc/base.c, ``get_mm_cmdline``): a read that got less than it asked for has got the rest.
    """
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return b""
    try:
        return os.read(descriptor, size)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
