"""Who is at the other end of the control socket."""

from __future__ import annotations

import pwd
import socket
import struct

from .web.sessions import Session


class Peer:
    """The process at the other end of the control socket."""

    __slots__ = ("gid", "pid", "session", "uid")

    def __init__(self, sock: socket.socket) -> None:
        self.session: Session | None = None
        """By which it says that it is somebody else than its uid says."""
        self.pid, self.uid, self.gid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))

    @property
    def provider(self) -> str:
        """Who vouches for its user; empty for the kernel, by the uid."""
        return self.session.provider if self.session is not None else ""

    @property
    def groups(self) -> tuple[str, ...]:
        """Those that its sign-in gives its user."""
        return self.session.groups if self.session is not None else ()


def unix_name(uid: int) -> str:
    """The name of a UNIX user; the number where the host has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
