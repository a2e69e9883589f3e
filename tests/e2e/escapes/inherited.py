"""Escapes with sockets that were made, or connected, outside the guard."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import ring
from road import NONCE, PATIENCE_S, enter, escape, peer4, say, send_tcp

SYS_PIDFD_OPEN, SYS_PIDFD_GETFD = 434, 438
SIOCOUTQNSD = 0x894B
FILLING = b"\0" * 4096


def _connected(kind: socket.SocketKind) -> socket.socket:
    sock = socket.socket(socket.AF_INET, kind)
    sock.settimeout(PATIENCE_S)
    sock.connect(peer4())
    return sock


def _send(sock: socket.socket) -> None:
    sock.settimeout(PATIENCE_S)
    sock.send(NONCE)
    say("sent")


def _from_outside(make: socket.socket) -> socket.socket:
    """A socket that a process outside sends over a socketpair (SCM_RIGHTS) once we are inside."""
    ours, theirs = socket.socketpair()
    child = os.fork()
    if not child:
        theirs.recv(1)
        socket.send_fds(theirs, [b"x"], [make.fileno()])
        os._exit(0)
    make.close()
    theirs.close()
    enter()
    ours.send(b"x")
    _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
    os.waitpid(child, 0)
    return socket.socket(fileno=descriptors[0])


@escape("TCP socket made outside, connected inside")
def made_outside() -> None:
    sock = socket.socket()
    enter()
    send_tcp(sock, peer4())


@escape("TCP connected outside, used inside", outside=True)
def connected_outside() -> None:
    sock = _connected(socket.SOCK_STREAM)
    enter()
    _send(sock)


@escape("UDP connected outside, used inside")
def udp_connected_outside() -> None:
    sock = _connected(socket.SOCK_DGRAM)
    enter()
    _send(sock)


@escape("UDP socket made outside, sendto inside")
def udp_made_outside() -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    enter()
    sock.sendto(NONCE, peer4())
    say("sent")


@escape("raw socket made outside", needs="net")
def raw_made_outside() -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, 253)
    enter()
    sock.sendto(NONCE, (peer4()[0], 0))
    say("sent")


@escape("TCP socket received by SCM_RIGHTS, connected inside")
def received_unconnected() -> None:
    send_tcp(_from_outside(socket.socket()), peer4())


@escape("connected TCP socket received by SCM_RIGHTS", outside=True)
def received_connected() -> None:
    _send(_from_outside(_connected(socket.SOCK_STREAM)))


@escape("connected UDP socket received by SCM_RIGHTS")
def received_udp() -> None:
    _send(_from_outside(_connected(socket.SOCK_DGRAM)))


@escape("connected TCP socket inherited over fork and exec", needs="net", outside=True)
def inherited_over_exec() -> None:
    sock = _connected(socket.SOCK_STREAM)
    enter()
    make = f"socket.socket(fileno={sock.fileno()})"
    program = f"import socket; s = {make}; s.settimeout({PATIENCE_S}); s.send({NONCE!r}); print('sent')"
    command = [sys.executable, "-I", "-S", "-c", program]
    done = subprocess.run(command, pass_fds=[sock.fileno()], capture_output=True, text=True, check=False)
    say(done.stdout.strip() or done.stderr.strip().splitlines()[-1][:60])


@escape("connected TCP socket taken from a process outside (pidfd_getfd)", needs="net", outside=True)
def taken_by_pidfd() -> None:
    sock = _connected(socket.SOCK_STREAM)
    ours, theirs = socket.socketpair()
    child = os.fork()
    if not child:
        ours.close()
        theirs.recv(1)
        os._exit(0)
    number = sock.fileno()
    sock.close()
    enter()
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = libc.syscall(SYS_PIDFD_OPEN, child, 0)
    taken = libc.syscall(SYS_PIDFD_GETFD, pidfd, number, 0)
    if taken < 0:
        raise OSError(ctypes.get_errno(), "pidfd_getfd")
    try:
        _send(socket.socket(fileno=taken))
    finally:
        ours.send(b"x")
        os.waitpid(child, 0)


@escape("many payloads queued on a socket from outside, sent by acknowledgements", outside=True)
def queued_outside() -> None:
    sock = _connected(socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))
    enter()
    sock.settimeout(PATIENCE_S)
    for _ in range(50):
        sock.send(NONCE * 40)
    say("sent")


def _closed_window(room: int = 4 << 20) -> socket.socket:
    """Connected outside to a peer that does not read: its window is full, and there is room to queue more."""
    sock = _connected(socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, room)
    sock.setblocking(False)
    # What is queued but not sent yet, after the peer has had time to acknowledge all that it takes.
    while struct.unpack("i", fcntl.ioctl(sock, SIOCOUTQNSD, bytes(4)))[0] < len(FILLING):
        sock.send(FILLING)
        time.sleep(0.001)
    return sock


def _queue(send: Callable[[], object]) -> None:
    """Queue without a packet, then have the peer read: its acknowledgements send what is queued."""
    enter()
    send()
    say("drain")
    time.sleep(PATIENCE_S)
    say("queued")


@escape("queued behind a closed window, sent by the peer's acknowledgement", outside=True)
def window_closed() -> None:
    sock = _closed_window()
    _queue(lambda: sock.send(NONCE))


@escape("queued behind a closed window by a call that never returns", outside=True)
def window_closed_blocking() -> None:
    sock = _closed_window(256 << 10)

    def send() -> None:
        sock.setblocking(True)
        threading.Thread(target=lambda: sock.sendall(NONCE + bytes(2 << 20)), daemon=True).start()
        time.sleep(0.1)

    _queue(send)
    os._exit(0)


@escape("queued behind a closed window with io_uring", outside=True)
def window_closed_uring() -> None:
    sock = _closed_window()
    payload = ctypes.create_string_buffer(NONCE)
    _queue(lambda: ring.Ring().do(ring.OP_SEND, sock.fileno(), addr=ring.address_of(payload), length=len(NONCE)))


@escape("spliced from a pipe into a socket from outside", outside=True)
def spliced() -> None:
    sock = _connected(socket.SOCK_STREAM)
    enter()
    reader, writer = os.pipe()
    os.write(writer, NONCE)
    os.splice(reader, sock.fileno(), len(NONCE))
    say("spliced")


@escape("sendfile into a socket from outside, behind a closed window", outside=True)
def sendfile_outside() -> None:
    sock = _closed_window()
    file = os.memfd_create("payload")
    os.write(file, NONCE)
    _queue(lambda: os.sendfile(sock.fileno(), file, 0, len(NONCE)))


@escape("io_uring SEND on a socket from outside", outside=True)
def uring_outside() -> None:
    sock = _connected(socket.SOCK_STREAM)
    enter()
    payload = ctypes.create_string_buffer(NONCE)
    ring.Ring().do(ring.OP_SEND, sock.fileno(), addr=ring.address_of(payload), length=len(NONCE))
    say("sent")


@escape("connected UDP socket from outside, corked")
def udp_corked() -> None:
    sock = _connected(socket.SOCK_DGRAM)
    enter()
    sock.send(NONCE[:5], socket.MSG_MORE)
    sock.send(NONCE[5:])
    say("sent")


@escape("raw socket received by SCM_RIGHTS", needs="net")
def received_raw() -> None:
    sock = _from_outside(socket.socket(socket.AF_INET, socket.SOCK_RAW, 253))
    sock.sendto(NONCE, (peer4()[0], 0))
    say("sent")
