"""Sockets made inside another network namespace.

A thread enters the namespace, makes the sockets, ends: a socket stays in the namespace that it was made in, whoever uses it from
where. Python 3.11 has no ``os.setns``. It takes CAP_SYS_ADMIN.

Whatever is held here keeps the namespace alive after its last process: a descriptor of it, a socket in it. Whoever opens one is
to close it when the last guarded process is gone.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from .errors import KernelError

T = TypeVar("T")
CLONE_NEWNET = 0x40000000
BACKLOG = 1024

# include/uapi/linux/in6.h, sockios.h, if.h
_IPV6_FREEBIND = 78
_SIOCGIFFLAGS = 0x8913
_IFF_UP = 1
_IFREQ = struct.Struct("=16sH22x")


@dataclass(frozen=True, slots=True)
class OnLoopback:
    """Sockets of ours on the loopback addresses of one namespace."""

    sock4: socket.socket
    """On 127.0.0.1."""
    sock6: socket.socket | None
    """On ::1; None where the namespace has no IPv6: what would go there is refused."""

    @property
    def lo_up(self) -> bool:
        """The namespace's loopback device is up; while it is down, connects fail there (ENETUNREACH). Raises OSError."""
        answer = fcntl.ioctl(self.sock4, _SIOCGIFFLAGS, _IFREQ.pack(b"lo", 0))
        return bool(_IFREQ.unpack(answer)[1] & _IFF_UP)

    @property
    def closed(self) -> bool:
        """They were closed."""
        return self.sock4.fileno() < 0

    def close(self) -> None:
        """Close both; the kernel takes them out of its map when nobody else has a copy."""
        self.sock4.close()
        if self.sock6 is not None:
            self.sock6.close()


def identity(pid: int | str = "self") -> int | None:
    """The inode of a process's network namespace, by which it is compared; None when the process is gone.

    A number that is free comes again: it names a namespace only while something keeps that one alive.
    """
    try:
        return Path(f"/proc/{pid}/ns/net").stat().st_ino
    except OSError:
        return None


def opened(pid: int | str) -> int | None:
    """A descriptor of a process's network namespace, for the caller to close; None when the process is gone."""
    try:
        return os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESRCH):
            return None
        raise KernelError.of(error, f"process {pid}", "cannot open its network namespace") from error


def inside(namespace: int, work: Callable[[], T]) -> T:
    """What `work` returns, run in the namespace of this descriptor; raises what it raises, or KernelError when it can't enter."""
    results: list[T] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            _enter(namespace)
            results.append(work())
        except BaseException as error:  # handed to the caller below
            failures.append(error)

    thread = threading.Thread(target=run, name="hostguard-netns")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def listeners(namespace: int) -> OnLoopback:
    """Listening TCP sockets on free ports of 127.0.0.1 and ::1 in the namespace, non-blocking. Raises KernelError."""
    return _on_loopback(namespace, socket.SOCK_STREAM)


def resolvers(namespace: int) -> OnLoopback:
    """UDP sockets on free ports of 127.0.0.1 and ::1 in the namespace, non-blocking. Raises KernelError."""
    return _on_loopback(namespace, socket.SOCK_DGRAM)


def stream_socket(namespace: int, family: socket.AddressFamily) -> socket.socket:
    """A stream socket of the namespace, non-blocking, to dial from there. Raises KernelError, OSError."""

    def make() -> socket.socket:
        made = socket.socket(family, socket.SOCK_STREAM)
        made.setblocking(False)
        return made

    return inside(namespace, make)


def _enter(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, CLONE_NEWNET):
        raise KernelError(ctypes.get_errno(), "network namespace", "cannot be entered")


def _on_loopback(namespace: int, kind: socket.SocketKind) -> OnLoopback:
    try:
        return inside(namespace, lambda: _both(kind))
    except OSError as error:
        raise KernelError.of(error, "network namespace", "no socket of ours can be on its loopback") from error


def _both(kind: socket.SocketKind) -> OnLoopback:
    sock4 = _bound(socket.AF_INET, kind, "127.0.0.1")
    try:
        return OnLoopback(sock4, _bound6(kind))
    except OSError:
        sock4.close()
        raise


def _bound6(kind: socket.SocketKind) -> socket.socket | None:
    try:
        return _bound(socket.AF_INET6, kind, "::1")
    except OSError as error:
        if error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            return None
        raise


def _bound(family: socket.AddressFamily, kind: socket.SocketKind, host: str) -> socket.socket:
    sock = socket.socket(family, kind)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            # ::1 comes with the loopback device going up, which may be later than now.
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        sock.bind((host, 0))
        sock.setblocking(False)
        if kind == socket.SOCK_STREAM:
            sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock
