"""Sockets from outside in a guarded hand stop at the fence; those of others beside them do not."""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack

import pytest
from guarded_redirect import Guarded, attach
from guarded_wire import wire

from hostguard.kernel.layouts import Mode

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
