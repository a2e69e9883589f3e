"""Listeners of ours that stand for the UNIX sockets of others."""

from __future__ import annotations

import os
import secrets
import socket
import stat
import struct
from collections.abc import Sequence

from .acting import Credentials, acting_as
from .layouts import STAND_IN_LETTERS, STAND_IN_PREFIX
from .reach import on_host

BACKLOG = 1024
SENT_AT_ONCE = 250
"""Descriptors in one message: SCM_MAX_FD is 253 (unix(7))."""
PROBE_S = 0.2
_CREDENTIALS = struct.Struct("=iII")


class StandIn:
    """One listener. Its name is abstract: no mount and no chroot leads it elsewhere; a network namespace has names of its own.

    Whoever connects sees the credentials of whoever called listen() (SO_PEERCRED, unix(7)); libpq's `requirepeer` asks for them.
    So it listens as the server's user.
    """

    def __init__(self, address: bytes) -> None:
        """Listen for what is meant for `address`, as connect(2) takes it. Raises OSError, KernelError."""
        self.address = address
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self.sock.bind(STAND_IN_PREFIX + secrets.token_hex(STAND_IN_LETTERS // 2).encode())
        self.name: bytes = self.sock.getsockname()
        self.shown = (-1, -1)
        """User and group id that processes see at its other end."""
        self.refresh()
        if self.shown == (-1, -1):
            self.show(os.geteuid(), os.getegid())

    def refresh(self) -> None:
        """Show the user of the server that is there now; the one before where none is. Raises KernelError."""
        owner = _owner(self.address)
        if owner is not None:
            self.show(*owner)

    def show(self, uid: int, gid: int) -> None:
        """Have processes that connect from now on see these. listen() of a listening socket renews them."""
        if (uid, gid) != self.shown:
            acting_as(Credentials(uid, gid), lambda: self.sock.listen(BACKLOG))
            self.shown = uid, gid

    def close(self) -> None:
        """Stop listening."""
        self.sock.close()


def voucher_for(listeners: Sequence[socket.socket]) -> socket.socket:
    """A socket that holds the listeners in its queue, so that none of them is gone before it is, however its process ends.

    The kernel takes a socket out of its maps before it lets go of what waits in its queue (unix_release in net/unix/af_unix.c).
    Raises OSError.
    """
    held, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
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


def _owner(address: bytes) -> tuple[int, int] | None:
    """Who serves there: the owner of the file, which bind() made; None when nobody can be told."""
    if not address.startswith(b"\0"):
        try:
            facts = on_host(address)
        except OSError:
            return None
        return (facts.st_uid, facts.st_gid) if stat.S_ISSOCK(facts.st_mode) else None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE_S)
        try:
            probe.connect(address)
        except OSError:
            return None
        return peer_of(probe)
