"""UNIX sockets of guarded processes on the real kernel: denied but for exact addresses, or sent elsewhere."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from guarded_redirect import Guarded, attach, refresh

from hostguard.kernel.layouts import Mode

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def attached() -> Iterator[Guarded]:
    with ExitStack() as stack:
        yield attach(stack, None)


@pytest.fixture
def guarded(attached: Guarded) -> Guarded:
    return refresh(attached)


CALL = """
kind, address, then = sys.argv[1:4]
address = address.replace("@", chr(0), 1).encode()
os.chdir(then)
sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM if kind == "sendto" else socket.SOCK_STREAM)
try:
    print(sock.sendto(b"x", address) if kind == "sendto" else sock.connect(address))
except OSError as error:
    print(errno.errorcode[error.errno])
"""


@pytest.fixture
def server(tmp_path: Path, stack: ExitStack) -> Path:
    """A folder with listening sockets ``s`` and ``t``, and a bound datagram socket ``d``."""
    for name, kind in (("s", socket.SOCK_STREAM), ("t", socket.SOCK_STREAM), ("d", socket.SOCK_DGRAM)):
        sock = stack.enter_context(socket.socket(socket.AF_UNIX, kind))
        sock.bind(str(tmp_path / name))
        if kind == socket.SOCK_STREAM:
            sock.listen()
    return tmp_path


def test_an_address_that_no_rule_names_is_denied(guarded: Guarded, server: Path) -> None:
    for kind, name in (("connect", "s"), ("sendto", "d")):
        arguments = (kind, str(server / name), "/")
        assert guarded.run(CALL, *arguments) == "EACCES"
        assert guarded.run(CALL, *arguments, cgroup=guarded.outside) in ("None", "1")
    events = guarded.redirect.events()
    assert [(event.kind, event.path) for event in events.read()] == [
        ("denied_unix", bytes(server / "s")),
        ("denied_unix", bytes(server / "d")),
    ]
    events.close()


def test_a_rule_is_for_exactly_the_bytes_that_are_passed(guarded: Guarded, server: Path) -> None:
    guarded.redirect.set_unix({bytes(server / "s"): None})
    assert guarded.run(CALL, "connect", str(server / "s"), "/") == "None"
    assert guarded.run(CALL, "connect", "s", str(server)) == "EACCES"
    assert guarded.run(CALL, "connect", f"{server}//s", "/") == "EACCES"
    assert guarded.run(CALL, "connect", str(server / "t"), "/") == "EACCES"
    guarded.redirect.set_unix({})
    assert guarded.run(CALL, "connect", str(server / "s"), "/") == "EACCES"


def test_an_abstract_name_is_matched_whole(guarded: Guarded, stack: ExitStack) -> None:
    name = f"\0{guarded.root.name}"
    sock = stack.enter_context(socket.socket(socket.AF_UNIX))
    sock.bind(name)
    sock.listen()
    assert guarded.run(CALL, "connect", name.replace("\0", "@"), "/") == "EACCES"
    guarded.redirect.set_unix({name.encode(): None})
    assert guarded.run(CALL, "connect", name.replace("\0", "@"), "/") == "None"
    assert guarded.run(CALL, "connect", name.replace("\0", "@") + "x", "/") == "EACCES"


def test_an_address_is_sent_to_another(guarded: Guarded, server: Path) -> None:
    guarded.redirect.set_unix({b"/run/database.sock": bytes(server / "t")})
    assert guarded.run(CALL, "connect", "/run/database.sock", "/") == "None"
    assert guarded.redirect.counters()["unix_redirected"] == 1


def test_a_path_that_fills_its_field_is_read_whole(guarded: Guarded) -> None:
    path = "/" + "p" * 107
    assert guarded.run(CALL, "connect", path[:107], "/") == "EACCES"
    guarded.redirect.set_unix({path[:107].encode(): None})
    assert guarded.run(CALL, "connect", path[:107], "/") == "ENOENT"


def test_a_workload_may_be_open(guarded: Guarded, server: Path) -> None:
    guarded.redirect.set_modes({7: Mode.UNIX_OPEN})
    assert guarded.run(CALL, "connect", str(server / "s"), "/") == "None"


def test_what_observe_would_have_denied_is_told(guarded: Guarded, server: Path) -> None:
    guarded.redirect.set_modes({7: Mode.OBSERVE})
    assert guarded.run(CALL, "connect", str(server / "s"), "/") == "None"
    events = guarded.redirect.events()
    (event,) = events.read()
    events.close()
    assert (event.kind, event.observed) == ("denied_unix", True)


def test_pairs_pass(guarded: Guarded) -> None:
    assert guarded.run("a, b = socket.socketpair()\na.send(b'x')\nprint(b.recv(1))") == "b'x'"
