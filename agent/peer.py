"""Who is at the other end of the control socket."""

from __future__ import annotations

import socket
import struct


class Peer:
    """The process at the other end of the control socket."""

    __slots__ = ("gid", "pid", "uid")

    def __init__(self, sock: socket.socket) -> None:
        self.pid, self.uid, self.gid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
