"""Sockets from before, or from elsewhere, in the hands of guarded processes: found and ended."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest
from guarded_redirect import Guarded, attach
from guarded_wire import wire

from hostguard.kernel import cgroups
from hostguard.kernel.enrol import sweep
from hostguard.kernel.layouts import Mode

pytestmark = pytest.mark.kernel

# Connects outside the guard, as told, enters, then says what became of it.
CARRIED = """
kind = socket.SOCK_STREAM if sys.argv[2] == "tcp" else socket.SOCK_DGRAM
sock = socket.socket(socket.AF_INET6 if ":" in sys.argv[3] else socket.AF_INET, kind)
sock.connect((sys.argv[3], 443))
enter(sys.argv[1])
print("ready", flush=True)
input()
try:
    print(sock.send(b"x"))
except OSError as error:
    print(errno.errorcode[error.errno])
"""


@pytest.mark.parametrize("observed", [False, True], ids=["enforced", "observed"])
@pytest.mark.parametrize("kind", ["tcp", "udp"])
@pytest.mark.parametrize("host", ["10.77.0.2", "fd77::2", "::ffff:10.77.0.2"])
def test_a_connection_that_is_carried_in_is_destroyed(stack: ExitStack, kind: str, host: str, observed: bool) -> None:
    cable = stack.enter_context(wire())
    guarded = attach(stack, cable.near)
    server = stack.enter_context(cable.far.tcp_socket(socket.AF_INET6))
    server.bind(("::", 443))
    server.listen()
    if observed:
        guarded.redirect.set_modes({7: Mode.OBSERVE})
    child = guarded.start(CARRIED, str(guarded.agent), kind, host, cgroup=guarded.outside)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    (stray,) = sweep(guarded.redirect)
    assert (stray.pid, stray.workload, stray.ended) == (child.pid, 7, not observed)
    assert host in stray.peer
    cable.heard()
    out, _ = child.communicate("go\n", timeout=10)
    if observed:
        assert out == "1\n"
        assert cable.heard() != []
    else:
        assert out in ("ECONNABORTED\n", "EPIPE\n", "EDESTADDRREQ\n")
        assert cable.heard() == []


REDIRECTED = """
sock = socket.create_connection(("127.0.0.9", 7))
print("ready", flush=True)
input()
print(sock.send(b"x"))
"""


def test_what_was_redirected_stays(guarded: Guarded) -> None:
    child = guarded.start(REDIRECTED)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    assert sweep(guarded.redirect) == []
    assert child.communicate("go\n", timeout=10)[0] == "1\n"


SERVER = """
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
sock, _ = server.accept()
print("accepted", flush=True)
input()
sock.sendall(b"served")
sock.close()
"""


def test_a_server_of_the_guarded_answers_on_loopback(guarded: Guarded) -> None:
    child = guarded.start(SERVER)
    assert child.stdout is not None
    port = int(child.stdout.readline())
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        assert child.stdout.readline() == "accepted\n"
        assert sweep(guarded.redirect) == []
        child.communicate("go\n", timeout=10)
        assert client.recv(100) == b"served"
    assert guarded.redirect.counters()["dropped"] == 0


@pytest.mark.parametrize("inbound", [False, True])
def test_a_server_answers_others_only_where_its_workload_may(stack: ExitStack, inbound: bool) -> None:
    cable = stack.enter_context(wire())
    guarded = attach(stack, cable.near)
    guarded.redirect.set_modes({7: Mode.INBOUND} if inbound else {})
    child = guarded.start(SERVER.replace("127.0.0.1", "10.77.0.1"))
    assert child.stdout is not None
    port = int(child.stdout.readline())
    with cable.far.tcp_socket(socket.AF_INET) as client:
        client.settimeout(0.3)
        if inbound:
            client.connect(("10.77.0.1", port))
            child.communicate("go\n", timeout=10)
            assert client.recv(100) == b"served"
        else:
            with pytest.raises(TimeoutError):
                client.connect(("10.77.0.1", port))
            child.kill()
            child.communicate()


def test_a_packet_socket_is_found_though_it_cannot_be_destroyed(guarded: Guarded) -> None:
    program = "s = socket.socket(17, 3, 0)\nenter(sys.argv[1])\nprint('ready', flush=True)\ninput()"
    child = guarded.start(program, str(guarded.agent), cgroup=guarded.outside)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    (stray,) = sweep(guarded.redirect)
    assert (stray.family, stray.ended) == (socket.AF_PACKET, False)
    assert stray.detail
    child.communicate("go\n", timeout=10)


def test_a_user_s_processes_are_swept_too(guarded: Guarded) -> None:
    program = "import json\nos.setuid(4242)\n" + CARRIED.replace("enter(sys.argv[1])", "")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        program = program.replace("443", str(port))
        child = guarded.start(program, "", "tcp", "127.0.0.1", cgroup=guarded.outside)
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        guarded.redirect.set_users({4242: 11})
        (stray,) = sweep(guarded.redirect)
        assert (stray.workload, stray.ended) == (11, True)
        assert child.communicate("go\n", timeout=10)[0] in ("ECONNABORTED\n", "EPIPE\n")
    assert cgroups.pids(guarded.outside) == []
