"""The redirect as the daemon holds it.

Nothing here ends with the process: links and maps stay pinned. A daemon that is gone leaves hooks that refuse every guarded
connect, because the kernel dropped its listeners from the map. That is the point.
"""

from __future__ import annotations

import errno
import mmap
import os
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

from . import cgroups, libbpf
from .attach import Attempt
from .errors import KernelError
from .layouts import CGROUP_ID, LISTENER_KEY, ORIGIN, U64, WORKLOAD, Origin, OriginKey, read_origin
from .mounts import require_bpffs
from .pins import HOOKS, Hook, detach, read_counters, read_guarded, read_hook, read_listeners

SO_NETNS_COOKIE = 71
LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


class Redirect:
    """The attached redirect. One process holds it at a time; `close` lets go and leaves it attached, failing closed."""

    def __init__(self, cgroup: Path, pin_dir: Path, lock_fd: int, map_fds: dict[str, int], remarks: tuple[str, ...]) -> None:
        self.cgroup = cgroup
        """Where the hooks are attached, as the cgroup2 mount names it."""
        self.pin_dir = pin_dir
        self.remarks = remarks
        """What attaching found and did about it, a sentence each, for the log."""
        self._lock_fd = lock_fd
        self._maps = map_fds
        self._beat_page = mmap.mmap(map_fds["heartbeat"], mmap.PAGESIZE)
        self._beat = memoryview(self._beat_page).cast("Q")

    @classmethod
    def attach(cls, cgroup: Path, pin_dir: Path, heartbeat_limit_ms: int) -> Redirect:
        """Attach all hooks at `cgroup` (a cgroup2 directory above all that will be guarded), pins below `pin_dir`.

        heartbeat_limit_ms: with the last `beat` older than this, guarded connects are refused. Idempotent: maps with their
        contents are taken over, programs are swapped. Raises KernelError, EWOULDBLOCK when another process holds the redirect;
        then nothing of this call remains.
        """
        at = cgroups.path_of(cgroups.cgroup_id(cgroup)) or cgroup
        require_bpffs(pin_dir)
        try:
            with ExitStack() as always, ExitStack() as undo:
                attempt = Attempt(cgroup, pin_dir, always, undo)
                attempt.make_directories()
                lock_fd = attempt.lock()
                attempt.attach_all(heartbeat_limit_ms)
                redirect = cls(at, pin_dir, lock_fd, attempt.open_maps(), tuple(attempt.remarks))
                attempt.finish()
                undo.pop_all()
        except OSError as error:
            raise KernelError.of(error, error.filename or str(pin_dir), "cannot attach the redirect") from error
        return redirect

    def set_listeners(self, sock4: socket.socket, sock6: socket.socket | None) -> None:
        """Send guarded connects of these sockets' network namespace to them.

        sock4 listens on 127.0.0.1, sock6 on ::1; None without IPv6: then IPv6 connects are refused. The entries live as long as
        the sockets do, in whatever process holds a copy of the descriptor. Raises KernelError.
        """
        for family, listener in ((socket.AF_INET, sock4), (socket.AF_INET6, sock6)):
            if listener is None:
                key = LISTENER_KEY.pack(netns_cookie(sock4), family, 0)
                libbpf.map_delete(self._maps["listeners"], key, "listeners")
                continue
            _check_listener(listener, family)
            key = LISTENER_KEY.pack(netns_cookie(listener), family, 0)
            libbpf.map_update(self._maps["listeners"], key, U64.pack(listener.fileno()), "listeners")

    def listeners(self) -> dict[tuple[int, int], int]:
        """(netns cookie, family) to socket cookie, of the listeners that live."""
        return read_listeners(self._maps["listeners"])

    def guard(self, cgroup_id: int, workload: int) -> None:
        """Redirect the connects of this cgroup's processes and its descendants' from now on.

        Raises KernelError, also for a cgroup that does not lie below the hooks: they would never see its processes.
        """
        path = cgroups.path_of(cgroup_id)
        if path is None:
            raise KernelError(errno.ENOENT, f"cgroup {cgroup_id}", "cannot be guarded: there is none")
        if not path.is_relative_to(self.cgroup):
            raise KernelError(errno.EINVAL, str(path), f"cannot be guarded: it does not lie below {self.cgroup}")
        libbpf.map_update(self._maps["guarded"], CGROUP_ID.pack(cgroup_id), WORKLOAD.pack(workload), "guarded")

    def unguard(self, cgroup_id: int) -> bool:
        """Let this cgroup's processes connect freely; False when it was not guarded."""
        return libbpf.map_delete(self._maps["guarded"], CGROUP_ID.pack(cgroup_id), "guarded")

    def guarded(self) -> dict[int, int]:
        """Guarded cgroup ids to workload numbers; what an earlier daemon guarded is still there after a restart."""
        return read_guarded(self._maps["guarded"])

    def beat(self, now_ns: int) -> None:
        """Say that the daemon serves. now_ns: CLOCK_MONOTONIC (`time.monotonic_ns`)."""
        self._beat[0] = now_ns

    def take_origin(self, key: OriginKey) -> Origin | None:
        """Who opened the connection from this source; None when no redirected connection did, or more than one may have.

        The record is gone afterwards. None means: refuse the connection.
        """
        record = libbpf.map_take(self._maps["origins"], key.pack(), ORIGIN.size, "origins")
        return read_origin(key, record) if record is not None else None

    def hooks(self) -> list[Hook]:
        """All hooks as the kernel has them now."""
        return [read_hook(self.pin_dir, name) for name in HOOKS]

    def counters(self) -> dict[str, int]:
        """All counters by name; they go on across restarts."""
        return read_counters(self._maps["counters"])

    def detach(self) -> None:
        """Detach the hooks, remove the pins, close: guarded processes connect freely. Raises KernelError."""
        try:
            detach(self.pin_dir)
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the descriptors; hooks and pins stay, and refuse guarded connects once the listeners close."""
        if self._lock_fd < 0:
            return
        self._beat.release()
        self._beat_page.close()
        for fd in (*self._maps.values(), self._lock_fd):
            os.close(fd)
        self._maps, self._lock_fd = {}, -1


def _check_listener(listener: socket.socket, family: socket.AddressFamily) -> None:
    address = listener.getsockname()[0]
    if listener.family != family or address != LOOPBACK[family]:
        message = f"the {family.name} listener must be bound to {LOOPBACK[family]}, not {address}"
        raise KernelError(errno.EINVAL, "listeners", message)
    if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise KernelError(errno.EINVAL, "listeners", f"the {family.name} listener does not listen yet")


def netns_cookie(sock: socket.socket) -> int:
    """The kernel's number for the network namespace of a socket."""
    return int.from_bytes(sock.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8), sys.byteorder)
