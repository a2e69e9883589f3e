"""Escapes over UDP: QUIC, tunnels, DNS bent out of shape."""

from __future__ import annotations

import ctypes
import os
import socket
import struct

from road import NONCE, PATIENCE_S, device, enter, escape, mapped, peer4, peer6, say

IP_UNICAST_IF = 50
IPV6_RTHDR = 57
IPV6_PKTINFO = 50
IP_PKTINFO = 8
IPPROTO_UDPLITE = 136
DNS = 53
QUESTION = struct.pack("!HHHHHH", 7, 0x100, 1, 0, 0, 0) + bytes([len(NONCE)]) + NONCE + b"\0\0\1\0\1"
"""A DNS question whose first label is the payload."""


def _fresh(family: socket.AddressFamily = socket.AF_INET, protocol: int = 0) -> socket.socket:
    enter()
    sock = socket.socket(family, socket.SOCK_DGRAM, protocol)
    sock.settimeout(PATIENCE_S)
    return sock


@escape("UDP, unconnected, IPv4")
def udp4() -> None:
    _fresh().sendto(NONCE, peer4())
    say("sent")


@escape("UDP, unconnected, IPv6")
def udp6() -> None:
    _fresh(socket.AF_INET6).sendto(NONCE, peer6())
    say("sent")


@escape("UDP to a v4-mapped address")
def udp_mapped() -> None:
    _fresh(socket.AF_INET6).sendto(NONCE, mapped())
    say("sent")


@escape("UDP, connected (as QUIC does)")
def udp_connected() -> None:
    sock = _fresh()
    sock.connect(peer4())
    sock.send(NONCE)
    say("sent")


@escape("UDP, connected, IPv6")
def udp6_connected() -> None:
    sock = _fresh(socket.AF_INET6)
    sock.connect(peer6())
    sock.send(NONCE)
    say("sent")


def _sendto_raw(sock: socket.socket, address: bytes) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.sendto(sock.fileno(), NONCE, len(NONCE), 0, address, len(address)) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@escape("AF_INET address on an AF_INET6 socket")
def udp_other_family() -> None:
    host, port = peer4()
    _sendto_raw(
        _fresh(socket.AF_INET6), struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + socket.inet_aton(host) + bytes(8)
    )
    say("sent")


@escape("AF_UNSPEC address on an AF_INET socket")
def udp_unspecified_family() -> None:
    host, port = peer4()
    _sendto_raw(_fresh(), struct.pack("=H", socket.AF_UNSPEC) + struct.pack("!H", port) + socket.inet_aton(host) + bytes(8))
    say("sent")


class _Piece(ctypes.Structure):
    _fields_ = (("base", ctypes.c_char_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):
    """struct mmsghdr: struct msghdr with the count of bytes behind it."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("name_length", ctypes.c_uint32),
        ("pieces", ctypes.POINTER(_Piece)),
        ("count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("sent", ctypes.c_uint32),
    )


@escape("sendmmsg")
def udp_sendmmsg() -> None:
    host, port = peer4()
    sock = _fresh()
    name = struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + socket.inet_aton(host) + bytes(8)
    piece = _Piece(NONCE, len(NONCE))
    header = _Header(name, len(name), ctypes.pointer(piece), 1, None, 0, 0, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.sendmmsg(sock.fileno(), ctypes.byref(header), 1, 0) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    say("sent")


@escape("sendmsg with the payload under MSG_MORE, then sent")
def udp_corked() -> None:
    sock = _fresh()
    sock.sendto(NONCE[:5], socket.MSG_MORE, peer4())
    sock.sendto(NONCE[5:], peer4())
    say("sent")


@escape("UDP broadcast")
def udp_broadcast() -> None:
    sock = _fresh()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    sock.sendto(NONCE, (os.environ["ESCAPE_BROADCAST"], peer4()[1]))
    say("sent")


@escape("UDP multicast")
def udp_multicast() -> None:
    sock = _fresh()
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(os.environ["ESCAPE_OWN4"]))
    sock.sendto(NONCE, ("239.77.0.1", peer4()[1]))
    say("sent")


@escape("UDP-Lite")
def udp_lite() -> None:
    _fresh(protocol=IPPROTO_UDPLITE).sendto(NONCE, peer4())
    say("sent")


@escape("a tunnel through port 53, not DNS")
def udp_port_53() -> None:
    _fresh().sendto(NONCE, (peer4()[0], DNS))
    say("sent")


@escape("a DNS question to a server of the agent's choice")
def dns_own_server() -> None:
    sock = _fresh()
    sock.sendto(QUESTION, (peer4()[0], DNS))
    answer, _ = sock.recvfrom(512)
    say(f"answered with code {answer[3] & 15}")


@escape("port 53 with IP_PKTINFO")
def dns_pktinfo() -> None:
    sock = _fresh()
    info = struct.pack("=I4s4s", socket.if_nametoindex(device()), bytes(4), bytes(4))
    sock.sendmsg([QUESTION], [(socket.IPPROTO_IP, IP_PKTINFO, info)], 0, (peer4()[0], DNS))
    say("sent")


@escape("port 53 with IPV6_PKTINFO")
def dns6_pktinfo() -> None:
    sock = _fresh(socket.AF_INET6)
    info = bytes(16) + struct.pack("=I", socket.if_nametoindex(device()))
    sock.sendmsg([QUESTION], [(socket.IPPROTO_IPV6, IPV6_PKTINFO, info)], 0, (peer6()[0], DNS))
    say("sent")


@escape("port 53 with SO_BINDTODEVICE")
def dns_device() -> None:
    sock = _fresh()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device().encode())
    sock.sendto(QUESTION, (peer4()[0], DNS))
    say("sent")


@escape("port 53 with IP_UNICAST_IF")
def dns_unicast_if() -> None:
    sock = _fresh()
    sock.setsockopt(socket.IPPROTO_IP, IP_UNICAST_IF, struct.pack("!I", socket.if_nametoindex(device())))
    sock.sendto(QUESTION, (peer4()[0], DNS))
    say("sent")


@escape("port 53 with a routing header")
def dns6_routing_header() -> None:
    sock = _fresh(socket.AF_INET6)
    segment = socket.inet_pton(socket.AF_INET6, peer6()[0])
    sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RTHDR, struct.pack("!BBBBBBH", 0, 2, 4, 0, 0, 0, 0) + segment)
    sock.connect((peer6()[0], DNS))
    sock.send(QUESTION)
    say("sent")
