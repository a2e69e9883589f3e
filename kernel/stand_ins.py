"""Listeners of ours that stand for the UNIX sockets of others."""

from __future__ import annotations

import os
import secrets
import socket
import stat
import struct
from collections.abc import Callable, Sequence
from typing import TypeVar

from . import netns
from .acting import Credentials, acting_as
from .layouts import STAND_IN_LETTERS, STAND_IN_PREFIX
from .reach import on_host

BACKLOG = 1024
SENT_AT_ONCE = 250
"""Descriptors in one message: SCM_MAX_FD is 253 (unix(7))."""
T = TypeVar("T")
_CREDENTIALS = struct.Struct("=iII")


def new_name() -> bytes:
    """A name for a stand-in, which nobody can foretell."""
    return STAND_IN_PREFIX + secrets.token_hex(STAND_IN_LETTERS // 2).encode()


class StandIn:
    """One listener. Its name is abstract: no mount and no chroot leads it elsewhere; a network namespace has names of its own.

    Whoever connects sees the credentials of whoever called listen() (SO_PEERCRED, unix(7)); libpq's `requirepeer` asks for them.
    So it listens as the server's user.
    """

    def __init__(self, address: bytes, name: bytes, namespace: int | None = None) -> None:
        """Listen for what is meant for `address`, as connect(2) takes it, under `name`, one of `new_name`.

        namespace: a descriptor of another network namespace than ours to do so in; it is the caller's, and is used for as long as
        this is open. EADDRINUSE when somebody has taken the name there. Raises OSError, KernelError.
        """
        self.address = address
        self.name = name
        self._namespace = namespace
        self.sock = self._socket()
        self.shown = (-1, -1)
        """User and group id that processes see at its other end."""
        try:
            self.sock.bind(name)
            self.show(*(self.server() or (os.geteuid(), os.getegid())))
        except BaseException:
            self.sock.close()
            raise

    def server(self) -> tuple[int, int] | None:
        """User and group id of whoever serves at the address now; None when nobody can be told. Raises KernelError.

        Of an abstract name at once; of a path it may wait for a disk.
        """
        if not self.address.startswith(b"\0"):
            return owner_of(self.address)
        with self._socket() as probe:
            try:
                probe.connect(self.address)
            except OSError:
                return None
            return peer_of(probe)

    def show(self, uid: int, gid: int) -> None:
        """Have processes that connect from now on see these. listen() of a listening socket renews them."""
        if (uid, gid) != self.shown:
            acting_as(Credentials(uid, gid), lambda: self.sock.listen(BACKLOG))
            self.shown = uid, gid

    @property
    def closed(self) -> bool:
        """It listens no more."""
        return self.sock.fileno() < 0

    def _socket(self) -> socket.socket:
        return _made(self._namespace, lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))

    def close(self) -> None:
        """Stop listening."""
        self.sock.close()


def voucher_for(listeners: Sequence[socket.socket], namespace: int | None = None) -> socket.socket:
    """A socket that holds the listeners in its queue, so that none of them is gone before it is, however its process ends.

    It is made in the listeners' network namespace: `namespace` is a descriptor of another one than ours.

    The kernel takes a socket out of its maps before it lets go of what waits in its queue (unix_release in net/unix/af_unix.c).
    Raises OSError, KernelError.
    """
    held, other = _made(namespace, lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM))
    try:
        with other:
            numbers = [sock.fileno() for sock in listeners]
            for start in range(0, len(numbers), SENT_AT_ONCE):
                socket.send_fds(other, [b"\0"], numbers[start : start + SENT_AT_ONCE])
    except BaseException:
        held.close()
        raise
    return held


def peer_of(sock: socket.socket) -> tuple[int, int]:
    """User and group id of whoever listens, or connected, at the other end (SO_PEERCRED, unix(7))."""
    _, uid, gid = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return uid, gid


def owner_of(path: bytes) -> tuple[int, int] | None:
    """Who serves at a path: the owner of the socket's file, which bind() made; None when there is none."""
    try:
        facts = on_host(path)
    except OSError:
        return None
    return (facts.st_uid, facts.st_gid) if stat.S_ISSOCK(facts.st_mode) else None


def _made(namespace: int | None, make: Callable[[], T]) -> T:
    return make() if namespace is None else netns.inside(namespace, make)
