"""A redirect attached at a cgroup of the test's own, with everything that a test does to it."""

from __future__ import annotations

import socket
import subprocess
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from guarded_cgroups import Namespace, attach_root, loop_listeners, output_of, pin_directory, python_in

from hostguard.kernel import cgroups, pins
from hostguard.kernel.flows import origin_of
from hostguard.kernel.layouts import COUNTERS, INDEX, U64, Origin
from hostguard.kernel.loader import Redirect


@dataclass
class Guarded:
    """An attached redirect with listeners, a guarded cgroup and an unguarded one beside it."""

    root: Path
    pin_dir: Path
    redirect: Redirect
    sock4: socket.socket
    sock6: socket.socket
    agent: Path
    """The guarded cgroup, workload 7."""
    outside: Path
    """Below the attach root, not guarded."""
    netns: Namespace | None

    def start(self, program: str, *arguments: str, cgroup: Path | None = None) -> subprocess.Popen[str]:
        """Start a program, in the guarded cgroup unless told otherwise; its pipes are text."""
        return python_in(cgroup or self.agent, program, *arguments, netns=self.netns.path if self.netns else None)

    def run(self, program: str, *arguments: str, cgroup: Path | None = None) -> str:
        """Run a program to its end, in the guarded cgroup unless told otherwise; returns what it printed."""
        return output_of(self.start(program, *arguments, cgroup=cgroup))

    def accept(self, listener: socket.socket | None = None) -> Origin:
        """The origin of the next connection, which is closed at once."""
        sock, origin = self.accept_open(listener)
        sock.close()
        assert origin is not None
        return origin

    def accept_open(self, listener: socket.socket | None = None) -> tuple[socket.socket, Origin | None]:
        """The next connection with its origin, if it has one."""
        sock, peer = (listener or self.sock4).accept()
        return sock, origin_of(sock, self.redirect, peer[:2])


def attach(stack: ExitStack, netns: Namespace | None, limit_ms: int = 60_000, loader: str = "auto") -> Guarded:
    """Everything that a redirect test needs; the heartbeat lasts a minute unless told otherwise."""
    root, pin_dir = stack.enter_context(attach_root()), stack.enter_context(pin_directory())
    sock4, sock6 = stack.enter_context(loop_listeners(netns.tcp_socket) if netns else loop_listeners())
    redirect = Redirect.attach(root, pin_dir, limit_ms, loader)
    stack.callback(redirect.close)
    redirect.set_listeners(sock4, sock6)
    redirect.beat(time.monotonic_ns())
    agent, outside = root / "agent", root / "outside"
    redirect.guard(cgroups.create(agent), 7)
    cgroups.create(outside)
    return Guarded(root, pin_dir, redirect, sock4, sock6, agent, outside, netns)


def refresh(guarded: Guarded) -> Guarded:
    """The same redirect as if it had just been attached: attaching takes a second on a busy machine, so that tests share one."""
    redirect = guarded.redirect
    for setting in (redirect.set_users, redirect.set_programs, redirect.set_modes, redirect.set_paths, redirect.set_unix):
        setting({})
    for identifier in redirect.guarded():
        redirect.unguard(identifier)
    for listener in (guarded.sock4, guarded.sock6):
        _drop_waiting(listener)
    redirect.set_listeners(guarded.sock4, guarded.sock6)
    redirect.guard(cgroups.cgroup_id(guarded.agent), 7)
    redirect.beat(time.monotonic_ns())
    events = redirect.events()
    events.read()
    events.close()
    with pins.opened(pins.map_path(guarded.pin_dir, "counters")) as fd:
        assert fd is not None
        counters = pins.open_map(fd, "counters")
        for index in range(len(COUNTERS)):
            counters.update(INDEX.pack(index), U64.pack(0))
    return guarded


def _drop_waiting(listener: socket.socket) -> None:
    """Close what an earlier test connected and did not accept."""
    limit_s = listener.gettimeout()
    listener.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()
    listener.settimeout(limit_s)
