"""The socket on which agents present tokens: who connects is told by the kernel, what they say is read by the verifier."""

from __future__ import annotations

import asyncio
import json
import os
import select
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from pathlib import Path

SO_PEERPIDFD = 77
"""include/uapi/asm-generic/socket.h, since Linux 6.5."""
BACKLOG = 64
MAX_WAITING = 64


class Peer:
    """The process that connected, until `close`."""

    def __init__(self, sock: socket.socket) -> None:
        """Raises OSError."""
        self.pid, self.uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        try:
            self._pidfd = sock.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD)
        except OSError:
            # An older kernel: it could be another process by now that has its number. That one's cgroup would then be bound to a
            # token which must be its own agent's.
            self._pidfd = os.pidfd_open(self.pid)

    @property
    def lives(self) -> bool:
        """Whether the number is still that process's, so that what was read of it is about it."""
        return not select.select([self._pidfd], [], [], 0)[0]

    def close(self) -> None:
        os.close(self._pidfd)


Admit = Callable[[Peer, socket.socket], Awaitable[str]]
"""Takes the connection of an agent over; or says why not, and leaves it."""


class Door:
    """Accepts, reads nothing."""

    def __init__(self, admit: Admit) -> None:
        self._admit = admit
        self._sock: socket.socket | None = None
        self._works: set[asyncio.Task[None]] = set()

    def listen(self, path: Path) -> None:
        """Raises OSError."""
        path.unlink(missing_ok=True)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.bind(str(path))
        # Everybody may connect; what comes of it depends on who that is.
        path.chmod(0o666)
        sock.setblocking(False)
        sock.listen(BACKLOG)
        self._sock = sock
        asyncio.get_running_loop().add_reader(sock.fileno(), self._accept)

    def close(self) -> None:
        """Accept no more."""
        if self._sock is not None:
            asyncio.get_running_loop().remove_reader(self._sock.fileno())
            self._sock.close()
            self._sock = None
        for task in self._works:
            task.cancel()

    def _accept(self) -> None:
        assert self._sock is not None
        try:
            sock, _ = self._sock.accept()
        except OSError:
            return  # gone again, or no descriptor is free: the next turn tries
        sock.setblocking(False)
        if len(self._works) >= MAX_WAITING:
            sock.close()
            return
        task = asyncio.get_running_loop().create_task(self._receive(sock))
        self._works.add(task)
        task.add_done_callback(self._works.discard)

    async def _receive(self, sock: socket.socket) -> None:
        with closing(sock):
            try:
                peer = Peer(sock)
            except OSError:
                return
            with closing(peer):
                if error := await self._admit(peer, sock):
                    # Not waited for: it is one line, and who does not read it is not worth it.
                    with suppress(OSError):
                        sock.send(json.dumps({"error": error}).encode() + b"\n")
