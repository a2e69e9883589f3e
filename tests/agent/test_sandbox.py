"""Hostile code in a worker's cage: each thing that it tries fails, and the same thing outside the cage does not."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import caged
import pytest

from hostguard.agent.sandbox import landlock, seccomp

KILLED = f"signal {int(signal.SIGSYS)}"

UNTHREADED = """
try:
    _thread.start_new_thread(print, ())
except RuntimeError:
    raise PermissionError(1, "")
"""

# (what, code before the cage is closed, the attempt, what the cage makes of it)
ATTEMPTS = {
    "read a file": ("", "open('/etc/passwd').read()", "EPERM"),
    "look whether a file is there": ("", "os.stat('/etc/passwd')", "EPERM"),
    "write a file": ("", "open('/tmp/hostguard-caged', 'w'); os.unlink('/tmp/hostguard-caged')", "EPERM"),
    "read a file by a folder": ("etc = os.open('/etc', os.O_RDONLY)", "os.open('passwd', os.O_RDONLY, dir_fd=etc)", "EPERM"),
    "list processes": ("", "os.listdir('/proc')", "EPERM"),
    "import what was not": ("", "try:\n    import wave\nexcept ModuleNotFoundError:\n    raise PermissionError(1, '')", "EPERM"),
    "make a TCP socket": ("", "socket.socket()", "EPERM"),
    "make a UDP socket": ("", "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)", "EPERM"),
    "make a raw socket": ("", "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)", "EPERM"),
    "make a UNIX socket": ("", "socket.socket(socket.AF_UNIX)", "EPERM"),
    "make a pair of sockets": ("", "socket.socketpair()", "EPERM"),
    "make a vsock": ("", "socket.socket(40, socket.SOCK_STREAM)", "EPERM"),
    "connect a socket that was there": ("sock = socket.socket()", "sock.connect(('127.0.0.1', PORT))", KILLED),
    "connect by sending": ("sock = socket.socket()", "sock.sendto(b'x', 0x20000000, ('127.0.0.1', PORT))", "EPERM"),
    "connect by a message": ("sock = socket.socket()", "sock.sendmsg([b'x'], [], 1 << 29, ('127.0.0.1', PORT))", "EPERM"),
    "listen": ("sock = socket.socket()", "sock.listen()", KILLED),
    "bind": ("sock = socket.socket()", "sock.bind(('127.0.0.1', 0))", KILLED),
    "execute a program": ("", "os.execv('/bin/true', ['true'])", KILLED),
    "execute what is open": ("program = os.open('/bin/true', os.O_RDONLY)", "os.execve(program, ['true'], {})", KILLED),
    "fork": ("", "if os.fork() == 0: os._exit(0)", "EPERM"),
    "start a thread": ("import _thread", UNTHREADED, "EPERM"),
    "end another process": ("", "os.kill(VICTIM, 9)", KILLED),
    "end another by its thread": ("", "call(234, VICTIM, VICTIM, 9)", "EPERM"),
    "have signals sent to another": ("import fcntl\nr, w = os.pipe()", "fcntl.fcntl(r, 8, VICTIM)", "EPERM"),
    "trace another process": ("", "call(101, 16, VICTIM, 0, 0)", KILLED),
    "read another's memory": ("", "call(310, VICTIM, 0, 0, 0, 0, 0)", KILLED),
    "load an eBPF program": ("", "call(321, 0, 0, 0)", KILLED),
    "make an io_uring": ("params = ctypes.create_string_buffer(120)", "call(425, 4, params)", "EPERM"),
    "map memory to run code in": ("import mmap", "mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC)", "EPERM"),
    "become root again": ("", "os.setuid(0)", KILLED),
    "enter another namespace": ("net = os.open('/proc/self/ns/net', os.O_RDONLY)", "call(308, net, 0)", KILLED),
    "make a namespace": ("", "call(272, 0x10000000)", KILLED),
    "mount": ("", "call(165, 0, 0, 0, 0, 0)", KILLED),
    "change its limits": ("", "call(302, 0, 7, 0, ctypes.create_string_buffer(16))", "EPERM"),
    "be traced": ("", "call(157, 4, 1, 0, 0, 0)", "EPERM"),
}  # fmt: skip


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A listener on the loopback that counts nothing and answers nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def victim() -> Iterator[int]:
    """Another process of this host."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process.pid
        process.kill()


@pytest.mark.parametrize("what", ATTEMPTS)
def test_the_cage_holds(what: str, port: int, victim: int) -> None:
    before, code, expected = ATTEMPTS[what]
    code = code.replace("PORT", str(port)).replace("VICTIM", str(victim))
    assert caged.attempt(before, code, caged=True) == expected
    assert os.waitpid(victim, os.WNOHANG) == (0, 0)


# As many as shows that the attempts are real ones; the rest would do harm.
OUTSIDE = (
    "read a file", "read a file by a folder", "make a TCP socket", "connect a socket that was there", "connect by sending",
    "connect by a message", "fork", "start a thread", "trace another process", "have signals sent to another",
    "make an io_uring", "map memory to run code in",
)  # fmt: skip


@pytest.mark.parametrize("what", OUTSIDE)
def test_outside_the_cage_the_same_succeeds(what: str, port: int, victim: int) -> None:
    before, code, _ = ATTEMPTS[what]
    code = code.replace("PORT", str(port)).replace("VICTIM", str(victim))
    assert caged.attempt(before, code, caged=False) == "done"


def test_a_caged_process_has_no_privilege_left() -> None:
    """As the kernel tells it, of a process that waits in the cage."""
    code = "print('in', flush=True)\nsys.stdin.readline()"
    script = caged.PREPARE + f"def attempt():\n    {code.replace(chr(10), chr(10) + '    ')}\n" + caged.CLOSE
    command = [sys.executable, "-I", "-c", script, seccomp.compiled().hex(), "caged"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in\n"
        facts = caged.facts_of(process.pid)
        owner = Path(f"/proc/{process.pid}/mem").stat().st_uid
        process.communicate("\n")
    assert {facts[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (facts["Uid"], facts["Groups"], facts["NoNewPrivs"], facts["Seccomp"]) == ("\t".join(["65534"] * 4), "", "1", "2")
    assert owner == 0, "it is dumpable: others of its user could look into it"


def test_without_landlock_the_filter_still_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel without Landlock: the cage says so and closes all the same."""
    before = "from hostguard.agent.sandbox import landlock\nlandlock._CREATE_RULESET = 1000"
    assert caged.attempt(before, "open('/etc/passwd')", caged=True) == "EPERM"
    monkeypatch.setattr(landlock, "_CREATE_RULESET", 1000)
    with pytest.raises(landlock.NoLandlock):
        landlock.abi()


def test_landlock_alone_holds_files() -> None:
    """A host without libseccomp: the cage says so, and Landlock keeps files closed."""
    assert caged.attempt("sys.argv[1] = ''", "open('/etc/passwd')", caged=True) == "EACCES"
