"""Flows as a capture file, made up from the log: it opens in Wireshark as PostgreSQL.

Of what was encrypted between its two ends no bytes are on record, so none are made up: such a flow has its two handshakes of TCP.

hostguard records operations, not packets. So Ethernet, IP and TCP are made up (handshake, sequence numbers, checksums, segments
of at most `SEGMENT_BYTES`), each operation stands by itself with a Sync, and replies are what was captured, or what the summaries
tell. Every packet that begins an operation or a reply has a comment with the log's position. Addresses, ports and times are those
on record.

Blocks: draft-ietf-opsawg-pcapng (Section Header §4.1, Interface Description §4.2, Enhanced Packet §4.3), written here because
scapy's writer takes a file name only, and rounds times to microseconds.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..entry import FlowRefused, Session
from ..exchanges import Exchange, History
from ..filters import label
from . import postgres_messages as messages

SEGMENT_BYTES = 1440
"""An Ethernet frame of 1500 bytes less IPv6's and TCP's headers."""
ENCRYPTED = "tls"
"""Protocol of a flow whose bytes nobody has read."""
_SEQUENCE = 1 << 32
_ETHERNET = 1
_CLIENT_MAC, _SERVER_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"  # locally administered (IEEE 802 §8.4)
_UNKNOWN = ("0.0.0.0", 0)
_UNIX = "unix:"
_POSTGRES, _EPHEMERAL = 5432, 49152


def header() -> bytes:
    """The blocks that a file begins with: one section, one interface with times in nanoseconds."""
    section = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + _option(4, b"hostguard") + _option(0, b"")
    interface = struct.pack("<HHI", _ETHERNET, 0, 0) + _option(9, b"\x09") + _option(0, b"")
    return _block(0x0A0D0D0A, section) + _block(1, interface)


def packets(found: History) -> Iterator[bytes]:
    """The flow's packets as Enhanced Packet blocks, to follow `header`; in order of time."""
    link = _Link(*_of_one_family(_address(found.opened.source), _address(found.opened.destination)))
    begun_ns = found.opened.wall_ns
    if isinstance(found.opened, FlowRefused):
        yield link.bare(False, "S", begun_ns, f"entry {found.index}: refused")
        yield link.bare(True, "RA", begun_ns)
        return
    yield link.bare(False, "S", begun_ns, f"entry {found.index}: flow of {found.opened.agent}")
    yield link.bare(True, "SA", begun_ns)
    yield link.bare(False, "A", begun_ns)
    last_ns = begun_ns
    for at_ns, from_server, data, comment in _turns(found):
        last_ns = max(last_ns, at_ns)  # The wall clock may step; a capture that goes back reads as retransmissions.
        yield from link.send(from_server, data, last_ns, comment)
    if found.closed is not None:
        last_ns = max(last_ns, found.closed.wall_ns)
        if found.opened.protocol != ENCRYPTED:
            yield from link.send(False, messages.TERMINATE, last_ns, "flow.close")
        yield link.bare(False, "FA", last_ns)
        yield link.bare(True, "FA", last_ns)
        yield link.bare(False, "A", last_ns)


def _turns(found: History) -> list[tuple[int, bool, bytes, str]]:
    """(wall time, from the server, bytes, comment) in the order in which they were said."""
    turns: list[tuple[int, bool, bytes, str]] = []
    if found.opened.protocol == ENCRYPTED:
        return turns
    for item in found.items:
        if isinstance(item, Exchange):
            turns += _exchange(item)
        elif isinstance(item[1], Session):
            turns.append((item[1].wall_ns, False, messages.startup(item[1]), f"entry {item[0]}: session"))
            turns.append((item[1].wall_ns, True, messages.AUTHENTICATION_OK + messages.READY, "authentication is not recorded"))
    # Stable: what was asked and answered at one time stays in that order.
    return sorted(turns, key=lambda turn: turn[0])


