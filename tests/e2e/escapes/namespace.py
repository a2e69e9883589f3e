"""Escapes by rearranging what lies around: routes, NAT, cgroups, the loop's own door."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
from contextlib import suppress

from road import NONCE, PATIENCE_S, device, enter, escape, peer4, say, send_tcp


def _as_root(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@escape("127.0.0.1 routed out of the device", needs="net")
def loopback_rerouted() -> None:
    enter()
    # The rule for local addresses comes first on every host; it steps back for ours.
    _as_root("ip", "route", "add", "table", "77", "127.0.0.0/8", "via", peer4()[0], "dev", device())
    _as_root("ip", "rule", "add", "pref", "1", "to", "127.0.0.0/8", "ipproto", "tcp", "lookup", "77")
    _as_root("ip", "rule", "add", "pref", "2", "lookup", "local")
    _as_root("ip", "rule", "del", "pref", "0")
    try:
        send_tcp(socket.socket(), peer4())
    finally:
        _as_root("ip", "rule", "add", "pref", "0", "lookup", "local")
        _as_root("ip", "rule", "del", "pref", "1")
        _as_root("ip", "rule", "del", "pref", "2")
        _as_root("ip", "route", "flush", "table", "77")


@escape("DNAT of loopback traffic in the agent's own namespace", needs="net")
def loopback_translated() -> None:
    enter()
    host, port = peer4()
    rules = f"""
    table ip escape {{
        chain output {{ type nat hook output priority -100; ip daddr 127.0.0.1 tcp dport > 1024 dnat to {host}:{port}; }}
        chain post {{ type nat hook postrouting priority 100; oifname "{device()}" masquerade; }}
    }}"""
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True, capture_output=True)
    try:
        send_tcp(socket.socket(), peer4())
    finally:
        _as_root("nft", "delete", "table", "ip", "escape")


@escape("a cgroup of one's own, deeper")
def deeper_cgroup() -> None:
    cgroup = os.environ["ESCAPE_CGROUP"]
    if cgroup:
        os.makedirs(f"{cgroup}/a/b/c")
        os.environ["ESCAPE_CGROUP"] = f"{cgroup}/a/b/c"
    enter()
    send_tcp(socket.socket(), peer4())


@escape("the loop's own port, dialled directly")
def loop_dialled() -> None:
    """The loop must not take it for somebody else's connection; the peer hears of it only in the control run."""
    port = int(os.environ.get("ESCAPE_LOOP_PORT") or peer4()[1])
    enter()
    host = "127.0.0.1" if os.environ.get("ESCAPE_LOOP_PORT") else peer4()[0]
    sock = socket.socket()
    sock.settimeout(PATIENCE_S)
    sock.connect((host, port))
    sock.sendall(NONCE)
    say("connected and sent" if sock.recv(1) else "closed")


@escape("a child that outlives its parent and is given to init")
def orphan() -> None:
    enter()
    ours, theirs = socket.socketpair()
    if not os.fork():
        if not os.fork():
            ours.close()
            saw = "connected and sent"
            try:
                sock = socket.socket()
                sock.settimeout(PATIENCE_S)
                sock.connect(peer4())
                sock.sendall(NONCE)
            except OSError as error:
                saw = os.strerror(error.errno or 0)
            theirs.send(saw.encode())
        os._exit(0)
    theirs.close()
    os.wait()
    say(ours.recv(100).decode())


PR_SET_DUMPABLE = 4
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000


@escape("a user and a network namespace of one's own, root in both", heard=False)
def own_namespaces() -> None:
    """Whoever is nobody outside has every capability there. A network made there has no way out, guarded or not."""
    enter()
    uid, gid, outside = os.getuid(), os.getgid(), os.open("/proc/self/ns/net", os.O_RDONLY)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_DUMPABLE, 1)  # else /proc/self is root's after the change of user
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w", encoding="utf-8") as file:  # no other can be loaded any more
            file.write(text)
    _as_root("ip", "link", "set", "lo", "up")
    _as_root("ip", "link", "add", "inner", "type", "veth", "peer", "name", "other")
    _as_root("ip", "link", "set", "other", "up")
    _as_root("ip", "link", "set", "inner", "up")
    _as_root("ip", "route", "add", "default", "dev", "inner")
    cable = subprocess.run(
        ["ip", "link", "add", "near", "type", "veth", "peer", "name", "far", "netns", f"/proc/{os.getppid()}/ns/net"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    back = libc.setns(outside, CLONE_NEWNET)
    if not cable.returncode or not back:
        say("made")
        return
    with suppress(PermissionError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE_S)
        sock.sendto(NONCE, peer4())
    send_tcp(socket.socket(), peer4())
