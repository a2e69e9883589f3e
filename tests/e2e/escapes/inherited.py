"""Escapes with sockets that were made, or connected, outside the guard."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import subprocess
import sys

from road import NONCE, PATIENCE_S, enter, escape, peer4, say, send_tcp

SYS_PIDFD_OPEN, SYS_PIDFD_GETFD = 434, 438


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
