"""Sockets that guarded processes hold without the hooks' knowledge: found, then ended.

A socket that was connected before its process was guarded, inherited, or received by SCM_RIGHTS from a process that is not
guarded runs no connect hook, and where it was made in an unguarded cgroup the fence does not see it either. `sweep` looks through
the descriptors of all guarded processes: what was redirected, or accepted by a server of theirs, stays; every other connected TCP
or UDP socket is destroyed. Run it when processes come under guard and from time to time: between two sweeps such a socket carries
data, which is the window that remains. Sockets that cannot be destroyed (raw, packet, vsock) are found all the same.
"""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from . import cgroups
from .errors import KernelError
from .inodes import kernel_key
from .layouts import RESERVED, Mode
from .loader import Redirect
from .sockdiag import Destroyer

_PIDFD_GETFD = 438
_TCP_INFO = 11
# include/net/tcp_states.h: no packets of their own
_QUIET = {6, 7, 10}
_ROADS = {socket.AF_INET, socket.AF_INET6, socket.AF_PACKET, socket.AF_VSOCK}


@dataclass(frozen=True, slots=True)
class Stray:
    """A socket of a guarded process that no hook has seen."""

    pid: int
    fd: int
    """Its number in that process."""
    workload: int
    family: int
    protocol: int
    peer: str
    """``host:port``; empty without one."""
    ended: bool
    """It was destroyed. False: it can't be, or its workload is observed; then only the process's end helps."""
    detail: str
    """Why it was not ended; empty when it was."""


def sweep(redirect: Redirect) -> list[Stray]:
    """End the strays of all processes that are guarded now; what was found. Raises KernelError when nothing can be told."""
    modes = redirect.modes()
    found = {}
    destroyer = Destroyer()
    try:
        for pid, workload in guarded_processes(redirect):
            for fd, inode, sock in _sockets_of(pid):
                with sock:
                    if inode not in found and _is_stray(sock, redirect):
                        observed = bool(modes.get(workload, Mode.ENFORCE) & Mode.OBSERVE)
                        found[inode] = _end(
                            Stray(pid, fd, workload, sock.family, sock.proto, "", False, ""), sock, destroyer, observed
                        )
    finally:
        destroyer.close()
    return list(found.values())


def guarded_processes(redirect: Redirect) -> Iterator[tuple[int, int]]:
    """(pid, workload number) of all processes that are guarded, as the kernel's programs decide it."""
    mount = cgroups.mount_point()
    filed = {path: number for identifier, number in redirect.guarded().items() if (path := cgroups.path_of(identifier))}
    users, programs = redirect.users(), _Programs(redirect.programs())
    places: dict[str, tuple[Path, int]] = {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            cgroup = _cgroup_of(entry.name)
            if cgroup not in places:
                places[cgroup] = mount / cgroup, _by_cgroup(mount / cgroup, filed)
            place, number = places[cgroup]
            number = number or _by_process(entry.name, place, redirect, users, programs)
        except OSError:  # it has ended meanwhile
            continue
        if number:
            yield int(entry.name), number


def _cgroup_of(pid: str) -> str:
    """Of every process of the host, every two seconds: hence without a file object."""
    fd = os.open(f"/proc/{pid}/cgroup", os.O_RDONLY | os.O_CLOEXEC)
    try:
        # The kernel answers whole: a line for each hierarchy, none longer than a path may be.
        lines = os.fsdecode(os.read(fd, 1 << 16)).splitlines()
    finally:
        os.close(fd)
    return next((line[len("0::/") :] for line in lines if line.startswith("0::/")), "")


def _by_cgroup(place: Path, filed: dict[Path, int]) -> int:
    """The innermost guarded cgroup's number, 0 for none."""
    numbers = (filed.get(path, 0) for path in (place, *place.parents))
    return next((number for number in numbers if number and number not in RESERVED), 0)


class _Programs:
    """The filed executables, as processes are held against them; each file is looked at once."""

    def __init__(self, filed: dict[tuple[int, int], int]) -> None:
        self._filed = filed
        self._seen: dict[tuple[int, int], int] = {}

    def __bool__(self) -> bool:
        return bool(self._filed)

    def number(self, pid: str) -> int:
        """What the program of a process is filed under; 0: nothing. Raises OSError when the process has none, or has ended."""
        if not self._filed:
            return 0
        fd = os.open(f"/proc/{pid}/exe", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            facts = os.fstat(fd)
            file = facts.st_dev, facts.st_ino
            if file not in self._seen:
                self._seen[file] = self._filed.get(kernel_key(fd), 0)
            return self._seen[file]
        finally:
            os.close(fd)


def _by_process(pid: str, place: Path, redirect: Redirect, users: dict[int, int], programs: _Programs) -> int:
    if not (users or programs) or not place.is_relative_to(redirect.cgroup):
        return 0
    status = Path(f"/proc/{pid}/status").read_text()
    uid = int(next(line.split()[1] for line in status.splitlines() if line.startswith("Uid:")))
    if uid in users:
        return users[uid]
    return programs.number(pid)


def _sockets_of(pid: int) -> Iterator[tuple[int, str, socket.socket]]:
    """(descriptor's number, name with inode, copy) of each socket of a process; a process that ends has no more."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        process = os.pidfd_open(pid)
    except OSError:
        return
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            target = os.readlink(f"/proc/{pid}/fd/{name}")
            if not target.startswith("socket:"):
                continue
            copy = libc.syscall(_PIDFD_GETFD, process, int(name), 0)
            if copy >= 0:
                yield int(name), target, socket.socket(fileno=copy)
    except OSError:
        return
    finally:
        os.close(process)


def _is_stray(sock: socket.socket, redirect: Redirect) -> bool:
    if sock.family not in _ROADS:
        return False
    if sock.family in (socket.AF_PACKET, socket.AF_VSOCK):
        return True
    if sock.proto == socket.IPPROTO_TCP and sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, 1)[0] in _QUIET:
        return False
    if sock.proto == socket.IPPROTO_UDP and not _peer(sock):
        return False
    return not redirect.approved(sock)


def _end(stray: Stray, sock: socket.socket, destroyer: Destroyer, observed: bool) -> Stray:
    peer, detail, ended = _peer(sock), "", False
    if observed:
        detail = "the workload is observed"
    elif sock.family not in (socket.AF_INET, socket.AF_INET6) or sock.proto not in (socket.IPPROTO_TCP, socket.IPPROTO_UDP):
        detail = "sockets of this kind can't be destroyed"
    else:
        try:
            destroyer.destroy(sock)
            ended = True
        except (KernelError, OSError) as error:
            detail = str(error)
    return Stray(stray.pid, stray.fd, stray.workload, stray.family, stray.protocol, peer, ended, detail)


def _peer(sock: socket.socket) -> str:
    try:
        host, port = sock.getpeername()[:2]
    except (OSError, ValueError, TypeError):
        return ""
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
