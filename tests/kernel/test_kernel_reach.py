"""A UNIX socket dialled as a process would: who the server sees, and what paths mean to the process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from hostguard.identity.process import process_of
from hostguard.kernel.acting import Credentials, acting_as
from hostguard.kernel.reach import Elsewhere, dial_as
from hostguard.kernel.stand_ins import StandIn, new_name, peer_of

pytestmark = pytest.mark.kernel
UID, GID, EXTRA = 54321, 54322, 54323


@pytest.fixture
def folder(stack: ExitStack) -> Path:
    """A folder that everybody can reach, with a short name."""
    found = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hg-")))
    found.chmod(0o755)
    return found


@pytest.fixture
def listener(folder: Path, stack: ExitStack) -> socket.socket:
    """At ``folder/s``, for everybody."""
    sock = stack.enter_context(socket.socket(socket.AF_UNIX))
    sock.bind(str(folder / "s"))
    sock.listen()
    sock.settimeout(10)
    (folder / "s").chmod(0o666)
    return sock


def sleeper(stack: ExitStack, *prefix: str) -> tuple[int, int]:
    """Pid and start of a process that runs until the test ends."""
    process = stack.enter_context(subprocess.Popen([*prefix, "sleep", "60"]))
    stack.callback(process.kill)
    while not os.readlink(f"/proc/{process.pid}/exe").endswith("sleep"):
        pass
    found = process_of(process.pid, None)
    assert found is not None
    return process.pid, found.start_ticks


def dial(pid: int, start: int, uid: int, gid: int, address: bytes, *, wherever: bool = False) -> socket.socket:
    """A connection that this process could have made."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    dial_as(sock, pid, start, uid, gid, address, wherever=wherever)
    return sock


def test_the_server_sees_the_user(folder: Path, listener: socket.socket, stack: ExitStack) -> None:
    pid, start = sleeper(stack)
    with dial(pid, start, UID, GID, bytes(folder / "s")), listener.accept()[0] as accepted:
        assert peer_of(accepted) == (UID, GID)
    assert (os.geteuid(), os.getegid()) == (0, 0)
    assert Path("/proc/thread-self/status").read_text().count("\t0\t0\t0\t0") == 2


def test_the_modes_of_the_file_count_and_the_process_s_groups(folder: Path, listener: socket.socket, stack: ExitStack) -> None:
    os.chown(folder / "s", 0, EXTRA)
    (folder / "s").chmod(0o660)
    before = ("setpriv", f"--reuid={UID}", f"--regid={GID}")
    without, within = sleeper(stack, *before, "--clear-groups"), sleeper(stack, *before, f"--groups={EXTRA}")
    with pytest.raises(PermissionError):
        dial(*without, UID, GID, bytes(folder / "s"))
    dial(*within, UID, GID, bytes(folder / "s")).close()
    with pytest.raises(PermissionError):
        dial(*within, UID + 1, GID, bytes(folder / "s"))  # it is somebody else by now: its groups are not for that user
    listener.accept()[0].close()


def test_a_process_that_has_ended_reaches_nothing(folder: Path, listener: socket.socket, stack: ExitStack) -> None:
    pid, start = sleeper(stack)
    with pytest.raises(Elsewhere, match="has ended"):
        dial(pid, start + 1, UID, GID, bytes(folder / "s"))
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    with pytest.raises(Elsewhere, match="has ended"):
        dial(gone.pid, start, UID, GID, bytes(folder / "s"))
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_a_path_is_followed_below_the_process_s_root(folder: Path, listener: socket.socket, stack: ExitStack) -> None:
    root = folder / "root"
    (root / str(folder).lstrip("/")).mkdir(parents=True)
    inside = root / str(folder / "s").lstrip("/")
    pid, start = sleeper(stack)
    chrooted = chroot_sleeper(stack, root)
    with pytest.raises(FileNotFoundError):
        dial(*chrooted, UID, GID, bytes(folder / "s"))
    other = stack.enter_context(socket.socket(socket.AF_UNIX))
    other.bind(str(inside))
    other.listen()
    with pytest.raises(Elsewhere, match="another socket"):
        dial(*chrooted, 0, 0, bytes(folder / "s"))
    dial(*chrooted, 0, 0, bytes(folder / "s"), wherever=True).close()
    other.accept()[0].close()
    inside.unlink()
    os.link(folder / "s", inside)
    dial(*chrooted, UID, GID, bytes(folder / "s")).close()
    inside.unlink()
    inside.symlink_to(folder / "s")  # in the root this leads to itself; followed from ours it would lead to the server
    with pytest.raises(OSError, match="symbolic links"):
        dial(*chrooted, UID, GID, bytes(folder / "s"))
    dial(pid, start, UID, GID, bytes(folder / "s")).close()
    listener.accept()[0].close()


