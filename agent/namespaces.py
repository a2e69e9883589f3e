"""Listeners, resolver's sockets, stand-ins in the network namespaces that guarded processes are in.

The kernel sends a guarded connect to a listener of the socket's own namespace, since 127.0.0.1 is another one in each, and
refuses it (ECONNREFUSED) where there is none; so with a question to a name server, and with a connect to a resource's UNIX
socket, since abstract addresses, as stand-ins have (`unix_sockets`), are others in each as well. So every namespace with a
guarded process gets listeners, resolver's sockets and stand-ins of its own, and what is dialled for its flows is dialled from
there. Name servers are asked from here all the same: which of them is believed is the configuration's choice, not that of who
set up the namespace.

A namespace is looked for when a cgroup becomes guarded, when the kernel has told of something that found no socket of ours, and
every `SCAN_S` in any case: until it was found its connects are refused, never passed.

A socket of ours keeps its namespace alive, and so does the descriptor that is dialled through. All are closed when a scan finds
no guarded process in it any more; an open flow keeps it alive through its own sockets.

Not served: a thread that has left its process's namespace, and a socket that was made in a namespace in which no guarded
process is (received from another process, or its maker has gone elsewhere). Their connects are refused.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import socket
from collections.abc import Awaitable, Callable, Iterable
from contextlib import ExitStack
from typing import Any, Protocol

import msgspec

from ..kernel import netns
from ..kernel.errors import KernelError
from ..kernel.loader import netns_cookie
from .unix_sockets import StandIns

SCAN_S = 2.0
"""How often all processes are looked at when nothing that is refused for want of a listener calls for it (`soon`)."""
LO_DOWN = "its loopback device is down, connects fail until it is up"
MAX_NAMESPACES = 1000
"""Those that come later are refused, which `status` shows; the kernel's map of listeners has room for twice as many."""


class Door(Protocol):
    """What takes in what comes to a socket until it is closed."""

    def close(self) -> None:
        """Take in no more, close the socket."""


class Registry(Protocol):
    """The kernel's side; `Redirect` in real life."""

    def set_listeners(self, sock4: socket.socket, sock6: socket.socket | None) -> None:
        """Send the namespace's guarded connects to these. Raises KernelError."""

    def set_resolver(self, sock4: socket.socket, sock6: socket.socket | None) -> None:
        """Send the namespace's guarded questions to name servers to these. Raises KernelError."""


@dataclasses.dataclass(slots=True)
class Served:
    """A namespace with sockets of ours."""

    inode: int
    cookie: int
    fd: int
    listeners: netns.OnLoopback
    resolvers: netns.OnLoopback
    doors: list[Door]
    pid: int
    """A guarded process that is, or was, in it."""
    denied_unix: str = ""
    """Why resources' UNIX sockets are denied there; empty when they are not."""

    def close(self) -> None:
        """Let go of everything that keeps the namespace alive; what vouches for stand-ins is the first door."""
        for door in self.doors:
            door.close()
        self.listeners.close()
        self.resolvers.close()
        os.close(self.fd)


