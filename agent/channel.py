"""The line from a worker to its supervisor: whole messages, in order, bounded, with a socket if need be.

One SOCK_SEQPACKET pair for each worker (unix(7)): the kernel keeps packets apart, so a descriptor comes with the very message
that it was sent with. A message that is longer than a packet goes in several, each behind one byte that says whether more
follows.

Neither end waits for the other. What the kernel does not take is queued up to a limit; an end that lets the queue grow beyond
it counts as dead, as does one that sends a message that is too long.
"""

from __future__ import annotations

import array
import asyncio
import collections
import errno
import socket
from collections.abc import Callable
from typing import Final

import msgspec

PACKET_BYTES: Final = 32 * 1024
_LAST: Final = b"\0"
_MORE: Final = b"\1"
_PACKETS_AT_ONCE: Final = 64
"""After so many the event loop gets its turn, whatever the other end sends."""
_GONE: Final = (errno.EPIPE, errno.ECONNRESET)
_ONE_FD: Final = array.array("i", [0]).itemsize


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends; neither is inherited unless somebody says so."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


class Halfway(msgspec.Struct, frozen=True):
    """What an end has in its hands while it is handed over: all else is in the kernel's socket."""

    sock: int
    """Its descriptor."""
    parts: tuple[bytes, ...]
    """Of a message that has not come whole."""
    queue: tuple[tuple[bytes, int], ...]
    """Packets that have not been sent, each with the descriptor of the socket that goes along, or -1."""

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Those that have to stay open across the change."""
        return (self.sock, *(passed for _, passed in self.queue if passed >= 0))


class Channel:
    """One end."""

    def __init__(
        self,
        sock: socket.socket,
        on_message: Callable[[bytes, socket.socket | None], None],
        on_end: Callable[[str], None],
        *,
        takes_sockets: bool,
        max_message_bytes: int,
        max_queued_bytes: int,
    ) -> None:
        """`on_end`: called once, when the other end broke a rule, with which one, or is gone, with ""; not after `close`.

        `takes_sockets`: whether the other end may send some. Where it may not, the kernel throws them away.
        """
        sock.setblocking(False)
        self._sock = sock
        self._on_message = on_message
        self._on_end = on_end
        self._takes_sockets = takes_sockets
        self._max_message_bytes = max_message_bytes
        self._max_queued_bytes = max_queued_bytes
        self._parts: list[bytes] = []
        self._size = 0
        self._queue: collections.deque[tuple[bytes, socket.socket | None]] = collections.deque()
        self._queued_bytes = 0
        self._open = True
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock.fileno(), self._readable)

    def send(self, message: bytes, passed: socket.socket | None = None) -> None:
        """Send, or queue. `passed` is the other end's from here on: it is closed here. Nothing goes out after the end."""
        if not self._open:
            if passed is not None:
                passed.close()
            return
        chunks = [message[at : at + PACKET_BYTES] for at in range(0, len(message), PACKET_BYTES)] or [b""]
        for chunk in chunks[:-1]:
            self._queue.append((_MORE + chunk, None))
        self._queue.append((_LAST + chunks[-1], passed))
        idle = not self._queued_bytes
        self._queued_bytes += len(message) + len(chunks)
        if idle:
            self._writable()
            if self._queue and self._open:
                self._loop.add_writer(self._sock.fileno(), self._writable)
        if self._queued_bytes > self._max_queued_bytes:
            self._end(f"it does not take what is sent to it ({self._queued_bytes} bytes wait)")

    def halfway(self) -> Halfway:
        """Let go of the socket, for a successor that `resume`s. Nothing more is heard or sent here."""
        self._open = False
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        queue = tuple((packet, -1 if passed is None else passed.detach()) for packet, passed in self._queue)
        return Halfway(self._sock.detach(), tuple(self._parts), queue)

    def resume(self, left: Halfway) -> None:
        """Go on where another end of the same socket stopped; before anything is sent or heard."""
        self._parts = list(left.parts)
        self._size = sum(len(part) + 1 for part in left.parts)
        for packet, passed in left.queue:
            self._queue.append((packet, socket.socket(fileno=passed) if passed >= 0 else None))
            self._queued_bytes += len(packet)
        if self._queue:
            self._loop.add_writer(self._sock.fileno(), self._writable)

    def close(self) -> None:
        """Close this end; what is queued is not sent."""
        if not self._open:
            return
        self._open = False
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        for _, passed in self._queue:
            if passed is not None:
                passed.close()
        self._queue.clear()
        self._sock.close()

    def _end(self, reason: str) -> None:
        if self._open:
            self.close()
            self._on_end(reason)

    def _writable(self) -> None:
        while self._queue:
            packet, passed = self._queue[0]
            rights = [] if passed is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [passed.fileno()]))]
            try:
                self._sock.sendmsg([packet], rights)
            except BlockingIOError:
                return
            except OSError as error:
                self._end("" if error.errno in _GONE else f"its channel is broken: {error.strerror}")
                return
            self._queue.popleft()
            self._queued_bytes -= len(packet)
            if passed is not None:
                passed.close()
        self._loop.remove_writer(self._sock.fileno())

    def _readable(self) -> None:
        for _ in range(_PACKETS_AT_ONCE):
            try:
                packet, passed = self._receive()
            except BlockingIOError:
                return
            except OSError as error:
                self._end("" if error.errno in _GONE else f"its channel is broken: {error.strerror}")
                return
            if not packet:
                self._end("")
                return
            self._parts.append(packet[1:])
            self._size += len(packet)
            if self._size > self._max_message_bytes:
                self._end(f"it sent a message of more than {self._max_message_bytes} bytes")
            elif packet[:1] == _LAST:
                message = b"".join(self._parts)
                self._parts, self._size = [], 0
                self._on_message(message, passed)
            if not self._open:
                return

    def _receive(self) -> tuple[bytes, socket.socket | None]:
        if not self._takes_sockets:
            return self._sock.recv(PACKET_BYTES + 1), None
        packet, ancillary, _, _ = self._sock.recvmsg(PACKET_BYTES + 1, socket.CMSG_SPACE(_ONE_FD))
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                return packet, socket.socket(fileno=array.array("i", data)[0])
        return packet, None
