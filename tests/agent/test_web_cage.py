"""Hostile code in the cage of the page's process: it accepts and connects, as it is there for, and does nothing else."""

from __future__ import annotations

import signal
import subprocess
import sys

import caged
import msgspec
import pytest

from hostguard.agent.sandbox import seccomp
from hostguard.agent.web import messages

KILLED = f"signal {int(signal.SIGSYS)}"
BEFORE = """
import threading
from hostguard.agent.web.showing import Showing
server = socket.create_server(('127.0.0.1', 0))
showing = Showing()
"""
CLOSE = f"""
wanted = cage.Cage(65534, 65534, 64, os.getppid(), bytes.fromhex(sys.argv[1]), dials=True)
{caged.TRY}"""
# (what, the attempt, what the cage makes of it)
ATTEMPTS = {
    "connect, accept": ("socket.socket().connect(server.getsockname()); server.accept()", "done"),
    "use a file in memory that it has": ("open(f'/proc/self/fd/{showing._memfd}').read()", "done"),
    "make another": ("os.memfd_create('x')", "EPERM"),
    "listen": ("socket.socket().listen()", KILLED),
    "bind": ("socket.socket().bind(('127.0.0.1', 0))", KILLED),
    "read a file": ("open('/etc/passwd').read()", "EACCES"),
    "list files": ("os.listdir('/')", "EACCES"),
    "write a file": ("open('/tmp/hostguard-web-was-here', 'w')", "EACCES"),
    "execute a program": ("os.execv('/bin/true', ['true'])", KILLED),
    "fork": ("if os.fork() == 0: os._exit(0)", "EAGAIN"),
    "trace another process": ("call(101, 16, os.getppid(), 0, 0)", KILLED),
    "read another's memory": ("call(310, os.getppid(), 0, 0, 0, 0, 0)", KILLED),
    "end another process": ("os.kill(os.getppid(), 0)", KILLED),
    "become root": ("os.setuid(0)", KILLED),
    "load an eBPF program": ("call(321, 0, 0, 0)", KILLED),
    "take a descriptor of another": ("call(438, 0, 0, 0)", KILLED),
    "mount": ("call(165, 0, 0, 0, 0, 0)", KILLED),
    "make an io_uring": ("call(425, 4, ctypes.create_string_buffer(120))", "EPERM"),
}  # fmt: skip


def attempt(code: str, *, caged_: bool) -> str:
    script = f"{caged.PREPARE}{BEFORE}def attempt():\n    {code}\n{CLOSE}"
    return caged.told(script, seccomp.compiled_serving(), caged=caged_)


@pytest.mark.parametrize("what", ATTEMPTS)
def test_in_the_cage(what: str) -> None:
    code, expected = ATTEMPTS[what]
    assert attempt(code, caged_=True) == expected


@pytest.mark.parametrize("what", ["make another", "listen", "bind", "read a file", "list files", "fork"])
def test_outside_of_it_the_same_is_no_problem(what: str) -> None:
    assert attempt(ATTEMPTS[what][0], caged_=False) == "done"


def test_it_loads_nothing_of_the_supervisors() -> None:
    program = "import hostguard.agent.web.process, sys; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True).stdout.split()
    walls = ("hostguard.kernel", "hostguard.recorder.log", "hostguard.agent.daemon", "hostguard.agent.holds", "click")
    assert [name for name in loaded for wall in walls if name == wall or name.startswith(f"{wall}.")] == []


KEY = "0" * 64


@pytest.mark.parametrize(
    "message",
    [
        messages.Ask(1, "0" * 63, "waiting"),
        messages.Ask(1, KEY.upper().replace("0", "A"), "waiting"),
        messages.Ask(1, KEY, "anything"),
        messages.Ask(1, KEY, "request", "R" * 65),
        messages.Ask(-1, KEY, "waiting"),
        messages.Answer(1, KEY, "R-1", True, "0" * 12, ""),
        messages.Answer(1, KEY, "R-1", True, KEY, "x" * 9000),
        messages.Enter(1, KEY, "corp", "u" * 65, "s", "a"),
        messages.Enter(1, KEY, "corp", "u", "s" * 9000, "a"),
        messages.LookUp(1, "x" * 256),
        messages.Crashed("x" * 9000),
        messages.Told(1, 200),
        messages.Begin("", 1, (), True),
    ],
)
def test_a_message_that_breaks_a_rule_is_none(message: msgspec.Struct) -> None:
    with pytest.raises(msgspec.MsgspecError):
        messages.from_web(messages.encode(message))


def test_a_message_comes_back_as_it_was() -> None:
    answer = messages.Answer(1, KEY, "R-1", True, KEY, "fine")
    assert messages.from_web(messages.encode(answer)) == answer
