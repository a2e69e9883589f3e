"""Whether a descriptor that a program inherits could carry data past the guard.

A socket belongs to the cgroup in which it was made: one from outside passes none of the hooks. What a shell, a pipe, a terminal
or a service manager hands over as stdin, stdout, stderr is fine.
"""

from __future__ import annotations

import os
import socket
import stat

JOURNAL = "/run/systemd/journal/stdout"
"""Where systemd connects the output of a service (systemd.exec(5), StandardOutput=)."""

HARMLESS_DEVICES = {os.makedev(1, minor) for minor in (3, 5, 7, 8, 9)}
"""null, zero, full, random, urandom (Documentation/admin-guide/devices.txt). A tun device would be a road."""


def road_past_the_guard(fd: int) -> str:
    """What is wrong with handing `fd` to a guarded program, in words; empty when nothing is, also when it is closed."""
    try:
        found = os.fstat(fd)
        target = os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""
    mode = found.st_mode
    if stat.S_ISSOCK(mode):
        return _what_socket(fd)
    if stat.S_ISCHR(mode) and not os.isatty(fd) and found.st_rdev not in HARMLESS_DEVICES:
        return f"the device {target}"
    # io_uring, bpf, pidfd with their like have no inode of their own.
    return f"the kernel object {target}" if target.startswith("anon_inode:") else ""


def _what_socket(fd: int) -> str:
    with socket.socket(fileno=os.dup(fd)) as sock:
        family = socket.AddressFamily(sock.family).name if sock.family in list(socket.AddressFamily) else str(sock.family)
        if sock.family != socket.AF_UNIX:
            return f"a socket of the family {family}, made outside"
        try:
            peer = sock.getpeername()
        except OSError:
            return "a UNIX socket that is not connected"
    # A pair has no names; whoever has connected to a service by its path has that path as peer.
    return "" if peer in ("", b"", JOURNAL) else f"a UNIX socket connected to {peer!r}"
