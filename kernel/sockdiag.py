"""Ends sockets from outside: sock_diag(7)'s SOCK_DESTROY, in whatever network namespace a socket is.

pyroute2's DiagSocket can list but not destroy, so the one message is made here. The kernel needs CONFIG_INET_DIAG_DESTROY and
CAP_NET_ADMIN; it compares the socket's cookie, so that another socket with the same addresses is never hit.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
import threading

from .errors import KernelError
from .layouts import mapped_address

_NETLINK_SOCK_DIAG = 4
_SOCK_DESTROY = 21
_REQUEST_ACK = 0x1 | 0x4
_NLMSG_ERROR = 2
_SO_COOKIE = 57
_SIOCGSKNS = 0x894C
_CLONE_NEWNET = 0x40000000
_ALL_STATES = 0xFFFF_FFFF

_HEADER = struct.Struct("=IHHII")
# struct inet_diag_req_v2 (linux/inet_diag.h): family, protocol, ext, pad, states, then the socket's id.
_REQUEST = struct.Struct("=BBxxI")
_PORTS = struct.Struct("!HH")
_REST = struct.Struct("=16s16sIQ")


class Destroyer:
    """Holds a netlink socket for each network namespace that it had to do with; close it after use."""

    def __init__(self) -> None:
        self._diags: dict[int, socket.socket] = {}

    def destroy(self, sock: socket.socket) -> bool:
        """Abort the TCP connection or UDP association of `sock` (any copy of its descriptor); its user gets ECONNABORTED.

        False when it is gone already. Raises KernelError where the kernel can't do it (EOPNOTSUPP), OSError for a socket without
        a peer.
        """
        local, peer = sock.getsockname(), sock.getpeername()
        cookie = int.from_bytes(sock.getsockopt(socket.SOL_SOCKET, _SO_COOKIE, 8), "little")
        request = _REQUEST.pack(sock.family, sock.proto, _ALL_STATES) + _PORTS.pack(local[1], peer[1])
        request += _REST.pack(_address(sock, local[0]), _address(sock, peer[0]), 0, cookie)
        number = self._ask(self._diag(sock), request)
        if number == errno.ENOENT:
            return False
        if number:
            raise KernelError(number, f"{peer[0]}:{peer[1]}", "the socket can't be destroyed")
        return True

    def close(self) -> None:
        """Let go of the netlink sockets."""
        for diag in self._diags.values():
            diag.close()
        self._diags.clear()

    def _ask(self, diag: socket.socket, request: bytes) -> int:
        """The positive errno that the kernel answers with, 0 for done."""
        diag.send(_HEADER.pack(_HEADER.size + len(request), _SOCK_DESTROY, _REQUEST_ACK, 1, 0) + request)
        answer = diag.recv(8192)
        _, kind, _, _, _ = _HEADER.unpack_from(answer)
        if kind != _NLMSG_ERROR:
            raise KernelError(errno.EPROTO, "sock_diag", f"an answer of type {kind}")
        return -int(struct.unpack_from("=i", answer, _HEADER.size)[0])

    def _diag(self, sock: socket.socket) -> socket.socket:
        namespace = fcntl.ioctl(sock.fileno(), _SIOCGSKNS)
        try:
            key = os.fstat(namespace).st_ino
            if key not in self._diags:
                self._diags[key] = socket_in(namespace, socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG)
            return self._diags[key]
        finally:
            os.close(namespace)


def socket_in(namespace: int, family: int, kind: int, protocol: int = 0) -> socket.socket:
    """A socket of another network namespace, given its descriptor. Made by a thread that ends with it. Raises KernelError."""
    made: list[socket.socket | OSError] = []

    def make() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        try:
            if libc.setns(namespace, _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            made.append(socket.socket(family, kind, protocol))
        except OSError as error:
            made.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if isinstance(made[0], OSError):
        raise KernelError.of(made[0], "network namespace", "no socket can be made in it")
    return made[0]


def _address(sock: socket.socket, host: str) -> bytes:
    """As inet_diag has it: four bytes then zeros for IPv4."""
    return mapped_address(host)[12:].ljust(16, b"\0") if sock.family == socket.AF_INET else mapped_address(host)
