"""Escapes over TCP and what looks like it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import socket
import struct
import threading

from road import NONCE, PATIENCE_S, device, enter, escape, mapped, peer4, peer6, say, send_tcp

TCP_FASTOPEN_CONNECT = 30
TCP_REPAIR, TCP_REPAIR_OFF_NO_PROBE = 19, -1
TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ, TCP_REPAIR_WINDOW = 20, 21, 29
RECEIVED, SENT = 1, 2
IPPROTO_MPTCP = 262
IPPROTO_SCTP = 132
SO_BINDTOIFINDEX = 62
IPV6_RTHDR = 57
IPV6_UNICAST_IF = 76
IP_UNICAST_IF = 50


def _fresh(family: socket.AddressFamily = socket.AF_INET, protocol: int = 0) -> socket.socket:
    enter()
    return socket.socket(family, socket.SOCK_STREAM, protocol)


@escape("TCP over IPv4")
def tcp4() -> None:
    send_tcp(_fresh(), peer4())


@escape("TCP over IPv6")
def tcp6() -> None:
    send_tcp(_fresh(socket.AF_INET6), peer6())


@escape("TCP to a v4-mapped address")
def tcp_mapped() -> None:
    send_tcp(_fresh(socket.AF_INET6), mapped())


@escape("non-blocking connect")
def tcp_nonblocking() -> None:
    sock = _fresh()
    sock.setblocking(False)
    failed = sock.connect_ex(peer4())
    if failed:
        select.select([], [sock], [], PATIENCE_S)
        failed = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if failed:
        raise OSError(failed, os.strerror(failed))
    sock.send(NONCE)
    say("connected and sent")


def _fast_open(family: socket.AddressFamily, peer: tuple[str, int]) -> None:
    sock = _fresh(family)
    sock.settimeout(PATIENCE_S)
    sock.sendto(NONCE, socket.MSG_FASTOPEN, peer)
    say("sent")


@escape("MSG_FASTOPEN over IPv4")
def tcp_fastopen4() -> None:
    _fast_open(socket.AF_INET, peer4())


@escape("MSG_FASTOPEN over IPv6")
def tcp_fastopen6() -> None:
    _fast_open(socket.AF_INET6, peer6())


@escape("TCP_FASTOPEN_CONNECT")
def tcp_fastopen_connect() -> None:
    sock = _fresh()
    sock.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
    send_tcp(sock, peer4())


@escape("connect again after connect(AF_UNSPEC)")
def tcp_reconnected() -> None:
    sock = _fresh()
    sock.settimeout(PATIENCE_S)
    with contextlib.suppress(OSError):
        sock.connect(peer4())
    ctypes.CDLL(None).connect(sock.fileno(), struct.pack("H14x", 0), 16)
    send_tcp(sock, peer4())


@escape("connect from a thread that is not the leader")
def tcp_thread() -> None:
    sock = _fresh()
    failures: list[OSError] = []

    def attempt() -> None:
        try:
            send_tcp(sock, peer4())
        except OSError as error:
            failures.append(error)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


@escape("socket bound to the host's own address")
def tcp_bound() -> None:
    sock = _fresh()
    sock.bind((os.environ["ESCAPE_OWN4"], 0))
    send_tcp(sock, peer4())


@escape("SO_BINDTODEVICE on TCP")
def tcp_device() -> None:
    sock = _fresh()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device().encode())
    send_tcp(sock, peer4())


@escape("SO_BINDTOIFINDEX on TCP over IPv6")
def tcp6_ifindex() -> None:
    sock = _fresh(socket.AF_INET6)
    sock.setsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX, socket.if_nametoindex(device()))
    send_tcp(sock, peer6())


@escape("IP_UNICAST_IF on TCP")
def tcp_unicast_if() -> None:
    sock = _fresh()
    sock.setsockopt(socket.IPPROTO_IP, IP_UNICAST_IF, struct.pack("!I", socket.if_nametoindex(device())))
    send_tcp(sock, peer4())


@escape("IPV6_UNICAST_IF on TCP")
def tcp6_unicast_if() -> None:
    sock = _fresh(socket.AF_INET6)
    sock.setsockopt(socket.IPPROTO_IPV6, IPV6_UNICAST_IF, struct.pack("!I", socket.if_nametoindex(device())))
    send_tcp(sock, peer6())


@escape("loose source route (IP_OPTIONS)", needs="net")
def tcp_source_route() -> None:
    sock = _fresh()
    hop = socket.inet_aton(peer4()[0])
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, bytes([131, 11, 4]) + hop + hop + b"\0")
    send_tcp(sock, peer4())


@escape("segment routing header (IPV6_RTHDR) on TCP")
def tcp6_routing_header() -> None:
    sock = _fresh(socket.AF_INET6)
    segment = socket.inet_pton(socket.AF_INET6, peer6()[0])
    # RFC 8754: next header, length in 8 bytes, type 4, segments left, last entry, flags, tag, segments in reverse order.
    header = struct.pack("!BBBBBBH", 0, 2, 4, 0, 0, 0, 0) + segment
    sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RTHDR, header)
    send_tcp(sock, peer6())


@escape("TCP_REPAIR: established without a handshake", needs="net")
def tcp_repair() -> None:
    sock = _fresh()
    sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    for queue in (RECEIVED, SENT):
        sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_QUEUE, queue)
        sock.setsockopt(socket.IPPROTO_TCP, TCP_QUEUE_SEQ, 1)
    sock.bind((os.environ["ESCAPE_OWN4"], 0))
    sock.settimeout(PATIENCE_S)
    sock.connect(peer4())
    # snd_wl1, snd_wnd, max_window, rcv_wnd, rcv_wup (struct tcp_repair_window): the peer has room, or nothing would be sent.
    sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_WINDOW, struct.pack("=5I", 0, 65535, 65535, 65535, 1))
    sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF_NO_PROBE)
    sock.send(NONCE)
    say("sent")


@escape("MPTCP over IPv4")
def mptcp4() -> None:
    send_tcp(_fresh(protocol=IPPROTO_MPTCP), peer4())


@escape("MPTCP over IPv6")
def mptcp6() -> None:
    send_tcp(_fresh(socket.AF_INET6, IPPROTO_MPTCP), peer6())


@escape("SCTP (this kernel may lack it)", heard=False)
def sctp() -> None:
    send_tcp(_fresh(protocol=IPPROTO_SCTP), peer4())


@escape("a peer dials in, the agent answers with data")
def tcp_dialled() -> None:
    """The harness connects to this port from the peer's side as soon as it is told of it."""
    sock = _fresh()
    sock.bind((os.environ["ESCAPE_OWN4"], 0))
    sock.listen()
    sock.settimeout(PATIENCE_S)
    say(f"listens {sock.getsockname()[1]}")
    connection, _ = sock.accept()
    connection.send(NONCE)
    say("answered")
