"""Sockets from outside in a guarded hand stop at the fence; those of others beside them do not."""

from __future__ import annotations

import socket
import subprocess
import threading
from contextlib import ExitStack

import pytest
from guarded_redirect import Guarded, attach
from guarded_wire import wire

from hostguard.kernel import cgroups, pins
from hostguard.kernel.layouts import CGROUP_ID, INDEX, U64, WORKLOAD, Mode

pytestmark = pytest.mark.kernel

CARRIED = """
kind = socket.SOCK_STREAM if sys.argv[2] == "tcp" else socket.SOCK_DGRAM
sock = socket.socket(socket.AF_INET, kind)
sock.connect(("10.77.0.2", 443))
print("connected", flush=True)
input()
enter(sys.argv[1])
for _ in range(2):
    try: print(sock.send(b"x"))
    except OSError as error: print(errno.errorcode[error.errno])
enter(sys.argv[3])
try: print(sock.send(b"x"))
except OSError as error: print(errno.errorcode[error.errno])
"""


@pytest.mark.parametrize("observed", [False, True], ids=["enforced", "observed"])
@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_once_a_guarded_process_has_sent_nobody_sends_on_it_any_more(stack: ExitStack, kind: str, observed: bool) -> None:
    cable = stack.enter_context(wire())
    guarded = attach(stack, cable.near)
    server = stack.enter_context(cable.far.tcp_socket(socket.AF_INET))
    server.bind(("10.77.0.2", 443))
    server.listen()
    datagrams = stack.enter_context(cable.far.make_socket(socket.AF_INET, socket.SOCK_DGRAM))
    datagrams.bind(("10.77.0.2", 443))
    if observed:
        guarded.redirect.set_modes({7: Mode.OBSERVE})
    child = guarded.start(CARRIED, str(guarded.agent), kind, str(guarded.outside), cgroup=guarded.outside)
    assert child.stdout is not None
    assert child.stdout.readline() == "connected\n"
    cable.heard()
    out, err = child.communicate("go\n", timeout=10)
    assert out.split() == (["EPERM"] * 3 if kind == "udp" and not observed else ["1"] * 3), err
    assert (cable.heard() != []) is observed
    events = guarded.redirect.events()
    (event,) = [event for event in events.read() if event.kind == "tainted"]
    events.close()
    assert (event.pid, event.workload, event.observed) == (child.pid, 7, observed)


PUMP = """
sock = socket.create_connection(("127.0.0.9", 7))
for _ in range(3000):
    sock.sendall(b"x" * 512)
    sock.recv(65536)
"""


def test_a_busy_server_s_answers_in_the_time_slice_of_the_guarded_are_its_own(guarded_netns: Guarded) -> None:
    """The loop itself is such a server: unguarded, it answers in soft interrupts that the client's own packets raise."""

    def serve() -> None:
        sock, _ = guarded_netns.sock4.accept()
        with sock:
            while data := sock.recv(65536):
                sock.sendall(data)

    servers = [threading.Thread(target=serve) for _ in range(2)]
    for server in servers:
        server.start()
    children = [guarded_netns.start(PUMP) for _ in servers]
    assert guarded_netns.netns is not None
    with guarded_netns.netns.make_socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        while any(child.poll() is None for child in children):
            datagrams.sendto(b"x", ("127.0.0.1", 9))
    for child in children:
        assert child.wait() == 0
        child.communicate()
    for server in servers:
        server.join()
    counters = guarded_netns.redirect.counters()
    assert (counters["redirected"], counters["dropped"], counters["tainted"]) == (2, 0, 0)


ALREADY = """
sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
sock.connect(("10.77.0.2", 443))
enter(sys.argv[1])
print("connected", flush=True)
for line in sys.stdin:
    print(sock.send(b"x"), flush=True)
"""


def says(child: subprocess.Popen[str]) -> str:
    """The child's next word."""
    assert child.stdout is not None
    return child.stdout.readline().strip()


def sends(child: subprocess.Popen[str]) -> None:
    """Has the child send once more."""
    assert child.stdin is not None
    child.stdin.write("go\n")
    child.stdin.flush()
    assert says(child) == "1"


@pytest.mark.parametrize("half_done", [False, True], ids=["daemon", "daemon that died in a change"])
@pytest.mark.parametrize("above", [False, True], ids=["its cgroup", "a cgroup above"])
def test_what_was_kept_of_a_sender_is_void_when_its_cgroup_is_guarded(stack: ExitStack, above: bool, half_done: bool) -> None:
    cable = stack.enter_context(wire())
    guarded = attach(stack, cable.near)
    server = stack.enter_context(cable.far.tcp_socket(socket.AF_INET))
    server.bind(("10.77.0.2", 443))
    server.listen()
    inner, maker = guarded.outside / "inner", guarded.root / "maker"
    cgroups.create(inner)
    cgroups.create(maker)
    child = guarded.start(ALREADY, str(inner), cgroup=maker)
    assert says(child) == "connected"
    identifier = cgroups.cgroup_id(guarded.outside if above else inner)
    if half_done:
        with (
            pins.opened(pins.map_path(guarded.pin_dir, "epoch")) as epoch,
            pins.opened(pins.map_path(guarded.pin_dir, "guarded")) as filed,
        ):
            assert epoch is not None
            assert filed is not None
            pins.open_map(epoch, "epoch").update(INDEX.pack(0), U64.pack(1001))
            sends(child)
            assert guarded.redirect.counters()["tainted"] == 0
            pins.open_map(filed, "guarded").update(CGROUP_ID.pack(identifier), WORKLOAD.pack(7))
    else:
        sends(child)
        sends(child)
        assert guarded.redirect.counters()["tainted"] == 0
        guarded.redirect.guard(identifier, 7)
    sends(child)
    assert guarded.redirect.counters()["tainted"] == 1
    child.communicate(timeout=10)


def test_a_sender_is_let_go_with_its_cgroup(stack: ExitStack) -> None:
    cable = stack.enter_context(wire())
    guarded = attach(stack, cable.near)
    guarded.redirect.guard(cgroups.cgroup_id(guarded.outside), 7)
    guarded.redirect.unguard(cgroups.cgroup_id(guarded.outside))
    server = stack.enter_context(cable.far.tcp_socket(socket.AF_INET))
    server.bind(("10.77.0.2", 443))
    server.listen()
    child = guarded.start(ALREADY, str(guarded.outside), cgroup=guarded.root)
    assert says(child) == "connected"
    sends(child)
    assert guarded.redirect.counters()["tainted"] == 0
    child.communicate(timeout=10)
