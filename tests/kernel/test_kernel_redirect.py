"""The redirect on the real kernel: who is redirected, and what the loop learns of them."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack

import pytest
from guarded_cgroups import network_namespace, output_of, python_in
from guarded_redirect import Guarded, attach, refresh

from hostguard.kernel import cgroups

pytestmark = pytest.mark.kernel


@pytest.fixture
def guarded(attached: Guarded) -> Guarded:
    return refresh(attached)


@pytest.fixture
def guarded_netns(attached_netns: Guarded) -> Guarded:
    return refresh(attached_netns)


CONNECT = """
host, port = sys.argv[1], int(sys.argv[2])
sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
code = sock.connect_ex((host, port))
print(errno.errorcode.get(code, "connected"), *(sock.getpeername()[:2] if not code else ()))
"""

DESTINATIONS = [
    ("203.0.113.7", 5432, "203.0.113.7", False),
    ("2001:db8::7", 6543, "2001:db8::7", False),
    ("::ffff:203.0.113.7", 5432, "203.0.113.7", True),
    ("127.0.0.9", 1, "127.0.0.9", False),
    ("::1", 2, "::1", False),
    ("0.0.0.0", 3, "127.0.0.1", False),
    ("::", 4, "::1", False),
]


@pytest.mark.parametrize(("host", "port", "destination", "mapped"), DESTINATIONS)
def test_a_guarded_connect_arrives_with_its_destination(
    guarded_netns: Guarded, host: str, port: int, destination: str, mapped: bool
) -> None:
    seen = guarded_netns.run(CONNECT, host, str(port))
    listener = guarded_netns.sock6 if ":" in destination else guarded_netns.sock4
    origin = guarded_netns.accept(listener)
    assert (origin.host, origin.port, origin.mapped) == (destination, port, mapped)
    peer = destination if host in ("0.0.0.0", "::") else host
    assert seen == f"connected {peer} {port}"


def test_the_origin_names_the_process(guarded: Guarded) -> None:
    program = """
import ctypes
os.setgid(4321)
os.setuid(1234)
ctypes.CDLL(None).prctl(15, b"agent smith", 0, 0, 0)
sock = socket.create_connection(("127.0.0.9", 7))
with open("/proc/self/stat") as file:
    start = file.read().rpartition(")")[2].split()[19]
print(os.getpid(), start, int.from_bytes(sock.getsockopt(1, 57, 8), sys.byteorder))
"""
    before = time.monotonic_ns()
    pid, start, cookie = map(int, guarded.run(program).split())
    origin = guarded.accept()
    assert (origin.pid, origin.start_ticks, origin.socket_cookie) == (pid, start, cookie)
    assert (origin.uid, origin.gid, origin.comm, origin.workload) == (1234, 4321, "agent smith", 7)
    agent = cgroups.cgroup_id(guarded.agent)
    assert (origin.cgroup_id, origin.socket_cgroup_id, origin.guarded_cgroup_id) == (agent, agent, agent)
    assert before < origin.connect_ns < time.monotonic_ns()


def test_the_name_is_the_process_s_not_the_thread_s(guarded: Guarded) -> None:
    program = """
import ctypes
def connect():
    ctypes.CDLL(None).prctl(15, b"worker", 0, 0, 0)
    socket.create_connection(("127.0.0.9", 7))
ctypes.CDLL(None).prctl(15, b"leader", 0, 0, 0)
thread = threading.Thread(target=connect)
thread.start()
thread.join()
"""
    guarded.run(program)
    origin = guarded.accept()
    assert origin.comm == "leader"


LOAD = """
hosts = {socket.AF_INET: "127.0.%d.%d", socket.AF_INET6: "::ffff:127.0.%d.%d"}
def connects(thread, each):
    for number in range(each):
        family = (socket.AF_INET, socket.AF_INET6)[number % 2]
        host, port = hosts[family] % (thread, number % 250 + 1), 1 + number
        with socket.socket(family) as sock:
            sock.connect((host, port))
            sock.sendall(("127.0.%d.%d %d\\n" % (thread, number % 250 + 1, port)).encode())
            sock.recv(1)
