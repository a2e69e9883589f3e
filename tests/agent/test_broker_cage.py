"""Hostile code in the broker's cage: it reads what it is there for and starts nothing; outside the same is no problem."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import caged
import pytest

from hostguard.agent.sandbox import seccomp

KILLED = f"signal {int(signal.SIGSYS)}"
CLOSE = f"""
import threading
reads = (sys.argv[3] + '/read', '/usr', sys.prefix)
wanted = cage.Cage(
    0, 0, 64, os.getppid(), bytes.fromhex(sys.argv[1]), dials=True, reads=reads, writes=(sys.argv[3] + '/write',)
)
os.chdir(sys.argv[3])
{caged.TRY}"""

# (what, the attempt, what the cage makes of it)
ATTEMPTS = {
    "read a secret": ("open('read/secret').read()", "done"),
    "wait in a thread": ("t = threading.Thread(target=print, args=('',), kwargs={'end': ''}); t.start(); t.join()", "done"),
    "make an authority's key": ("open('write/1', 'w'); os.rename('write/1', 'write/2'); os.unlink('write/2')", "done"),
    "read another file": ("open('other').read()", "EACCES"),
    "list other files": ("os.listdir('.')", "EACCES"),
    "read the host's passwords": ("open('/etc/shadow').read()", "EACCES"),
    "write where it reads": ("open('read/secret', 'w')", "EACCES"),
    "make a folder": ("os.mkdir('write/folder')", "EACCES"),
    "make a link": ("os.symlink('/etc/shadow', 'write/link')", "EACCES"),
    "execute a program": ("os.execv('/bin/true', ['true'])", KILLED),
    "fork": ("if os.fork() == 0: os._exit(0)", "EPERM"),
    "fork by another name": ("call(435, 0, 0)", "ENOSYS"),
    "read another's memory": ("call(310, os.getppid(), 0, 0, 0, 0, 0)", KILLED),
    "trace another process": ("call(101, 16, os.getppid(), 0, 0)", KILLED),
    "end another process": ("os.kill(os.getppid(), 0)", KILLED),
    "listen": ("socket.socket().listen()", KILLED),
    "load an eBPF program": ("call(321, 0, 0, 0)", KILLED),
    "take a descriptor of another": ("call(438, 0, 0, 0)", KILLED),
    "mount": ("call(165, 0, 0, 0, 0, 0)", KILLED),
    "change who owns a file": ("os.chown('read/secret', 1, 1)", "EPERM"),
    "make an io_uring": ("call(425, 4, ctypes.create_string_buffer(120))", "EPERM"),
}  # fmt: skip


def attempt(folder: Path, code: str, *, caged_: bool) -> str:
    body = f"def attempt():\n    {code}\n"
    script = caged.PREPARE + body + CLOSE
    return caged.told(script, seccomp.compiled_asking(), str(folder), caged=caged_)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("read", "write"):
        (tmp_path / name).mkdir()
    for name in ("read/secret", "other"):
        (tmp_path / name).write_text("x")
    return tmp_path


@pytest.mark.parametrize("what", ATTEMPTS)
def test_in_the_brokers_cage(folder: Path, what: str) -> None:
    code, expected = ATTEMPTS[what]
    assert attempt(folder, code, caged_=True) == expected


@pytest.mark.parametrize("what", ["read another file", "list other files", "write where it reads", "make a folder", "fork"])
def test_outside_of_it_the_same_is_no_problem(folder: Path, what: str) -> None:
    assert attempt(folder, ATTEMPTS[what][0], caged_=False) == "done"


def test_the_broker_loads_nothing_of_the_supervisors() -> None:
    program = "import hostguard.agent.broker.process, sys; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True).stdout.split()
    walls = (
        "hostguard.kernel",
        "hostguard.recorder.log",
        "hostguard.agent.daemon",
        "hostguard.agent.broker.keeper",
        "aiohttp",
        "click",
    )
    assert [name for name in loaded for wall in walls if name == wall or name.startswith(f"{wall}.")] == []
