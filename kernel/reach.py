"""Dials a UNIX socket as a process would: with its credentials, by its own view of the files."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import stat
import struct
from contextlib import ExitStack

from .acting import Credentials, acting_as

HOST_ROOT = "/proc/1/root"

_OPENAT2 = 437  # of every architecture (asm-generic/unistd.h)
_RESOLVE_IN_ROOT = 0x10
_OPEN_HOW = struct.Struct("=QQQ")
"""struct open_how (linux/openat2.h): flags, mode, resolve."""


class Elsewhere(Exception):
    """For the process the path leads to another socket than on this host, or the process is gone; `args[0]` says which."""


def dial_as(
    sock: socket.socket, pid: int, start_ticks: int, uid: int, gid: int, address: bytes, *, wherever: bool = False
) -> None:
    """Connect `sock` to the UNIX socket `address`, as the process with this pid and start time could have done it.

    sock: a stream that does not block, which is closed when this fails; an abstract name is one of its network namespace. A path
    is followed with the process's root and mounts, and must lead to the socket that it leads to here: what is dialled is that
    very inode. `wherever`: it may lead elsewhere. uid, gid: the process's real ones at connect; a setuid program that it has run
    since counts for nothing. A full queue is EAGAIN, as for every client that does not block. Raises Elsewhere, OSError of the
    system calls, KernelError.
    """
    try:
        with ExitStack() as stack:
            process = _open_process(stack, pid, start_ticks)
            who = Credentials(uid, gid, _groups(process, uid, gid))
            if address.startswith(b"\0"):
                acting_as(who, lambda: sock.connect(address))
            else:
                root = os.open("root", os.O_PATH | os.O_DIRECTORY, dir_fd=process)
                stack.callback(os.close, root)
                here = None if wherever else on_host(address)
                acting_as(who, lambda: _connect(sock, root, address, here))
            _require_alive(process, start_ticks)
    except BaseException:
        sock.close()
        raise


def on_host(path: bytes) -> os.stat_result:
    """What is at the path for the host's first process, or for us where that can't be looked at. Raises OSError.

    A service may have a /tmp of its own (PrivateTmp= in systemd.exec(5)), as ours has.
    """
    try:
        root = os.open(HOST_ROOT, os.O_PATH | os.O_DIRECTORY)
    except PermissionError:
        root = os.open("/", os.O_PATH | os.O_DIRECTORY)
    try:
        found = _open_in_root(root, path)
    finally:
        os.close(root)
    try:
        return os.fstat(found)
    finally:
        os.close(found)


def _connect(sock: socket.socket, root: int, path: bytes, here: os.stat_result | None) -> None:
    found = _open_in_root(root, path)
    try:
        there = os.fstat(found)
        same = here is None or (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)
        if not stat.S_ISSOCK(there.st_mode) or not same:
            raise Elsewhere("where this process is, the path leads to another socket")
        sock.connect(f"/proc/self/fd/{found}")
    finally:
        os.close(found)


def _open_in_root(root: int, path: bytes) -> int:
    """O_PATH descriptor; links and ``..`` end at `root` (openat2(2))."""
    how = _OPEN_HOW.pack(os.O_PATH | os.O_CLOEXEC, 0, _RESOLVE_IN_ROOT)
    libc = ctypes.CDLL(None, use_errno=True)
    number = libc.syscall(ctypes.c_long(_OPENAT2), ctypes.c_int(root), path, how, ctypes.c_size_t(len(how)))
    if number < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), path)
    return int(number)


def _open_process(stack: ExitStack, pid: int, start_ticks: int) -> int:
    try:
        process = os.open(f"/proc/{pid}", os.O_PATH | os.O_DIRECTORY)
    except OSError as error:
        raise Elsewhere("the process that connected has ended") from error
    stack.callback(os.close, process)
    _require_alive(process, start_ticks)
    return process


def _require_alive(process: int, start_ticks: int) -> None:
    """A descriptor of /proc/PID is that process's for good: reads fail once it has ended (fs/proc/base.c)."""
    try:
        fields = _read(process, "stat").rpartition(b") ")[2].split()
    except OSError as error:
        if error.errno in (errno.ESRCH, errno.ENOENT):
            raise Elsewhere("the process that connected has ended") from error
        raise
    if int(fields[19]) != start_ticks:
        raise Elsewhere("the process that connected has ended")


def _groups(process: int, uid: int, gid: int) -> tuple[int, ...]:
    """Its supplementary groups, as long as it is still of the user that connected; else none."""
    lines = dict(line.partition(b":\t")[::2] for line in _read(process, "status").split(b"\n"))
    if (int(lines[b"Uid"].split()[0]), int(lines[b"Gid"].split()[0])) != (uid, gid):
        return ()
    return tuple(map(int, lines[b"Groups"].split()))


def _read(process: int, name: str) -> bytes:
    descriptor = os.open(name, os.O_RDONLY, dir_fd=process)
    with os.fdopen(descriptor, "rb") as file:
        return file.read()
