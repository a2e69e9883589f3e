"""Two network namespaces with a cable between: the guard and its agents in one, a peer that hears every frame in the other."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from guarded_cgroups import Namespace, network_namespace

RUNNER = Path(__file__).with_name("perform.py")
OWN4, PEER4, BROADCAST = "10.77.0.1", "10.77.0.2", "10.77.0.255"
OWN6, PEER6 = "fd77::1", "fd77::2"
NEAR, FAR = "hg-near", "hg-far"
NEAR_MAC, FAR_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
PORT = 7070
PAYLOAD = b"hostguard-escape"
MARK = "with payload"
SENTINEL = b"hostguard-sentinel"
SENTINEL_PORT = 7071
ETH_P_ALL = 3
ARP, IPV4, IPV6 = 0x0806, 0x0800, 0x86DD
PACKET_OUTGOING = 4
SO_RCVBUFFORCE = 33
# What a host says of its own accord: neighbour discovery, router solicitation (RFC 4861), MLD (RFC 2710, RFC 3810).
HOUSEKEEPING6 = {130, 131, 132, 133, 134, 135, 136, 137, 143}
IGMP, HOP_BY_HOP, ICMPV6, TCP, UDP = 2, 0, 58, 6, 17
PROGRAM_LIMIT_S = 20
CAPABILITIES = "-all,+net_raw,+net_admin,+sys_ptrace,+setuid,+setgid,+dac_override"
"""What a container's root may have at most; more than this can undo any guard."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one run of an escape went."""

    saw: str
    """The program's own words, or how it ended."""
    heard: tuple[str, ...]
    """Packets that reached the peer, a few words each; those with the payload in them are marked."""

    @property
    def payload(self) -> bool:
        """Whether the payload, or a piece of it, was among them."""
        return any(words.endswith(MARK) for words in self.heard)


class Arena:
    """The namespaces, the peer's ears, a way to run escapes."""

    def __init__(self, agents: Namespace, peer: Namespace, folder: Path) -> None:
        self.agents = agents
        self._peer = peer
        self._folder = folder
        self.resource = folder / "resource"
        """Path of a UNIX socket that some escapes serve at."""
        self._ears = peer.make_socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._ears.bind((FAR, 0))
        self._ears.settimeout(5)
        # Some escapes send much, and the sentinel comes behind it all.
        self._ears.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self._open = [self._listener(socket.AF_INET, PEER4), self._listener(socket.AF_INET6, PEER6)]
        self._open += [self._datagrams(socket.AF_INET, PEER4), self._datagrams(socket.AF_INET6, PEER6)]
        self._voice = agents.make_socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._quiet()

    def _listener(self, family: socket.AddressFamily, host: str) -> socket.socket:
        sock = self._peer.make_socket(family, socket.SOCK_STREAM)
        sock.bind((host, PORT))
        sock.listen(128)
        return sock

    def _datagrams(self, family: socket.AddressFamily, host: str) -> socket.socket:
        sock = self._peer.make_socket(family, socket.SOCK_DGRAM)
        sock.bind((host, PORT))
        return sock

    def close(self) -> None:
        """Close the ears with all else."""
        for sock in (self._ears, self._voice, *self._open):
            sock.close()

    def attempt(
        self, name: str, needs: str, cgroups: tuple[Path, Path] | None, loop_port: str = "", stand_in: str = ""
    ) -> Attempt:
        """Run an escape, from the first cgroup into the guarded second one, or (None) unguarded.

        loop_port, stand_in: where the loop listens, or did, for what goes to the peer and for `resource`. Returns once the peer
        has heard all there is to hear.
        """
        outside, inside = cgroups or ("", "")
        environment = {
            "PATH": os.environ["PATH"],
            "ESCAPE_PEER4": PEER4,
            "ESCAPE_PEER6": PEER6,
            "ESCAPE_PORT": str(PORT),
            "ESCAPE_OWN4": OWN4,
            "ESCAPE_BROADCAST": BROADCAST,
            "ESCAPE_DEVICE": NEAR,
            "ESCAPE_PEER_MAC": FAR_MAC,
            "ESCAPE_FOLDER": str(self._folder),
            "ESCAPE_NEEDS": needs,
            "ESCAPE_OUTSIDE": str(outside),
            "ESCAPE_CGROUP": str(inside),
            "ESCAPE_LOOP_PORT": loop_port,
            "ESCAPE_STAND_IN": stand_in,
            "ESCAPE_RESOURCE": str(self.resource),
        }
        command = [
            "nsenter",
            f"--net={self.agents.path}",
            "setpriv",
            f"--bounding-set={CAPABILITIES}",
            f"--inh-caps={CAPABILITIES}",
        ]
        command += [sys.executable, "-I", "-S", str(RUNNER), name]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
            saw = self._follow(program)
        return Attempt(saw, self._quiet())

    def _follow(self, program: subprocess.Popen[str]) -> str:
        assert program.stdout is not None
        saw = ""
        line = program.stdout.readline().strip()
        if line.startswith("listens "):
            self._dial(int(line.split()[1]))
        if line == "drain":
            self._drain()
        out, errors = program.communicate(timeout=PROGRAM_LIMIT_S)
        saw = (line + "\n" + out).strip().splitlines()[-1] if line or out.strip() else ""
        if program.returncode < 0:
            return f"killed by signal {-program.returncode}"
        return saw or f"exit {program.returncode}: " + errors.strip()[-300:]

    def _dial(self, port: int) -> None:
        """Connect from the peer's side, as an accomplice out there would."""
        with self._peer.make_socket(socket.AF_INET, socket.SOCK_STREAM) as caller:
            caller.settimeout(1)
            try:
                caller.connect((OWN4, port))
                caller.recv(100)
            except OSError:
                return

    def _drain(self) -> None:
        """Read what connections have brought, so that their windows open."""
        listener = self._open[0]
        listener.setblocking(False)
        while True:
            try:
                accepted, _ = listener.accept()
            except BlockingIOError:
                return
            with accepted:
                accepted.settimeout(0.2)
                with suppress(OSError):
                    while accepted.recv(1 << 20):
                        pass

    def _quiet(self) -> tuple[str, ...]:
        """What has arrived, up to a packet of the harness's own that is sent now."""
        self._voice.sendto(SENTINEL, (PEER4, SENTINEL_PORT))
        heard: list[str] = []
        while True:
            frame, address = self._ears.recvfrom(65535)
            if SENTINEL in frame and address[2] != PACKET_OUTGOING:
                return tuple(heard)
            if address[2] != PACKET_OUTGOING and (words := described(frame)):
                heard.append(f"{words} {MARK}" if PAYLOAD in frame else words)