def _exchange(exchange: Exchange) -> Iterator[tuple[int, bool, bytes, str]]:
    operation = exchange.operation
    verdicts = ", then ".join(label(decision) for _, decision in exchange.decisions) or "undecided"
    yield operation.wall_ns, False, messages.request(operation), f"entry {exchange.index}: {operation.form}: {verdicts}"
    said = messages.reply(exchange)
    if said:
        last = exchange.reply or exchange.withdrawn or exchange.decision or operation
        source = "rows as the agent got them" if exchange.captured else "from its summary"
        if exchange.captured and exchange.captured.left_out:
            source += f", without the last {exchange.captured.left_out} bytes"
        yield last.wall_ns, True, said, f"reply to entry {exchange.index}, {source}"


@dataclass(slots=True)
class _Link:
    """The TCP connection between two addresses."""

    client: tuple[str, int]
    server: tuple[str, int]
    next: dict[bool, int] = field(default_factory=lambda: {False: 1000, True: 5000})
    """Next sequence number of each side; True is the server."""

    def send(self, from_server: bool, data: bytes, at_ns: int, comment: str) -> Iterator[bytes]:
        """Data in segments; the last one is pushed."""
        for start in range(0, len(data), SEGMENT_BYTES):
            piece = data[start : start + SEGMENT_BYTES]
            last = start + SEGMENT_BYTES >= len(data)
            yield self._packet(from_server, "PA" if last else "A", piece, at_ns, comment if start == 0 else "")

    def bare(self, from_server: bool, flags: str, at_ns: int, comment: str = "") -> bytes:
        """A segment without data."""
        return self._packet(from_server, flags, b"", at_ns, comment)

    def _packet(self, from_server: bool, flags: str, data: bytes, at_ns: int, comment: str) -> bytes:
        source, target = (self.server, self.client) if from_server else (self.client, self.server)
        ack = self.next[not from_server] if "A" in flags else 0
        raw = _frame(source, target, from_server, flags, self.next[from_server], ack, data)
        self.next[from_server] = (self.next[from_server] + len(data) + ("S" in flags or "F" in flags)) % _SEQUENCE
        stamp = struct.pack("<IIIII", 0, at_ns >> 32, at_ns & 0xFFFFFFFF, len(raw), len(raw))
        options = _option(1, comment.encode()) + _option(0, b"") if comment else b""
        return _block(6, stamp + _padded(raw) + options)


def _frame(
    source: tuple[str, int], target: tuple[str, int], from_server: bool, flags: str, sequence: int, ack: int, data: bytes
) -> bytes:
    """Ethernet, IP and TCP around the data; scapy fills in lengths and checksums."""
    from scapy.layers.inet import IP, TCP  # slow to import, and only captures need it
    from scapy.layers.inet6 import IPv6
    from scapy.layers.l2 import Ether

    macs = (_SERVER_MAC, _CLIENT_MAC) if from_server else (_CLIENT_MAC, _SERVER_MAC)
    internet: Any = IPv6 if ":" in source[0] else IP
    packet = (
        Ether(src=macs[0], dst=macs[1])
        / internet(src=source[0], dst=target[0])
        / TCP(sport=source[1], dport=target[1], flags=flags, seq=sequence, ack=ack, window=65535)
    )
    return bytes(packet / data) if data else bytes(packet)


def _address(text: str) -> tuple[str, int]:
    """A capture has no UNIX sockets: one stands as loopback, a server's with PostgreSQL's port, a client's with another."""
    host, _, port = text.rpartition(":")
    if text.startswith(_UNIX):
        return "127.0.0.1", _EPHEMERAL + int(port) % (0x10000 - _EPHEMERAL) if port.isdigit() else _POSTGRES
    return (host.strip("[]"), int(port)) if host and port.isdigit() else _UNKNOWN


def _of_one_family(client: tuple[str, int], server: tuple[str, int]) -> tuple[tuple[str, int], tuple[str, int]]:
    """Where one end is known by IPv6 only, the other's IPv4 address is mapped (RFC 4291 §2.5.5.2)."""
    if (":" in client[0]) == (":" in server[0]):
        return client, server
    four, six = (server, client) if ":" in client[0] else (client, server)
    mapped = (f"::ffff:{four[0]}", four[1])
    return (six, mapped) if six is client else (mapped, six)


def _block(kind: int, body: bytes) -> bytes:
    size = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + size + body + size


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
