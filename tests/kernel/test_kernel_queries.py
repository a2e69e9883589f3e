"""DNS queries of guarded processes on the real kernel: to the resolver, with who asks whom, answered as by the server."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from guarded_cgroups import in_namespace
from guarded_redirect import Guarded, refresh

from hostguard.kernel import cgroups
from hostguard.kernel.errors import KernelError
from hostguard.kernel.layouts import Origin, OriginKey, mapped_address
from hostguard.kernel.loader import netns_cookie

pytestmark = pytest.mark.kernel


@pytest.fixture
def guarded(attached: Guarded) -> Guarded:
    return refresh(attached)


@pytest.fixture
def guarded_netns(attached_netns: Guarded) -> Guarded:
    return refresh(attached_netns)


UNCONNECTED = """
host, family = sys.argv[1], socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
sock = socket.socket(family, socket.SOCK_DGRAM)
sock.settimeout(5)
sock.sendto(b"question", (host, 53))
data, peer = sock.recvfrom(100)
print(data.decode(), *peer[:2])
"""

CONNECTED = """
host, family = sys.argv[1], socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
sock = socket.socket(family, socket.SOCK_DGRAM)
sock.settimeout(5)
sock.connect((host, 53))
sock.send(b"question")
print(sock.recv(100).decode(), *sock.getpeername()[:2])
"""

SERVERS = ["203.0.113.53", "2001:db8::53", "::ffff:203.0.113.53", "127.0.0.53"]


@contextmanager
def resolver(guarded: Guarded) -> Iterator[tuple[socket.socket, socket.socket]]:
    """UDP sockets as the resolver has them."""

    def make(family: socket.AddressFamily) -> socket.socket:
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        sock.settimeout(10)
        return sock

    def made(family: socket.AddressFamily) -> socket.socket:
        return in_namespace(guarded.netns, lambda: make(family)) if guarded.netns else make(family)

    sock4, sock6 = made(socket.AF_INET), made(socket.AF_INET6)
    with sock4, sock6:
        guarded.redirect.set_resolver(sock4, sock6)
        yield sock4, sock6


def asker(guarded: Guarded, sock: socket.socket) -> tuple[Origin | None, tuple[str, int]]:
    """Answers the next query; who asked it."""
    data, peer = sock.recvfrom(100)
    assert data == b"question"
    origin = guarded.redirect.query_origin(OriginKey(netns_cookie(sock), mapped_address(peer[0]), peer[1]))
    sock.sendto(b"answer", peer)
    return origin, peer[:2]


@pytest.mark.parametrize("program", [UNCONNECTED, CONNECTED], ids=["unconnected", "connected"])
@pytest.mark.parametrize("server", SERVERS)
def test_a_query_goes_to_the_resolver_and_its_answer_comes_from_the_server(
    guarded_netns: Guarded, stack: ExitStack, server: str, program: str
) -> None:
    sock4, sock6 = stack.enter_context(resolver(guarded_netns))
    child = guarded_netns.start(program, server)
    origin, _ = asker(guarded_netns, sock6 if server.startswith("2001") else sock4)
    out, err = child.communicate(timeout=10)
    assert out.strip() == f"answer {server} 53", err
    assert origin is not None
    assert (origin.host, origin.port, origin.workload) == (server.removeprefix("::ffff:"), 53, 7)
    assert (origin.pid, origin.guarded_cgroup_id) == (child.pid, cgroups.cgroup_id(guarded_netns.agent))


def test_a_record_ends_with_its_socket(guarded: Guarded, stack: ExitStack) -> None:
    sock4, _ = stack.enter_context(resolver(guarded))
    child = guarded.start(UNCONNECTED, "127.0.0.53")
    origin, peer = asker(guarded, sock4)
    assert origin is not None
    child.communicate(timeout=10)
    key = OriginKey(netns_cookie(sock4), mapped_address(peer[0]), peer[1])
    assert guarded.redirect.query_origin(key) is None


def test_who_dials_the_resolver_itself_has_no_record(guarded: Guarded, stack: ExitStack) -> None:
    sock4, _ = stack.enter_context(resolver(guarded))
    port = sock4.getsockname()[1]
    program = UNCONNECTED.replace("53)", f"{port})")
    child = guarded.start(program, "127.0.0.1", cgroup=guarded.outside)
    origin, _ = asker(guarded, sock4)
    assert child.communicate(timeout=10)[0].strip() == f"answer 127.0.0.1 {port}"
    assert origin is None


TWO_QUERIES = """
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(5)
sock.connect(("127.0.0.53", 53))
for _ in range(2): sock.send(b"question")
for _ in range(2): print(sock.recv(100).decode())
"""


def test_two_queries_of_one_socket_are_both_its(guarded: Guarded, stack: ExitStack) -> None:
    sock4, _ = stack.enter_context(resolver(guarded))
    child = guarded.start(TWO_QUERIES)
    origins = [asker(guarded, sock4)[0] for _ in range(2)]
    assert child.communicate(timeout=10)[0].split() == ["answer", "answer"]
    assert [origin and origin.host for origin in origins] == ["127.0.0.53"] * 2


REFUSED = """
for call in (lambda s: s.sendto(b"q", ("127.0.0.53", 53)), lambda s: s.connect(("127.0.0.53", 53))):
    try:
        call(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        print("passed")
    except OSError as error:
        print(errno.errorcode[error.errno])
"""


def test_without_a_living_resolver_a_query_is_refused(guarded: Guarded) -> None:
    assert guarded.run(REFUSED).split() == ["ECONNREFUSED", "ECONNREFUSED"]
    with resolver(guarded):
        assert guarded.run(REFUSED).split() == ["passed", "passed"]
        guarded.redirect.beat(1)
        assert guarded.run(REFUSED).split() == ["ECONNREFUSED", "ECONNREFUSED"]
    assert guarded.redirect.resolvers() == {}
    assert guarded.redirect.counters()["refused_no_resolver"] == 2
    assert guarded.redirect.counters()["refused_stale_heartbeat"] == 2


def test_a_resolver_is_a_udp_socket_on_loopback(guarded: Guarded) -> None:
    with pytest.raises(KernelError, match="UDP"):
        guarded.redirect.set_resolver(guarded.sock4, None)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, pytest.raises(KernelError, match=r"127\.0\.0\.1"):
        guarded.redirect.set_resolver(sock, None)