threads = [threading.Thread(target=connects, args=(thread, int(sys.argv[1]))) for thread in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_under_eight_threads_every_origin_is_the_right_one(guarded: Guarded) -> None:
    each = 400
    wrong: list[str] = []

    def serve() -> None:
        for _ in range(each):
            sock, origin = guarded.accept_open()
            with sock, sock.makefile("rb") as lines:
                told = lines.readline().decode().strip()
                if origin is None or told != f"{origin.host} {origin.port}":
                    wrong.append(f"{told} but {origin}")
                sock.sendall(b".")

    servers = [threading.Thread(target=serve) for _ in range(8)]
    for server in servers:
        server.start()
    guarded.run(LOAD, str(each))
    for server in servers:
        server.join()
    counters = guarded.redirect.counters()
    assert wrong == []
    assert counters["redirected"] == counters["published"] == 8 * each
    assert counters["ambiguous"] == counters["publish_failed"] == 0


def test_a_non_blocking_connect_is_redirected(guarded: Guarded) -> None:
    program = """
import select
sock = socket.socket()
sock.setblocking(False)
assert sock.connect_ex(("127.0.0.9", 7)) in (0, errno.EINPROGRESS)
select.select([], [sock], [], 5)
print(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), *sock.getpeername())
"""
    assert guarded.run(program) == "0 127.0.0.9 7"
    origin = guarded.accept()
    assert (origin.host, origin.port) == ("127.0.0.9", 7)


def test_fast_open_is_redirected(guarded: Guarded) -> None:
    program = """
sock = socket.socket()
sock.sendto(b"early", socket.MSG_FASTOPEN, ("127.0.0.9", 7))
print(*sock.getpeername())
"""
    assert guarded.run(program) == "127.0.0.9 7"
    sock, origin = guarded.accept_open()
    with sock:
        assert origin is not None
        assert (origin.host, origin.port, sock.recv(10)) == ("127.0.0.9", 7, b"early")


def test_an_unguarded_process_is_left_alone(guarded: Guarded) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert guarded.run(CONNECT, "127.0.0.1", str(port), cgroup=guarded.outside) == f"connected 127.0.0.1 {port}"
    assert guarded.redirect.counters()["redirected"] == 0


def test_after_unguard_a_process_connects_freely(guarded: Guarded) -> None:
    assert guarded.redirect.unguard(cgroups.cgroup_id(guarded.agent))
    assert guarded.run(CONNECT, "127.0.0.9", "1") == "ECONNREFUSED"
    assert guarded.redirect.counters()["refused_no_listener"] == guarded.redirect.counters()["redirected"] == 0
    assert not guarded.redirect.unguard(cgroups.cgroup_id(guarded.agent))


def test_descendants_of_a_guarded_cgroup_are_guarded_by_the_innermost(guarded: Guarded) -> None:
    inner = guarded.agent / "a" / "b" / "c"
    own = cgroups.create(inner)
    guarded.run(CONNECT, "127.0.0.9", "1", cgroup=inner)
    origin = guarded.accept()
    assert (origin.cgroup_id, origin.guarded_cgroup_id) == (own, cgroups.cgroup_id(guarded.agent))
    guarded.redirect.guard(cgroups.cgroup_id(guarded.agent / "a"), 8)
    guarded.run(CONNECT, "127.0.0.9", "1", cgroup=inner)
    origin = guarded.accept()
    assert (origin.workload, origin.guarded_cgroup_id) == (8, cgroups.cgroup_id(guarded.agent / "a"))


def test_a_cgroup_too_deep_to_judge_is_refused(guarded: Guarded) -> None:
    deep = guarded.outside.joinpath(*["d"] * 70)
    cgroups.create(deep)
    assert guarded.run(CONNECT, "127.0.0.9", "1", cgroup=deep) == "ECONNREFUSED"
    assert guarded.redirect.counters()["refused_depth"] == 1


MOVE = """
sock = socket.socket()
enter(sys.argv[1])
sock.connect(("127.0.0.9", 7))
print(*sock.getpeername())
"""


@pytest.mark.parametrize("inward", [True, False])
def test_a_socket_made_on_one_side_and_connected_on_the_other_is_redirected(guarded: Guarded, inward: bool) -> None:
    made, connected = (guarded.outside, guarded.agent) if inward else (guarded.agent, guarded.outside)
    assert guarded.run(MOVE, str(connected), cgroup=made) == "127.0.0.9 7"
    origin = guarded.accept()
    assert (origin.socket_cgroup_id, origin.cgroup_id) == (cgroups.cgroup_id(made), cgroups.cgroup_id(connected))
    assert origin.guarded_cgroup_id == cgroups.cgroup_id(guarded.agent)


def test_a_socket_that_is_connected_again_outside_keeps_nothing_of_its_redirection(guarded: Guarded) -> None:
    program = """
import ctypes
sock = socket.socket()
enter(sys.argv[1])
sock.connect(("127.0.0.9", 7))
ctypes.CDLL(None).connect(sock.fileno(), bytes(16), 16)
enter(sys.argv[2])
sock.connect(("127.0.0.1", int(sys.argv[3])))
print(*sock.getpeername())
"""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        seen = guarded.run(program, str(guarded.agent), str(guarded.outside), str(port), cgroup=guarded.outside)
    assert seen == f"127.0.0.1 {port}"
    assert guarded.redirect.counters()["redirected"] == 1


# Socket options are refused to a guarded process: these are set before it is one.
BIND_DEVICE = """
sock = socket.socket()
sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"out0")
enter(sys.argv[1])
sock.settimeout(5)
sock.connect(("203.0.113.7", 5432))
print(*sock.getpeername())
"""


def test_a_socket_bound_to_a_device_is_unbound_then_redirected(stack: ExitStack) -> None:
    """In a namespace of its own, which then has a road to 203.0.113.0/24."""
    namespace = stack.enter_context(network_namespace())
    guarded_netns = attach(stack, namespace)
    namespace.run("ip", "link", "add", "out0", "type", "veth", "peer", "name", "far0")
    namespace.run("ip", "address", "add", "203.0.113.1/24", "dev", "out0")
    namespace.run("ip", "link", "set", "out0", "up")
    assert guarded_netns.run(BIND_DEVICE, str(guarded_netns.agent), cgroup=guarded_netns.outside) == "203.0.113.7 5432"
    origin = guarded_netns.accept()
    assert origin.host == "203.0.113.7"


IP_OPTIONS = """
sock = socket.socket()
sock.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, bytes([131, 7, 4, 203, 0, 113, 99, 0]))
enter(sys.argv[1])
print(errno.errorcode[sock.connect_ex(("203.0.113.7", 5432))])
"""

ROUTING_HEADER = """
import struct
segments = socket.inet_pton(socket.AF_INET6, "2001:db8::7") + socket.inet_pton(socket.AF_INET6, "2001:db8::99")
sock = socket.socket(socket.AF_INET6)
sock.setsockopt(socket.IPPROTO_IPV6, 57, struct.pack("BBBBBBH", 0, 4, 4, 1, 1, 0, 0) + segments)
enter(sys.argv[1])
print(errno.errorcode[sock.connect_ex(("2001:db8::7", 5432))])
"""


@pytest.mark.parametrize("program", [IP_OPTIONS, ROUTING_HEADER])
def test_a_socket_with_a_source_route_is_refused(guarded_netns: Guarded, program: str) -> None:
    assert guarded_netns.run(program, str(guarded_netns.agent), cgroup=guarded_netns.outside) == "ECONNREFUSED"
    assert guarded_netns.redirect.counters()["refused_ip_options"] == 1


def test_without_an_ipv6_listener_ipv6_is_refused(guarded: Guarded) -> None:
    guarded.redirect.set_listeners(guarded.sock4, None)
    assert guarded.run(CONNECT, "::1", "7") == "ECONNREFUSED"
    assert guarded.run(CONNECT, "::ffff:127.0.0.9", "7").startswith("connected")
    assert guarded.redirect.counters()["refused_no_listener"] == 1


def test_another_namespace_without_a_listener_is_refused(guarded: Guarded, stack: ExitStack) -> None:
    namespace = stack.enter_context(network_namespace())
    assert output_of(python_in(guarded.agent, CONNECT, "127.0.0.9", "7", netns=namespace.path)) == "ECONNREFUSED"
    assert guarded.redirect.counters()["refused_no_listener"] == 1
