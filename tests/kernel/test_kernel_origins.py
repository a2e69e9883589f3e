"""Records of origin on the real kernel: each is taken once, by the connection that it belongs to, or by none."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest
from guarded_cgroups import loop_listeners, python_in
from guarded_redirect import Guarded, attach, refresh

from hostguard.kernel import pins
from hostguard.kernel.flows import origin_of
from hostguard.kernel.layouts import OriginKey, mapped_address
from hostguard.kernel.loader import netns_cookie

pytestmark = pytest.mark.kernel


@pytest.fixture
def guarded(attached: Guarded) -> Guarded:
    return refresh(attached)


CONNECT = """
host, port = sys.argv[1], int(sys.argv[2])
sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
code = sock.connect_ex((host, port))
print(errno.errorcode.get(code, "connected"), *(sock.getpeername()[:2] if not code else ()))
"""


def test_a_connect_that_failed_after_its_hook_leaves_nothing_for_a_direct_dial(guarded: Guarded) -> None:
    program = """
sock = socket.socket(socket.AF_INET6)
sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
enter(sys.argv[1])
print(errno.errorcode[sock.connect_ex(("::ffff:127.0.0.9", 7))])
enter(sys.argv[2])
sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
sock.connect(("::ffff:127.0.0.1", int(sys.argv[3])))
print(*sock.getpeername()[:2])
"""
    port = guarded.sock4.getsockname()[1]
    seen = guarded.run(program, str(guarded.agent), str(guarded.outside), str(port), cgroup=guarded.outside)
    assert seen == f"ENETUNREACH\n::ffff:127.0.0.1 {port}"
    sock, origin = guarded.accept_open()
    sock.close()
    assert origin is None


DIAL_FROM = """
for port in map(int, sys.argv[3:]):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, (1).to_bytes(4, "little") + bytes(4))
    sock.bind(("127.0.0.1", int(sys.argv[1])))
    sock.connect((sys.argv[2], port))
    print(sock.getsockname()[1])
    sock.close()
"""


def test_a_direct_dial_of_the_listener_has_no_record(guarded: Guarded) -> None:
    port = guarded.sock4.getsockname()[1]
    guarded.run(CONNECT, "127.0.0.1", str(port), cgroup=guarded.outside)
    sock, origin = guarded.accept_open()
    sock.close()
    assert origin is None


def test_a_direct_dial_from_the_source_of_a_redirected_connection_has_no_record(guarded: Guarded) -> None:
    source = guarded.run(DIAL_FROM, "0", "127.0.0.9", "7")
    guarded.run(DIAL_FROM, source, "127.0.0.1", str(guarded.sock4.getsockname()[1]), cgroup=guarded.outside)
    for _ in range(2):
        sock, peer = guarded.sock4.accept()
        with sock:
            assert peer[1] == int(source)
            assert origin_of(sock, guarded.redirect, peer) is None
    assert guarded.redirect.counters()["cleared_direct_dial"] == 1


def test_a_record_is_taken_once(guarded: Guarded) -> None:
    guarded.run(CONNECT, "127.0.0.9", "7")
    sock, peer = guarded.sock4.accept()
    with sock:
        assert origin_of(sock, guarded.redirect, peer) is not None
        assert origin_of(sock, guarded.redirect, peer) is None


def test_two_connections_from_one_source_before_the_first_is_accepted_are_both_refused(guarded: Guarded) -> None:
    source = guarded.run(DIAL_FROM, "0", "127.0.0.9", "7")
    guarded.run(DIAL_FROM, source, "127.0.0.9", "8")
    for _ in range(2):
        sock, peer = guarded.sock4.accept()
        with sock:
            assert peer[1] == int(source)
            assert origin_of(sock, guarded.redirect, peer) is None
    assert guarded.redirect.counters()["ambiguous"] == 1


def test_a_record_that_an_earlier_listener_left_is_nobody_s(guarded: Guarded, stack: ExitStack) -> None:
    source = guarded.run(DIAL_FROM, "0", "127.0.0.9", "7")
    sock4, sock6 = stack.enter_context(loop_listeners())
    guarded.redirect.set_listeners(sock4, sock6)
    guarded.run(DIAL_FROM, source, "127.0.0.1", str(sock4.getsockname()[1]), cgroup=guarded.outside)
    sock, origin = guarded.accept_open(sock4)
    sock.close()
    assert origin is None


def test_the_record_is_there_before_the_first_packet_is_answered(guarded: Guarded, stack: ExitStack) -> None:
    program = """
sock = socket.socket()
sock.setblocking(False)
sock.connect_ex(("127.0.0.9", int(sys.argv[1])))
print(sock.getsockname()[1])
"""
    full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
    guarded.redirect.set_listeners(full, None)
    guarded.run(program, "1")
    source = int(guarded.run(program, "2"))
    origin = guarded.redirect.take_origin(OriginKey(netns_cookie(full), mapped_address("127.0.0.1"), source))
    assert origin is not None
    assert origin.port == 2


def test_with_the_connect_hook_gone_no_earlier_record_is_published_again(stack: ExitStack) -> None:
    guarded = attach(stack, None)
    program = """
import ctypes
sock = socket.socket()
sock.connect(("127.0.0.9", 7))
print("connected", flush=True)
input()
ctypes.CDLL(None).connect(sock.fileno(), bytes(16), 16)
sock.connect(("127.0.0.1", int(sys.argv[1])))
"""
    child = python_in(guarded.agent, program, str(guarded.sock4.getsockname()[1]))
    assert child.stdout is not None
    assert child.stdout.readline() == "connected\n"
    assert guarded.accept().port == 7
    pins.detach_link(pins.link_path(guarded.pin_dir, "connect4"))
    child.communicate("go\n", timeout=10)
    sock, origin = guarded.accept_open()
    sock.close()
    assert origin is None


def test_a_connection_elsewhere_from_the_same_source_leaves_the_record(guarded: Guarded) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        source = guarded.run(DIAL_FROM, "0", "127.0.0.9", "7")
        guarded.run(DIAL_FROM, source, "127.0.0.1", str(server.getsockname()[1]), cgroup=guarded.outside)
    sock, peer = guarded.sock4.accept()
    with sock:
        origin = origin_of(sock, guarded.redirect, peer)
        assert origin is not None
        assert origin.port == 7


def test_a_connection_that_was_reset_can_be_asked_for(guarded: Guarded) -> None:
    guarded.run(DIAL_FROM, "0", "127.0.0.9", "7")
    sock, _ = guarded.sock4.accept()
    with sock:
        assert origin_of(sock, guarded.redirect) is None