class NamespaceLeft(msgspec.Struct, frozen=True):
    """A namespace as one supervisor leaves it to the next, with what waits in its sockets."""

    inode: int
    pid: int
    fd: int
    """Descriptor of the namespace."""
    listeners: tuple[int, ...]
    """Of 127.0.0.1, of ::1 if there is one."""
    resolvers: tuple[int, ...]

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Those that have to stay open across the change."""
        return (self.fd, *self.listeners, *self.resolvers)


class Namespaces:
    """The namespaces beside the daemon's own that have guarded processes in them."""

    def __init__(
        self,
        registry: Registry,
        open_door: Callable[[socket.socket], Awaitable[Door]],
        answer_at: Callable[[socket.socket], Door],
        stand_ins: StandIns,
        is_guarded: Callable[[int], bool],
        max_namespaces: int = MAX_NAMESPACES,
    ) -> None:
        """open_door: begins to accept on a listening socket. answer_at: has questions answered that come to a UDP socket.

        is_guarded: of a process id; called in a thread.
        """
        self._registry = registry
        self._open_door = open_door
        self._answer_at = answer_at
        self._stand_ins = stand_ins
        self._is_guarded = is_guarded
        self._max = max_namespaces
        self._served: dict[int, Served] = {}
        self._by_cookie: dict[int, Served] = {}
        self._home = netns.identity()
        with socket.socket() as here:
            self._home_cookie = netns_cookie(here)
        self._wanted = asyncio.Event()
        self.failures: dict[int, str] = {}
        """Namespaces (by inode) without a listener though they need one, with the reason."""

    async def run(self) -> None:
        """Follow the namespaces that come and go, until cancelled; then let go of all."""
        try:
            while True:
                self._wanted.clear()
                await self.scan()
                try:
                    async with asyncio.timeout(SCAN_S):
                        await self._wanted.wait()
                except TimeoutError:
                    continue
        finally:
            self.close()

    def soon(self) -> None:
        """There may be a namespace that isn't known."""
        self._wanted.set()

    async def scan(self) -> None:
        """Serve what guarded processes are in, let go of what none is in any more."""
        found = await asyncio.to_thread(self._inhabited)
        for inode in self._served.keys() - found.keys():
            self._leave(self._served[inode])
        self.failures = {inode: why for inode, why in self.failures.items() if inode in found}
        for inode in found.keys() - self._served.keys():
            await self._serve(inode, found[inode])

    def close(self) -> None:
        """Let go of all."""
        for served in list(self._served.values()):
            self._leave(served)

    def leave(self) -> list[NamespaceLeft]:
        """All that are served, for the next supervisor."""
        return [
            NamespaceLeft(one.inode, one.pid, one.fd, _left(one.listeners), _left(one.resolvers))
            for one in self._served.values()
            if not one.listeners.closed
        ]

    async def take_up(self, left: Iterable[NamespaceLeft]) -> None:
        """Go on in the namespaces that an earlier supervisor served. Raises KernelError."""
        for one in left:
            listeners, resolvers = _taken(one.listeners), _taken(one.resolvers)
            self._registry.set_listeners(listeners.sock4, listeners.sock6)
            self._registry.set_resolver(resolvers.sock4, resolvers.sock6)
            await self._keep(Served(one.inode, netns_cookie(listeners.sock4), one.fd, listeners, resolvers, [], one.pid))

    def stream_socket(self, cookie: int, family: socket.AddressFamily) -> socket.socket | None:
        """A stream socket to dial from, in the namespace that an accepted connection came from; None: the daemon's own.

        Raises OSError for one that is not served any more, KernelError.
        """
        served = self._by_cookie.get(cookie)
        if served is not None:
            return netns.stream_socket(served.fd, family)
        if cookie == self._home_cookie:
            return None
        raise OSError(None, "its network namespace is gone")

    def facts(self) -> list[dict[str, Any]]:
        """For ``status``."""
        return [
            {
                "inode": served.inode,
                "pid": served.pid,
                "ipv6": served.listeners.sock6 is not None,
                "problem": served.denied_unix or ("" if served.listeners.lo_up else LO_DOWN),
            }
            for served in self._served.values()
            if not served.listeners.closed  # the entrance closes first when the daemon ends
        ] + [{"inode": inode, "pid": 0, "ipv6": False, "problem": why} for inode, why in self.failures.items()]

    # -- finding them -----------------------------------------------------------------------------------------------------------

    def _inhabited(self) -> dict[int, int]:
        """Namespaces other than our own to a guarded process that is in each; reads a link for every process of the host."""
        found: dict[int, int] = {}
        for pid in _pids():
            inode = netns.identity(pid)
            if inode is not None and inode != self._home and inode not in found and self._is_guarded(pid):
                found[inode] = pid
        return found

    async def _serve(self, inode: int, pid: int) -> None:
        """Open the doors in a namespace."""
        if len(self._served) >= self._max:
            self.failures[inode] = f"{self._max} network namespaces are served already"
            return
        try:
            fd = netns.opened(pid)
            if fd is None:
                return
            if os.fstat(fd).st_ino != inode:  # the process has gone elsewhere, or another has its pid
                os.close(fd)
                return
            served = self._opened(inode, pid, fd)
        except (KernelError, OSError) as error:
            self.failures[inode] = f"no listener in the network namespace of process {pid}: {error}"
            return
        self.failures.pop(inode, None)
        await self._keep(served)

    async def _keep(self, served: Served) -> None:
        self._served[served.inode] = self._by_cookie[served.cookie] = served
        await self._stand_in(served)
        for sock in filter(None, (served.listeners.sock4, served.listeners.sock6)):
            served.doors.append(await self._open_door(sock))
        for sock in filter(None, (served.resolvers.sock4, served.resolvers.sock6)):
            served.doors.append(self._answer_at(sock))

    async def _stand_in(self, served: Served) -> None:
        """Have stand-ins there. Who has taken one of their names before denies his own namespace what they stand for."""
        try:
            standing = self._stand_ins.open_in(served.fd)
        except (KernelError, OSError) as error:
            served.denied_unix = f"UNIX sockets of resources are denied in the network namespace of process {served.pid}: {error}"
            return
        served.doors.append(standing)
        for sock in standing.listeners:
            served.doors.append(await self._open_door(sock))
        try:
            self._stand_ins.vouch_for(standing)
        except (KernelError, OSError) as error:
            served.denied_unix = f"UNIX sockets of resources are denied in the network namespace of process {served.pid}: {error}"

    def _opened(self, inode: int, pid: int, fd: int) -> Served:
        """Sockets that the kernel knows of. Raises KernelError, having closed everything."""
        with ExitStack() as undo:
            undo.callback(os.close, fd)
            listeners = netns.listeners(fd)
            undo.callback(listeners.close)
            resolvers = netns.resolvers(fd)
            undo.callback(resolvers.close)
            self._registry.set_listeners(listeners.sock4, listeners.sock6)
            self._registry.set_resolver(resolvers.sock4, resolvers.sock6)
            undo.pop_all()
        return Served(inode, netns_cookie(listeners.sock4), fd, listeners, resolvers, [], pid)

    def _leave(self, served: Served) -> None:
        del self._served[served.inode], self._by_cookie[served.cookie]
        served.close()


def _left(sockets: netns.OnLoopback) -> tuple[int, ...]:
    return tuple(sock.fileno() for sock in (sockets.sock4, sockets.sock6) if sock is not None)


def _taken(descriptors: tuple[int, ...]) -> netns.OnLoopback:
    found = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    for sock in found:
        sock.setblocking(False)
    return netns.OnLoopback(found[0], found[1] if len(found) > 1 else None)


def _pids() -> Iterable[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]
