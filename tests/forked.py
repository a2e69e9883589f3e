"""The ``hostguard`` command, run in a process that is forked from one that has imported already what commands import.

Most of what a short command costs is the start of its interpreter, and the tests run a thousand of them. What runs is the command
itself, with its own arguments, environment, descriptors and exit code, a child of the test like any other; only what
``/proc/PID/cmdline`` says is another's, until it executes a program. Daemons are started for real, and so is each command that
something runs for the test (`nsenter`, `runuser`, a guarded program).

Theory of operation
-------------------
The nursery is one process without threads, since only those can be forked safely. It gets a request with the three standard
descriptors, and clones itself with CLONE_PARENT (clone(2)): the clone's parent is the test, which waits for it as
`subprocess.Popen` does for its own. Modules that look at the terminal or the environment as they are imported are not imported
beforehand: `LATE`.
"""

from __future__ import annotations

import atexit
import ctypes
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

CLONE_PARENT = 0x8000
SYS_CLONE = 56
"""Of x86-64: arch/x86/entry/syscalls/syscall_64.tbl."""
LENGTH_BYTES = 4
ENV = 5
STREAMS = slice(9, 15)
"""Places in what `subprocess.Popen` hands to `_execute_child` after the command."""
EARLY = (
    *(
        "cedarpy",
        "click",
        "ctypes.util",
        "http.client",
        "msgpack",
        "msgspec",
        "pyseccomp",
        "rich.console",
        "rich.table",
        "tomllib",
    ),
    *("hostguard.policy.document", "hostguard.kernel.pins", "hostguard.recorder.entry", "hostguard.agent.paths"),
)
"""What most commands import."""
MAIN = "hostguard.agent.cli.main"
LATE = "hostguard.agent.cli"


class Command(subprocess.Popen[str]):
    """A running ``hostguard`` command with text for its standard streams."""

    def __init__(self, args: Sequence[str | Path], env: Mapping[str, str] | None = None, stdin: int | None = None) -> None:
        super().__init__(args, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, text=True)

    def _execute_child(self, args: Sequence[str | Path], *rest: Any) -> None:
        """Start the process: the step of `subprocess.Popen` that forks and executes (CPython 3.11, Lib/subprocess.py)."""
        env: Mapping[str, str] | None = rest[ENV]
        reading, _, _, stdout, _, stderr = rest[STREAMS]
        nursery = _nursery()
        if _network() != nursery.network:
            super()._execute_child(args, *rest)  # type: ignore[misc]
            return
        standard = [0 if reading == -1 else reading, stdout, stderr]
        self.pid = nursery.bear([os.fspath(arg) for arg in args], os.getcwd(), dict(env or os.environ), standard)
        self._child_created = True
        self._close_pipe_fds(*rest[STREAMS])  # type: ignore[attr-defined]


def run(
    args: Sequence[str | Path], env: Mapping[str, str] | None = None, text: str | None = None, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, with `text` on stdin. Raises subprocess.TimeoutExpired after so many seconds."""
    with Command(args, env, None if text is None else subprocess.PIPE) as command:
        try:
            out, err = command.communicate(text, timeout)
        except BaseException:
            command.kill()
            raise
        return subprocess.CompletedProcess(args, command.returncode, out, err)


def _network() -> int:
    """The network namespace of this thread, as an inode: tests enter others, where the nursery is not."""
    return os.stat("/proc/thread-self/ns/net").st_ino


class _Nursery:
    """The test's end of it."""

    def __init__(self) -> None:
        self.network = _network()
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, cwd="/"
            )

    def bear(self, args: list[str], cwd: str, env: dict[str, str], standard: list[int]) -> int:
        """The process id of a new command."""
        message = json.dumps([args, cwd, env]).encode()
        socket.send_fds(self._socket, [len(message).to_bytes(LENGTH_BYTES, "big")], standard)
        self._socket.sendall(message)
        pid = int.from_bytes(_exactly(self._socket, LENGTH_BYTES), "big")
        if not pid:
            raise RuntimeError("the nursery of commands has ended")
        return pid

    def end(self) -> None:
        """End it; commands go on."""
        self._socket.close()
        self._process.wait()


@cache
def _nursery() -> _Nursery:
    found = _Nursery()
    atexit.register(found.end)
    return found


def _exactly(sock: socket.socket, count: int) -> bytes:
    """So many bytes, fewer at the end."""
    found = b""
    while len(found) < count and (more := sock.recv(count - len(found))):
        found += more
    return found


# -- in the nursery ----------------------------------------------------------------------------------------------------------


def _clone() -> int:
    """As fork(2), but the new process is a sibling: 0 in it, its process id here. Raises OSError."""
    libc = ctypes.PyDLL(None, use_errno=True)  # which holds the interpreter's lock, as its own fork does
    ctypes.pythonapi.PyOS_BeforeFork()
    pid: int = libc.syscall(SYS_CLONE, CLONE_PARENT | signal.SIGCHLD, None, None, None, None)
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        return 0
    number = ctypes.get_errno()
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(number, os.strerror(number))
    return pid


def _serve(channel: socket.socket) -> list[str] | None:
    """Bear commands until nobody asks any more: None; in a command: its arguments."""
    while True:
        head, standard, _, _ = socket.recv_fds(channel, LENGTH_BYTES, len(("stdin", "stdout", "stderr")))
        if not head:
            return None
        head += _exactly(channel, LENGTH_BYTES - len(head))
        args, cwd, env = json.loads(_exactly(channel, int.from_bytes(head, "big")))
        pid = _clone()
        if pid == 0:
            channel.close()
            _become(args, cwd, env, standard)
            return list(args)
        channel.sendall(pid.to_bytes(LENGTH_BYTES, "big"))
        for fd in standard:
            os.close(fd)


def _become(args: list[str], cwd: str, env: dict[str, str], standard: list[int]) -> None:
    """Take the place of an interpreter that was just started with these."""
    for own, fd in enumerate(standard):
        os.dup2(fd, own, inheritable=True)
    for fd in standard:
        os.close(fd)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = list(args)
    sys.orig_argv = [sys.executable, *args]


def _prepare() -> None:
    for name in EARLY:
        importlib.import_module(name)
    if found := [name for name in sys.modules if name.startswith(LATE)]:
        raise RuntimeError(f"imported too early: {found}")


if __name__ == "__main__":
    _prepare()
    if (argv := _serve(socket.socket(fileno=int(sys.argv[1])))) is not None:
        sys.exit(importlib.import_module(MAIN).main())