def chroot_sleeper(stack: ExitStack, root: Path) -> tuple[int, int]:
    """A process with this root."""
    program = f"import os, sys; os.chroot({str(root)!r}); print(flush=True); sys.stdin.read()"
    pipe = subprocess.PIPE
    process = stack.enter_context(subprocess.Popen(["/usr/bin/python3", "-c", program], stdin=pipe, stdout=pipe, text=True))
    assert process.stdout is not None
    process.stdout.readline()
    found = process_of(process.pid, None)
    assert found is not None
    return process.pid, found.start_ticks


def test_a_stand_in_shows_who_serves(folder: Path, listener: socket.socket) -> None:
    os.chown(folder / "s", UID, GID)
    stand_in = StandIn(bytes(folder / "s"), new_name())
    try:
        with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
            first.connect(stand_in.name)
            os.chown(folder / "s", UID + 1, GID)
            stand_in.show(*(stand_in.server() or (0, 0)))
            second.connect(stand_in.name)
            assert (peer_of(first), peer_of(second)) == ((UID, GID), (UID + 1, GID))
    finally:
        stand_in.close()
    assert listener.fileno() >= 0


def test_a_stand_in_of_an_abstract_name_asks_there(stack: ExitStack) -> None:
    server = stack.enter_context(socket.socket(socket.AF_UNIX))
    server.bind(f"\0hostguard-test-{os.getpid()}")
    acting_as(Credentials(UID, GID), server.listen)
    stand_in = StandIn(server.getsockname(), new_name())
    stand_in.close()
    assert stand_in.shown == (UID, GID)


def test_what_goes_wrong_there_is_told_here() -> None:
    with pytest.raises(ZeroDivisionError):
        acting_as(Credentials(UID, GID), lambda: 1 // 0)


OWN_MOUNTS = """
import ctypes, os, socket, subprocess, sys
from hostguard.kernel import reach
from hostguard.kernel.stand_ins import StandIn, new_name
reach.HOST_ROOT = f"/proc/{os.getppid()}/root"  # the first process of a container can't be looked at
libc = ctypes.CDLL(None)
assert libc.unshare(0x20000) == 0
path, pid, start = sys.argv[1].encode(), int(sys.argv[2]), int(sys.argv[3])
subprocess.run(["mount", "--make-rprivate", "/"], check=True)
subprocess.run(["mount", "-t", "tmpfs", "tmpfs", os.path.dirname(path)], check=True)
assert not os.path.exists(path)
reach.dial_as(socket.socket(socket.AF_UNIX), pid, start, 0, 0, path)
print(StandIn(path, new_name()).shown)
"""


def test_a_daemon_with_mounts_of_its_own_sees_the_host_s_paths(folder: Path, listener: socket.socket, stack: ExitStack) -> None:
    os.chown(folder / "s", UID, GID)
    pid, start = sleeper(stack)
    command = [sys.executable, "-c", OWN_MOUNTS, str(folder / "s"), str(pid), str(start)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout == f"({UID}, {GID})\n", done.stderr
    listener.accept()[0].close()
