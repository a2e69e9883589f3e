"""UNIX sockets of guarded processes on the real kernel: denied but for exact addresses, or the loop's."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from guarded_cgroups import output_of
from guarded_redirect import Guarded, attach, refresh

from hostguard.kernel import cgroups
from hostguard.kernel.flows import unix_origin_of
from hostguard.kernel.layouts import Mode, Origin
from hostguard.kernel.stand_ins import StandIn, new_name, voucher_for

pytestmark = pytest.mark.kernel
DATABASE = "/run/hostguard-test-database.sock"
"""There is none."""


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


# What unshare(1) does for an unprivileged user: first a root of one's own, then mounts, or another root.
OWN_PATHS = """
import ctypes, subprocess
libc = ctypes.CDLL(None, use_errno=True)
os.setgid(65534); os.setuid(65534)
libc.prctl(4, 1)  # PR_SET_DUMPABLE: uid_map is the process's own again
assert libc.unshare(0x10000000 | (0x20000 if sys.argv[1] == "mounts" else 0)) == 0, ctypes.get_errno()
open("/proc/self/uid_map", "w").write("0 65534 1")
if sys.argv[1] == "mounts":
    subprocess.run(["/bin/mount", "--bind", sys.argv[3], sys.argv[2]], check=True)
else:
    os.chroot(sys.argv[4])