def described(frame: bytes) -> str:
    """A packet in a few words; empty for what a host says of its own accord, and for answers to a connection from the peer."""
    kind = struct.unpack_from("!H", frame, 12)[0]
    packet = frame[14:]
    if kind == ARP:
        return ""
    if kind == IPV4 and len(packet) >= 20:
        return _transport(packet[9], socket.inet_ntop(socket.AF_INET, packet[16:20]), packet[(packet[0] & 15) * 4 :])
    if kind == IPV6 and len(packet) >= 40:
        following, body = packet[6], packet[40:]
        if following == HOP_BY_HOP:
            following, body = body[0], body[8 + 8 * body[1] :]
        return _transport(following, socket.inet_ntop(socket.AF_INET6, packet[24:40]), body)
    return f"frame of type {kind:#06x}"


def _transport(protocol: int, host: str, body: bytes) -> str:
    if protocol == IGMP or (protocol == ICMPV6 and body and body[0] in HOUSEKEEPING6):
        return ""
    if protocol == TCP and len(body) >= 14:
        flags = "".join(letter for bit, letter in ((2, "S"), (16, "A"), (1, "F"), (4, "R")) if body[13] & bit)
        data = len(body) - 4 * (body[12] >> 4)
        # Answers without data to a peer that dialled in tell nothing but that a port is open or closed.
        if not data and ("A" in flags or "R" in flags):
            return ""
        return f"TCP {flags} to {host}"
    name = {UDP: "UDP", 1: "ICMP", ICMPV6: "ICMPv6", 136: "UDP-Lite"}.get(protocol, f"protocol {protocol}")
    return f"{name} to {host}"


@contextmanager
def arena() -> Iterator[Arena]:
    """Both namespaces, connected; all is gone at the end."""
    # A folder that every user can reach, unlike pytest's.
    with network_namespace() as agents, network_namespace() as peer, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        peer_end = ("peer", "name", FAR, "address", FAR_MAC, "netns", str(peer.path))
        agents.run("ip", "link", "add", NEAR, "address", NEAR_MAC, "type", "veth", *peer_end)
        for namespace, name, host4, host6 in ((agents, NEAR, OWN4, OWN6), (peer, FAR, PEER4, PEER6)):
            namespace.run("ip", "address", "add", f"{host4}/24", "broadcast", BROADCAST, "dev", name)
            namespace.run("ip", "-6", "address", "add", f"{host6}/64", "nodad", "dev", name)
            namespace.run("ip", "link", "set", name, "up")
            namespace.run("sysctl", "-qw", "net.ipv4.ping_group_range=0 2147483647", "net.ipv4.tcp_fastopen=0x603")
            namespace.run(
                "sysctl", "-qw", "net.ipv4.conf.all.accept_source_route=1", f"net.ipv4.conf.{name}.accept_source_route=1"
            )
            namespace.run("sysctl", "-qw", "net.ipv6.conf.all.seg6_enabled=1", f"net.ipv6.conf.{name}.seg6_enabled=1")
        agents.run("sysctl", "-qw", f"net.ipv4.conf.{NEAR}.route_localnet=1", f"net.ipv4.conf.{NEAR}.rp_filter=0")
        # No connection may keep the port of a dead loop in TIME_WAIT: a hijacker has all the time in the world.
        agents.run("sysctl", "-qw", "net.ipv4.tcp_max_tw_buckets=0")
        # Known before the first escape, so that no packet has to wait for an answer to "who has".
        for host in (PEER4, PEER6):
            agents.run("ip", "neighbour", "replace", host, "lladdr", FAR_MAC, "dev", NEAR, "nud", "permanent")
        folder.chmod(0o777)
        field = Arena(agents, peer, folder)
        try:
            yield field
        finally:
            field.close()


@dataclass(frozen=True, slots=True)
class Program:
    """An escape as `road.Escape` describes it."""

    name: str
    road: str
    needs: str
    heard: bool
    outside: bool


def programs() -> list[Program]:
    """All escapes. Read in a process of its own: they are scripts, with modules of their own."""
    done = subprocess.run([sys.executable, "-I", "-S", str(RUNNER)], capture_output=True, text=True, check=True)
    return [Program(*facts) for facts in json.loads(done.stdout)]
