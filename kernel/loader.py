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
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from . import cgroups, filings, libbpf
from .attach import Attempt
from .errors import KernelError
from .events import Events
from .hooks import HOOKS
from .layouts import (
    CGROUP_ID,
    CLEARED,
    COUNTERS,
    FD,
    INDEX,
    LISTENER_KEY,
    MARK,
    MODE,
    PROGRAM_KEY,
    U64,
    UID,
    WATCHED,
    WORKLOAD,
    Mode,
    Origin,
    OriginKey,
    read_origin,
)
from .mounts import require_bpffs
from .pins import Hook, detach, read_counters, read_guarded, read_hook, read_listeners

SO_NETNS_COOKIE = 71
LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


class Redirect:
    """The attached redirect. One process holds it at a time; `close` lets go and leaves it attached, failing closed."""

    def __init__(
        self, cgroup: Path, pin_dir: Path, lock_fd: int, maps: dict[str, libbpf.Map], remarks: tuple[str, ...], loader: str
    ) -> None:
        self.cgroup = cgroup
        """Where the hooks are attached, as the cgroup2 mount names it."""
        self.pin_dir = pin_dir
        self.remarks = remarks
        """What attaching found and did about it, a sentence each, for the log."""
        self.loader = loader
        """``libbpf`` or ``bcc``: which loaded the programs."""
        self._lock_fd = lock_fd
        self._maps = maps
        self._changes = threading.Lock()
        self._beat_page = mmap.mmap(maps["heartbeat"].fd, mmap.PAGESIZE)
        self._beat = memoryview(self._beat_page).cast("Q")

    @classmethod
    def attach(cls, cgroup: Path, pin_dir: Path, heartbeat_limit_ms: int, loader: str = "auto") -> Redirect:
        """Attach all hooks at `cgroup` (a cgroup2 directory above all that will be guarded), pins below `pin_dir`.

        heartbeat_limit_ms: with the last `beat` older than this, guarded connects are refused. loader: "libbpf", "bcc", or "auto"
        for the first that can load the programs. Idempotent: maps with their contents are taken over, programs are swapped.
        Raises KernelError, EWOULDBLOCK when another process holds the redirect; then nothing of this call remains.
        """
        at = cgroups.path_of(cgroups.cgroup_id(cgroup)) or cgroup
        require_bpffs(pin_dir)
        try:
            with ExitStack() as always, ExitStack() as undo:
                attempt = Attempt(cgroup, pin_dir, always, undo)
                attempt.make_directories()
                lock_fd = attempt.lock()
                attempt.attach_all(heartbeat_limit_ms, loader)
                redirect = cls(at, pin_dir, lock_fd, attempt.open_maps(), tuple(attempt.remarks), attempt.loader)
                # What an earlier run left half done, or another place of the hooks, makes what was kept until now void.
                redirect._set_epoch(0)
                attempt.finish()
                undo.pop_all()
        except OSError as error:
            raise KernelError.of(error, error.filename or str(pin_dir), "cannot attach the redirect") from error
        return redirect

    @classmethod
    def resume(cls, cgroup: Path, pin_dir: Path, loader: str, remarks: tuple[str, ...]) -> Redirect:
        """Take over what the same code (`hooks.code`) attached here before: no hook is touched, which saves half a second.

        Raises KernelError, also when a hook that nothing works without is not attached any more.
        """
        at = cgroups.path_of(cgroups.cgroup_id(cgroup)) or cgroup
        try:
            with ExitStack() as always, ExitStack() as undo:
                attempt = Attempt(cgroup, pin_dir, always, undo)
                lock_fd = attempt.lock()
                for name, place in HOOKS.items():
                    if place.required and not (hook := read_hook(pin_dir, name)).attached:
                        raise KernelError(errno.ENOENT, name, f"is not attached any more: {hook.detail}")
                redirect = cls(at, pin_dir, lock_fd, attempt.open_maps(), remarks, loader)
                undo.pop_all()
        except OSError as error:
            raise KernelError.of(error, error.filename or str(pin_dir), "cannot resume the redirect") from error
        return redirect

    def set_listeners(self, sock4: socket.socket, sock6: socket.socket | None) -> None:
        """Send guarded connects of these sockets' network namespace to them.

        sock4 listens on 127.0.0.1, sock6 on ::1; None without IPv6: then IPv6 connects are refused. The entries live as long as
        the sockets do, in whatever process holds a copy of the descriptor. Raises KernelError.
        """
        self._set_sockets("listeners", sock4, sock6)

    def set_resolver(self, sock4: socket.socket, sock6: socket.socket | None) -> None:
        """Send DNS queries (UDP to port 53) of guarded processes in these sockets' network namespace to them.

        UDP sockets, bound as the listeners are, with the same lifetime; without one queries are refused. Raises KernelError.
        """
        self._set_sockets("resolvers", sock4, sock6)

    def _set_sockets(self, name: str, sock4: socket.socket, sock6: socket.socket | None) -> None:
        for family, sock in ((socket.AF_INET, sock4), (socket.AF_INET6, sock6)):
            key = LISTENER_KEY.pack(netns_cookie(sock or sock4), family, 0)
            if sock is None:
                self._maps[name].delete(key)
                continue
            _check_socket(name, sock, family)
            self._maps[name].update(key, U64.pack(sock.fileno()))

    def listeners(self) -> dict[tuple[int, int], int]:
        """(netns cookie, family) to socket cookie, of the listeners that live."""
        return read_listeners(self._maps["listeners"])

    def resolvers(self) -> dict[tuple[int, int], int]:
        """The same of the resolver's sockets."""
        return read_listeners(self._maps["resolvers"])

    def guard(self, cgroup_id: int, workload: int) -> None:
        """Guard this cgroup's processes and its descendants' from now on; workload: 1 to `layouts.CLEARED` - 1.

        Raises KernelError, also for a cgroup that does not lie below the hooks: they would never see its processes. Connections
        that are open already are `kernel/enrol.py`'s.
        """
        self._file(cgroup_id, workload)

    def watch(self, cgroup_id: int) -> None:
        """Refuse everything (but UNIX sockets) to processes in cgroups below this one that nobody has classified.

        A cgroup is classified by `guard`, by `clear`, or by lying below one that is. Raises KernelError.
        """
        self._file(cgroup_id, WATCHED)

    def clear(self, cgroup_id: int) -> None:
        """Classified, and nobody's: lets it and its descendants pass the watch above; a guarded cgroup above still counts."""
        self._file(cgroup_id, CLEARED)

    def _file(self, cgroup_id: int, number: int) -> None:
        path = cgroups.path_of(cgroup_id)
        if path is None:
            raise KernelError(errno.ENOENT, f"cgroup {cgroup_id}", "cannot be guarded: there is none")
        if not path.is_relative_to(self.cgroup):
            raise KernelError(errno.EINVAL, str(path), f"cannot be guarded: it does not lie below {self.cgroup}")
        with self._changing():
            self._maps["guarded"].update(CGROUP_ID.pack(cgroup_id), WORKLOAD.pack(number))

    def unguard(self, cgroup_id: int) -> bool:
        """Forget what was filed for this cgroup; False when nothing was."""
        with self._changing():
            return self._maps["guarded"].delete(CGROUP_ID.pack(cgroup_id))

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """While ``guarded`` is changed its epoch is odd, and the programs keep nothing of what they see in it.

        Who dies in between leaves it odd: then the programs look each time, until the next daemon attaches.
        """
        with self._changes:
            self._set_epoch(1)
            try:
                yield
            finally:
                self._set_epoch(0)

    def _set_epoch(self, odd: int) -> None:
        """The next number that is odd, or even."""
        zero = INDEX.pack(0)
        (now,) = U64.unpack(self._maps["epoch"].lookup(zero) or U64.pack(0))
        later = now + 1 if (now + 1) % 2 == odd else now + 2
        self._maps["epoch"].update(zero, U64.pack(later))

    def guarded(self) -> dict[int, int]:
        """Cgroup ids to what they are filed under: workload numbers, `layouts.WATCHED`, `layouts.CLEARED`.

        What an earlier daemon filed is still there after a restart.
        """
        return read_guarded(self._maps["guarded"])

    def users(self) -> dict[int, int]:
        """What `set_users` filed."""
        found = self._maps["users"].content()
        return {UID.unpack(key)[0]: WORKLOAD.unpack(value)[0] for key, value in found.items()}

    def programs(self) -> dict[tuple[int, int], int]:
        """What `set_programs` filed: (inode, device as the kernel writes it) to workload number."""
        found = self._maps["programs"].content()
        return {PROGRAM_KEY.unpack(key): WORKLOAD.unpack(value)[0] for key, value in found.items()}

    def modes(self) -> dict[int, Mode]:
        """What `set_modes` filed."""
        found = self._maps["modes"].content()
        return {WORKLOAD.unpack(key)[0]: Mode(MODE.unpack(value)[0]) for key, value in found.items()}

    def set_users(self, wanted: Mapping[int, int]) -> None:
        """Guard processes of these real uids, below the hooks' cgroup, where no cgroup says otherwise: uid to workload number."""
        filings.file_users(self._maps["users"], wanted)

    def set_programs(self, wanted: Mapping[Path, int]) -> None:
        """Guard processes that run these executables, where neither cgroup nor user says otherwise: path to workload number."""
        filings.file_programs(self._maps["programs"], wanted)

    def set_modes(self, wanted: Mapping[int, Mode]) -> None:
        """How workloads are treated; one that is not named is enforced in full."""
        filings.file_modes(self._maps["modes"], wanted)

    def set_paths(self, wanted: Mapping[Path, int]) -> None:
        """Cgroups that are to be filed as soon as they are made, daemon or not: absolute path to workload number."""
        mount = cgroups.mount_point()
        try:
            relative = {f"/{path.relative_to(mount)}": number for path, number in wanted.items()}
            filings.file_paths(self._maps["paths"], relative)
        except ValueError as error:
            raise KernelError(errno.EINVAL, "paths", str(error)) from error

    def set_unix(self, wanted: Mapping[bytes, bytes | None]) -> None:
        """The only UNIX sockets for guarded processes to connect or send to: address to None, or to the stand-in to go to.

        A stand-in's name is that of a `stand_ins.StandIn`; `vouch` for it afterwards.
        """
        filings.file_unix(self._maps["unix"], wanted)

    def vouch(self, voucher: socket.socket) -> None:
        """Send connects to the stand-ins that `set_unix` names, in this socket's network namespace, for as long as it is open.

        Of `stand_ins.voucher_for`. Raises KernelError.
        """
        key = LISTENER_KEY.pack(netns_cookie(voucher), socket.AF_UNIX, 0)
        self._maps["listeners"].update(key, U64.pack(voucher.fileno()))

    def events(self) -> Events:
        """A reader of what is refused; the caller closes it. One at a time. Raises KernelError."""
        return Events(self._maps["events"].fd)

    def beat(self, now_ns: int) -> None:
        """Say that the daemon serves. now_ns: CLOCK_MONOTONIC (`time.monotonic_ns`)."""
        self._beat[0] = now_ns

    @property
    def heartbeat(self) -> int:
        """Descriptor of the map that `beat` writes to: 8 bytes that can be mapped, nanoseconds of CLOCK_MONOTONIC."""
        return self._maps["heartbeat"].fd

    def take_origin(self, key: OriginKey) -> Origin | None:
        """Who opened the connection from this source; None when no redirected connection did, or more than one may have.

        The record is gone afterwards. None means: refuse the connection.
        """
        record = self._maps["origins"].take(key.pack())
        return read_origin(key, record) if record is not None else None

    def query_origin(self, key: OriginKey) -> Origin | None:
        """Who sent the datagram that came from this source, with the server that was meant; None: nobody that we redirected.

        Of two queries that a socket has under way to two servers, both seem meant for the second. The record stays until the
        socket closes.
        """
        record = self._maps["queries"].lookup(key.pack())
        return read_origin(key, record) if record is not None else None

    def approved(self, sock: socket.socket) -> bool:
        """Whether a socket (a copy of a guarded process's) was redirected by these hooks, or accepted by its server."""
        key = FD.pack(sock.fileno())
        if self._maps["sockets"].lookup(key) is not None:
            return True
        mark = self._maps["marks"].lookup(key)
        return mark is not None and MARK.unpack(mark)[-1] == 1

    def hooks(self) -> list[Hook]:
        """All hooks as the kernel has them now."""
        return [read_hook(self.pin_dir, name) for name in HOOKS]

    def counters(self, names: Iterable[str] = COUNTERS) -> dict[str, int]:
        """Counters by name, each read with a system call; they go on across restarts."""
        return read_counters(self._maps["counters"], names)

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
        for fd in (*(each.fd for each in self._maps.values()), self._lock_fd):
            os.close(fd)
        self._maps, self._lock_fd = {}, -1


def _check_socket(name: str, sock: socket.socket, family: socket.AddressFamily) -> None:
    address = sock.getsockname()[0]
    if sock.family != family or address != LOOPBACK[family]:
        message = f"the {family.name} socket must be bound to {LOOPBACK[family]}, not {address}"
        raise KernelError(errno.EINVAL, name, message)
    if name == "resolvers" and sock.type != socket.SOCK_DGRAM:
        raise KernelError(errno.EINVAL, name, f"the {family.name} resolver must be a UDP socket")
    if name == "listeners" and not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise KernelError(errno.EINVAL, name, f"the {family.name} listener does not listen yet")


def netns_cookie(sock: socket.socket) -> int:
    """The kernel's number for the network namespace of a socket."""
    return int.from_bytes(sock.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8), sys.byteorder)
