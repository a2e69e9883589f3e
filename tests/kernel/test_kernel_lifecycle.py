"""The redirect over its life: daemons that die or hang, restarts, failures half-way, removed cgroups."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from guarded_cgroups import attach_root, loop_listeners, output_of, python_in
from guarded_redirect import Guarded

from hostguard.kernel import cgroups, pins, probe
from hostguard.kernel.errors import KernelError
from hostguard.kernel.hooks import HOOKS
from hostguard.kernel.layouts import CGROUP_ID, WORKLOAD
from hostguard.kernel.loader import Redirect

pytestmark = pytest.mark.kernel

CONNECT = """
print(errno.errorcode.get(socket.socket().connect_ex(("127.0.0.9", 7)), "connected"))
"""

# Connects until the answer is the one waited for; prints it, or what came last.
CONNECT_UNTIL = """
deadline = time.monotonic() + 10
while time.monotonic() < deadline:
    with socket.socket() as sock:
        sock.settimeout(0.2)
        seen = errno.errorcode.get(sock.connect_ex(("127.0.0.9", 7)), "connected")
    if seen == sys.argv[1]:
        break
    time.sleep(0.01)
print(seen)
"""

DAEMON = """
import socket, sys, time
from pathlib import Path
from hostguard.kernel.loader import Redirect
redirect = Redirect.attach(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
sock4 = socket.create_server(("127.0.0.1", 0), backlog=1024)
redirect.set_listeners(sock4, None)
redirect.beat(time.monotonic_ns())
print(sock4.getsockname()[1], flush=True)
sock4.settimeout(0.02)
while True:
    redirect.beat(time.monotonic_ns())
    try:
        sock4.accept()[0].close()
    except TimeoutError:
        pass
"""


@contextmanager
def daemon(root: Path, pin_dir: Path, limit_ms: int) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that holds the redirect, listens and beats; with its port."""
    command = [sys.executable, "-c", DAEMON, str(root), str(pin_dir), str(limit_ms)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


def test_a_dead_daemon_means_refused_and_its_port_is_worth_nothing(place: tuple[Path, Path], stack: ExitStack) -> None:
    root, pin_dir = place
    with daemon(root, pin_dir, 60_000) as (process, port):
        guard_by_pin(pin_dir, cgroups.cgroup_id(root / "agent"))
        assert output_of(python_in(root / "agent", CONNECT)) == "connected"
        process.kill()
        process.wait()
    hijacker = stack.enter_context(socket.create_server(("127.0.0.1", port)))
    hijacker.setblocking(False)
    assert output_of(python_in(root / "agent", CONNECT)) == "ECONNREFUSED"
    with pytest.raises(BlockingIOError):
        hijacker.accept()
    status = pins.status(pin_dir)
    assert status.attached
    assert status.listeners == {}
    assert status.counters["refused_no_listener"] == 1
    with daemon(root, pin_dir, 60_000) as (_, new_port):
        assert new_port != port
        assert output_of(python_in(root / "agent", CONNECT)) == "connected"


def guard_by_pin(pin_dir: Path, identifier: int) -> None:
    """Guard a cgroup while another process holds the redirect."""
    with pins.opened(pins.map_path(pin_dir, "guarded")) as fd:
        assert fd is not None
        pins.open_map(fd, "guarded").update(CGROUP_ID.pack(identifier), WORKLOAD.pack(1))


def test_a_stopped_daemon_means_refused_until_it_goes_on(place: tuple[Path, Path]) -> None:
    root, pin_dir = place
    with daemon(root, pin_dir, 300) as (process, _):
        guard_by_pin(pin_dir, cgroups.cgroup_id(root / "agent"))
        assert output_of(python_in(root / "agent", CONNECT_UNTIL, "connected")) == "connected"
        process.send_signal(signal.SIGSTOP)
        assert output_of(python_in(root / "agent", CONNECT_UNTIL, "ECONNREFUSED")) == "ECONNREFUSED"
        process.send_signal(signal.SIGCONT)
        assert output_of(python_in(root / "agent", CONNECT_UNTIL, "connected")) == "connected"
    assert pins.status(pin_dir).counters["refused_stale_heartbeat"] >= 1


@pytest.mark.parametrize("offset_s", [-61, 61])
def test_a_beat_of_another_time_is_none(guarded: Guarded, offset_s: int) -> None:
    guarded.redirect.beat(time.monotonic_ns() + offset_s * 10**9)
    assert guarded.run(CONNECT) == "ECONNREFUSED"
    assert guarded.redirect.counters()["refused_stale_heartbeat"] == 1
    guarded.redirect.beat(time.monotonic_ns())
    assert guarded.run(CONNECT) == "connected"


def test_a_restart_never_leaves_a_moment_unguarded(guarded: Guarded) -> None:
    program = """
free = connects = 0
while not os.path.exists(sys.argv[1]):
    with socket.socket() as sock:
        if sock.connect_ex(("127.0.0.1", int(sys.argv[2]))) == 0:
            free += sock.getpeername()[1] != int(sys.argv[2]) or sock.recv(4) == b"free"
            connects += 1
print(free, connects > 20)
"""
    with socket.create_server(("127.0.0.1", 0)) as server, ExitStack() as stack:
        stop = Path(f"/tmp/{guarded.root.name}-stop")
        stack.callback(stop.unlink, missing_ok=True)
        server.setblocking(False)
        guarded.sock4.setblocking(False)
        child = python_in(guarded.agent, program, str(stop), str(server.getsockname()[1]))
        redirect = guarded.redirect
        served = 0
        for _ in range(10):
            redirect.close()
            redirect = Redirect.attach(guarded.root, guarded.pin_dir, 60_000)
            stack.callback(redirect.close)
            served += drain(guarded.sock4)
        while served < 30:
            served += drain(guarded.sock4)
        stop.touch()
        while child.poll() is None:
            drain(guarded.sock4)
        assert output_of(child) == "0 True"
        with pytest.raises(BlockingIOError):
            server.accept()


def drain(listener: socket.socket) -> int:
    """Accept and close whatever waits; how many those were."""
    count = 0
    try:
        while True:
            listener.accept()[0].close()
            count += 1
    except BlockingIOError:
        return count


def test_a_cgroup_that_the_hooks_do_not_see_cannot_be_guarded(guarded: Guarded, stack: ExitStack) -> None:
    elsewhere = stack.enter_context(attach_root())
    with pytest.raises(KernelError, match="does not lie below"):
        guarded.redirect.guard(cgroups.cgroup_id(elsewhere), 1)
    gone = cgroups.create(guarded.root / "gone")
    cgroups.remove(guarded.root / "gone")
    with pytest.raises(KernelError, match="there is none"):
        guarded.redirect.guard(gone, 1)
    assert list(guarded.redirect.guarded()) == [cgroups.cgroup_id(guarded.agent)]


def test_status_tells_the_truth_without_a_daemon(guarded: Guarded) -> None:
    now = time.monotonic_ns()
    guarded.redirect.beat(now)
    agent = cgroups.cgroup_id(guarded.agent)
    guarded.redirect.close()
    status = pins.status(guarded.pin_dir)
    assert status.attached
    assert (status.heartbeat_ns, status.guarded) == (now, {agent: 7})
    assert sorted(family for _, family in status.listeners) == [socket.AF_INET, socket.AF_INET6]
    assert {hook.cgroup for hook in status.hooks if HOOKS[hook.name].at_cgroup} == {guarded.root}
    pins.link_path(guarded.pin_dir, "connect4").unlink()
    status = pins.status(guarded.pin_dir)
    assert [hook.name for hook in status.hooks if not hook.attached] == ["connect4"]


def test_status_of_nothing_is_all_off(tmp_path: Path) -> None:
    status = pins.status(tmp_path)
    assert not status.attached
    assert len(status.hooks) == len(HOOKS)
    assert set(status.counters.values()) == {0}


def test_a_listener_that_is_not_on_loopback_is_refused(guarded: Guarded) -> None:
    with loop_listeners() as (sock4, sock6):
        with pytest.raises(KernelError, match=r"127\.0\.0\.1"):
            guarded.redirect.set_listeners(sock6, sock4)
        with socket.socket() as deaf:
            deaf.bind(("127.0.0.1", 0))
            with pytest.raises(KernelError, match="does not listen"):
                guarded.redirect.set_listeners(deaf, None)


def test_the_probe_sees_its_targets_and_the_loop_sees_the_probe(guarded: Guarded) -> None:
    targets = [("127.0.0.9", 5432), ("::1", 5432), ("::ffff:127.0.0.9", 5432)]
    with subprocess.Popen(probe.command(guarded.agent, targets), stdout=subprocess.PIPE) as child:
        origins = [guarded.accept(), guarded.accept(guarded.sock6), guarded.accept()]
        out, _ = child.communicate(timeout=10)
    results = probe.parse(out)
    assert [(result.host, result.port) for result in results] == targets
    assert all(result.connected and result.peer_kept for result in results)
    assert [result.source_port for result in results] == [origin.source_port for origin in origins]
    assert [origin.host for origin in origins] == ["127.0.0.9", "::1", "127.0.0.9"]
