"""The process that reads the log for others: what hostile bytes in it could do there is to read it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import caged
import pytest

CONFINE = """
if sys.argv[2] == "caged":
    from hostguard.agent import reading
    reading.confine(json.loads(sys.argv[3]))
"""
KILLED = f"signal {int(signal.SIGSYS)}"
# (code before it is confined, the attempt, what becomes of it; nobody listens at that port)
ATTEMPTS = {
    "make a TCP socket": ("", "socket.socket()", "EPERM"),
    "make a UNIX socket": ("", "socket.socket(socket.AF_UNIX)", "EPERM"),
    "make a pair of sockets": ("", "socket.socketpair()", "EPERM"),
    "connect a socket that was there": ("sock = socket.socket()", "sock.connect(('127.0.0.1', 1))", KILLED),
    "execute a program": ("", "os.execv('/bin/true', ['true'])", KILLED),
    "fork": ("", "if os.fork() == 0: os._exit(0)", "EPERM"),
    "end another process": ("", "os.kill(VICTIM, 9)", KILLED),
    "trace another process": ("", "call(101, 16, VICTIM, 0, 0)", KILLED),
    "read another's memory": ("", "call(310, VICTIM, 0, 0, 0, 0, 0)", KILLED),
    "load an eBPF program": ("", "call(321, 0, 0, 0)", KILLED),
    "make an io_uring": ("params = ctypes.create_string_buffer(120)", "call(425, 4, params)", "EPERM"),
    "become somebody else": ("", "os.setuid(1)", KILLED),
    "mount": ("", "call(165, 0, 0, 0, 0, 0)", KILLED),
    "read another file": ("", "open('/etc/shadow').read()", "EACCES"),
    "read what it is for": ("", "open('FOLDER/segment').read()", "done"),
    "write there": ("", "open('FOLDER/segment', 'a')", "EACCES"),
    "start a thread": ("import threading", "threading.Thread(target=int).start()", "done"),
}  # fmt: skip


@pytest.fixture
def victim() -> Iterator[int]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process.pid
        process.kill()


def became(what: str, victim: int, folder: Path, *, is_caged: bool) -> str:
    (folder / "segment").write_text("x")
    before, code, _ = ATTEMPTS[what]
    script = caged.attempting(before, code.replace("VICTIM", str(victim)).replace("FOLDER", str(folder)))
    folders = json.dumps({"reads": [str(folder)], "writes": []})
    # It makes its filter of system calls by itself.
    return caged.told(script + CONFINE + caged.OUTCOME, b"", folders, caged=is_caged)


@pytest.mark.parametrize("what", ATTEMPTS)
def test_it_can_only_read(what: str, victim: int, tmp_path: Path) -> None:
    assert became(what, victim, tmp_path, is_caged=True) == ATTEMPTS[what][2]
    assert os.waitpid(victim, os.WNOHANG) == (0, 0)


# As many as shows that the attempts are real ones; the rest would do harm.
OUTSIDE = ("make a TCP socket", "make a pair of sockets", "fork", "trace another process", "make an io_uring", "write there")


@pytest.mark.parametrize("what", OUTSIDE)
def test_elsewhere_the_same_succeeds(what: str, victim: int, tmp_path: Path) -> None:
    assert became(what, victim, tmp_path, is_caged=False) == "done"
