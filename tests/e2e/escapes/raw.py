"""Escapes below the transport: raw and packet sockets, and families that no INET hook sees."""

from __future__ import annotations

import ctypes
import mmap
import os
import socket
import struct

from road import NONCE, device, enter, escape, peer4, peer6, say

ETH_P_IP = 0x0800
AF_XDP = 44


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data + b"\0" * (len(data) % 2)))
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


def _echo() -> bytes:
    head = struct.pack("!BBHHH", 8, 0, 0, 7, 7)
    return struct.pack("!BBHHH", 8, 0, _checksum(head + NONCE), 7, 7) + NONCE


def _datagram(destination: str) -> bytes:
    """An IPv4 packet with a UDP datagram in it."""
    source, port = socket.inet_aton(os.environ["ESCAPE_OWN4"]), peer4()[1]
    udp = struct.pack("!HHHH", port, port, 8 + len(NONCE), 0) + NONCE
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 7, 0, 64, 17, 0, source, socket.inet_aton(destination))
    return head[:10] + struct.pack("!H", _checksum(head)) + head[12:] + udp


@escape("ping socket (unprivileged ICMP)")
def ping() -> None:
    enter()
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
    sock.sendto(_echo(), (peer4()[0], 0))
    say("sent")


@escape("raw ICMP", needs="net")
def raw_icmp() -> None:
    enter()
    sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    sock.sendto(_echo(), (peer4()[0], 0))
    say("sent")


@escape("raw IPv6 with a protocol of one's own", needs="net")
def raw_ipv6() -> None:
    enter()
    sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW, 253)
    sock.sendto(NONCE, (peer6()[0], 0))
    say("sent")


@escape("raw socket with a header of one's own (IP_HDRINCL)", needs="net")
def raw_header() -> None:
    enter()
    sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    sock.sendto(_datagram(peer4()[0]), (peer4()[0], 0))
    say("sent")


@escape("raw socket with a lying header: 127.0.0.1, routed to the peer", needs="net")
def raw_lying_header() -> None:
    enter()
    sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    sock.sendto(_datagram("127.0.0.1"), (peer4()[0], 0))
    say("sent")


def _far_mac() -> bytes:
    return bytes.fromhex(os.environ["ESCAPE_PEER_MAC"].replace(":", ""))


@escape("packet socket, whole frame", needs="net")
def packet_frame() -> None:
    enter()
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    sock.bind((device(), 0))
    sock.send(_far_mac() + bytes(6) + struct.pack("!H", ETH_P_IP) + _datagram(peer4()[0]))
    say("sent")


@escape("packet socket, datagram", needs="net")
def packet_datagram() -> None:
    enter()
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
    sock.sendto(_datagram(peer4()[0]), (device(), ETH_P_IP, 0, 1, _far_mac()))
    say("sent")


def _made_by_i386(call: str, family: int, kind: int, protocol: int = 0) -> socket.socket:
    """A socket that int 0x80 has made, i386's way into the kernel, which any process of x86-64 may take."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40  # MAP_32BIT: its pointers have 32 bits
    words, code = mmap.mmap(-1, 4096, flags, 7), mmap.mmap(-1, 4096, flags, 7)
    words.write(struct.pack("<3I", family, kind, protocol))
    at = ctypes.addressof(ctypes.c_char.from_buffer(words))
    number, first, second, third = (359, family, kind, protocol) if call == "socket" else (102, 1, at, 0)
    registers = {b"\xb8": number, b"\xbb": first, b"\xb9": second, b"\xba": third}
    load = b"".join(move + struct.pack("<I", word) for move, word in registers.items())
    code.write(b"\x53" + load + b"\xcd\x80\x5b\xc3")
    made = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
    if made < 0:
        raise OSError(-made, os.strerror(-made))
    return socket.socket(fileno=made)


def _send_frame(sock: socket.socket) -> None:
    sock.bind((device(), 0))
    sock.send(_far_mac() + bytes(6) + struct.pack("!H", ETH_P_IP) + _datagram(peer4()[0]))
    say("sent")


@escape("packet socket by a call of 32 bits (int 0x80)", needs="net")
def packet_i386() -> None:
    enter()
    _send_frame(_made_by_i386("socket", socket.AF_PACKET, socket.SOCK_RAW))


@escape("packet socket by socketcall (int 0x80)", needs="net")
def packet_socketcall() -> None:
    enter()
    _send_frame(_made_by_i386("socketcall", socket.AF_PACKET, socket.SOCK_RAW))


@escape("vsock (made, never connected)", heard=False)
def vsock() -> None:
    enter()
    socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    say("made")


@escape("AF_XDP", needs="net", heard=False)
def xdp() -> None:
    enter()
    socket.socket(AF_XDP, socket.SOCK_RAW)
    say("made")