print(errno.errorcode.get(socket.socket(socket.AF_UNIX).connect_ex(sys.argv[2])))
"""


@pytest.mark.parametrize("way", ["mounts", "root"])
def test_an_allowed_path_is_not_the_process_s_to_lead_elsewhere(guarded: Guarded, stack: ExitStack, way: str) -> None:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hg-")))
    (folder / "root" / folder.name).mkdir(parents=True)
    folder.chmod(0o755)
    sockets = [folder / "allowed", folder / "database"]
    # In the root that the process makes for itself the allowed path is a link to the database's socket.
    allowed = sockets[0] if way == "mounts" else Path("/allowed")
    (folder / "root" / "allowed").symlink_to("database")
    for path in (*sockets, folder / "root" / "database"):
        sock = stack.enter_context(socket.socket(socket.AF_UNIX))
        sock.bind(str(path))
        sock.listen()
        path.chmod(0o666)
    guarded.redirect.set_unix({bytes(allowed): None})
    arguments = (way, str(allowed), str(sockets[1]), str(folder / "root"))
    assert guarded.run(OWN_PATHS, *arguments, cgroup=guarded.outside) == "None"
    assert guarded.run(OWN_PATHS, *arguments) == "EACCES"


@dataclass
class Standing:
    """A stand-in for ``/run/database.sock``, which need not exist, with what vouches for it."""

    stand_in: StandIn
    voucher: socket.socket

    def accept(self, guarded: Guarded) -> tuple[socket.socket, Origin | None]:
        """The next connection with its origin, if it has one."""
        self.stand_in.sock.settimeout(20)
        sock, _ = self.stand_in.sock.accept()
        return sock, unix_origin_of(sock, guarded.redirect, self.stand_in.name, self.stand_in.address)


@pytest.fixture
def standing(guarded: Guarded, stack: ExitStack) -> Standing:
    stand_in = StandIn(DATABASE.encode(), new_name())
    stack.callback(stand_in.close)
    guarded.redirect.set_unix({stand_in.address: stand_in.name})
    voucher = stack.enter_context(voucher_for([stand_in.sock]))
    guarded.redirect.vouch(voucher)
    return Standing(stand_in, voucher)


ASK = """
import struct
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
sock.sendall(b"hello")
print(os.getpid(), sock.getpeername(), sock.recv(1), struct.unpack("iII", sock.getsockopt(1, 17, 12))[1:])
"""


def test_a_resource_s_socket_is_the_loop_s(guarded: Guarded, standing: Standing) -> None:
    standing.stand_in.show(65534, 65533)
    child = guarded.start(ASK, DATABASE)
    sock, origin = standing.accept(guarded)
    with sock:
        assert (sock.recv(5), sock.send(b"x")) == (b"hello", 1)
        assert origin is not None
        assert output_of(child) == f"{origin.pid} {DATABASE} b'x' (65534, 65533)"
        assert (origin.destination, origin.port, origin.workload, origin.unix) == (f"unix:{DATABASE}", 0, 7, True)
        assert origin.guarded_cgroup_id == cgroups.cgroup_id(guarded.agent)
        assert unix_origin_of(sock, guarded.redirect, standing.stand_in.name, standing.stand_in.address) is None
    counters = guarded.redirect.counters()
    assert (counters["unix_redirected"], counters["denied_unix"]) == (1, 0)


def test_a_record_waits_for_a_client_that_has_gone(guarded: Guarded, standing: Standing) -> None:
    for _ in range(2):
        assert guarded.run(CALL, "connect", DATABASE, "/") == "None"
    for _ in range(2):
        sock, origin = standing.accept(guarded)
        sock.close()
        assert origin is not None
        assert origin.comm.startswith("python")


def test_who_dials_the_stand_in_itself_has_no_record(guarded: Guarded, standing: Standing) -> None:
    name = standing.stand_in.name.decode().replace("\0", "@")
    assert guarded.run(CALL, "connect", name, "/") == "EACCES"
    assert guarded.run(CALL, "connect", name, "/", cgroup=guarded.outside) == "None"
    sock, origin = standing.accept(guarded)
    sock.close()
    assert origin is None


def test_a_record_is_of_one_stand_in(guarded: Guarded, standing: Standing, stack: ExitStack) -> None:
    other = StandIn(b"/run/other.sock", new_name())
    stack.callback(other.close)
    assert guarded.run(CALL, "connect", DATABASE, "/") == "None"
    sock, _ = standing.stand_in.sock.accept()
    with sock:
        assert unix_origin_of(sock, guarded.redirect, other.name, other.address) is None


@pytest.mark.parametrize("kind", ["SOCK_DGRAM", "SOCK_SEQPACKET"])
@pytest.mark.usefixtures("standing")
def test_only_streams_are_redirected(guarded: Guarded, kind: str) -> None:
    program = f"print(socket.socket(socket.AF_UNIX, socket.{kind}).connect_ex({DATABASE!r}) == errno.EACCES)"
    assert guarded.run(program) == "True"
    assert guarded.run(CALL, "sendto", DATABASE, "/") == "EACCES"


def test_the_stand_in_s_name_leads_nowhere_once_the_loop_is_gone(guarded: Guarded, standing: Standing) -> None:
    name = standing.stand_in.name
    standing.stand_in.close()  # our copy: the voucher's keeps it open, as when a process ends descriptor by descriptor
    with socket.socket(socket.AF_UNIX) as impostor:
        with pytest.raises(OSError, match="in use"):
            impostor.bind(name)
        assert guarded.run(CALL, "connect", DATABASE, "/") == "None"
        standing.voucher.close()
        impostor.bind(name)
        impostor.listen()
        impostor.settimeout(0)
        assert guarded.run(CALL, "connect", DATABASE, "/") == "ECONNREFUSED"
        with pytest.raises(BlockingIOError):
            impostor.accept()
    events = guarded.redirect.events()
    assert [(event.kind, event.path) for event in events.read()] == [("refused_no_listener", DATABASE.encode())]
    events.close()


@pytest.mark.usefixtures("standing")
def test_a_loop_that_hangs_is_no_loop(guarded: Guarded) -> None:
    guarded.redirect.beat(1)
    assert guarded.run(CALL, "connect", DATABASE, "/") == "ECONNREFUSED"


def test_observed_without_a_loop_goes_where_it_went(guarded: Guarded, standing: Standing, server: Path) -> None:
    guarded.redirect.set_modes({7: Mode.OBSERVE})
    guarded.redirect.set_unix({bytes(server / "s"): standing.stand_in.name})
    standing.voucher.close()
    assert guarded.run(CALL, "connect", str(server / "s"), "/") == "None"


@pytest.mark.usefixtures("standing")
def test_open_sockets_do_not_open_a_resource_s(guarded: Guarded) -> None:
    guarded.redirect.set_modes({7: Mode.UNIX_OPEN})
    assert guarded.run(CALL, "connect", DATABASE, "/") == "None"
    assert guarded.redirect.counters()["unix_redirected"] == 1


@pytest.mark.usefixtures("standing")
def test_a_cgroup_that_is_not_classified_does_not_reach_a_resource(guarded: Guarded) -> None:
    guarded.redirect.watch(cgroups.cgroup_id(guarded.root))
    assert guarded.run(CALL, "connect", DATABASE, "/", cgroup=guarded.outside) == "ECONNREFUSED"


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
