"""Two network namespaces joined by a cable, with an ear at the far end that hears every IP packet."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from guarded_cgroups import Namespace, in_namespace, network_namespace

NEAR4, FAR4 = "10.77.0.1", "10.77.0.2"
NEAR6, FAR6 = "fd77::1", "fd77::2"
ETH_P_ALL = 3
MARK = b"end of what was sent"


@dataclass
class Wire:
    """Addresses `NEAR4`, `NEAR6` on this side, `FAR4`, `FAR6` on the other; nothing leads out of the two."""

    near: Namespace
    far: Namespace
    ear: socket.socket

    def heard(self) -> list[bytes]:
        """The IP packets that came over the cable since the last call, in order.

        A mark that is sent behind them, from a socket of this process, says when all have come. What the kernel says by itself to
        find neighbours and groups is left out.
        """
        with in_namespace(self.near, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as marker:
            marker.sendto(MARK, (FAR4, 9))
        packets: list[bytes] = []
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            frame, origin = self.ear.recvfrom(65536)
            kind, packet = frame[12:14], frame[14:]
            if origin[2] == socket.PACKET_OUTGOING:
                continue
            if MARK in packet:
                return packets
            if kind == b"\x08\x00" and packet[9] not in (2,):
                packets.append(packet)
            if kind == b"\x86\xdd" and packet[6] not in (0, 58):
                packets.append(packet)
        raise AssertionError("the mark did not come")


@contextmanager
def wire() -> Iterator[Wire]:
    """A cable for the length of a block."""
    with network_namespace() as near, network_namespace() as far:
        near.run("ip", "link", "add", "near0", "type", "veth", "peer", "name", "far0", "netns", str(far.path))
        for namespace, device, v4, v6 in ((near, "near0", NEAR4, NEAR6), (far, "far0", FAR4, FAR6)):
            namespace.run("ip", "address", "add", f"{v4}/24", "dev", device)
            namespace.run("ip", "address", "add", f"{v6}/64", "dev", device, "nodad")
            namespace.run("ip", "link", "set", device, "up")
        near.run("sh", "-c", "echo 0 2147483647 > /proc/sys/net/ipv4/ping_group_range")
        near.run("ip", "route", "add", "default", "via", FAR4)
        far_mac = far_address(far)
        for host in (FAR4, FAR6):
            near.run("ip", "neighbour", "replace", host, "lladdr", far_mac, "dev", "near0")
        kind = socket.AF_PACKET
        with in_namespace(far, lambda: socket.socket(kind, socket.SOCK_RAW, socket.htons(ETH_P_ALL))) as ear:
            ear.bind(("far0", ETH_P_ALL))
            ear.settimeout(10)
            yield Wire(near, far, ear)


def far_address(far: Namespace) -> str:
    """The far end's hardware address, so that no neighbour has to be asked for."""
    link: str = json.loads(far.output("ip", "-json", "link", "show", "far0"))[0]["address"]
    return link
