"""A process in a worker's cage that then runs hostile code, and tells how each attempt ended."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from hostguard.agent.sandbox import seccomp

PREPARE = """
import ctypes, errno, json, os, socket, sys
from hostguard.agent.sandbox import cage
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(number, *words):
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(w) if isinstance(w, int) else w for w in words])
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
"""
OUTCOME = """
try:
    attempt()
except OSError as error:
    print(errno.errorcode[error.errno], flush=True)
else:
    print("done", flush=True)
"""
TRY = (
    """
if sys.argv[2] == "caged":
    print(str(cage.close(wanted)), file=sys.stderr)
"""
    + OUTCOME
)
"""Behind whatever makes `wanted`, a Cage."""
CLOSE = "wanted = cage.Cage(65534, 65534, 64, os.getppid(), bytes.fromhex(sys.argv[1]))\n" + TRY


def attempt(before: str, code: str, *, caged: bool, fds: Sequence[int] = ()) -> str:
    """What became of `code`, run after `before` and the closing of the cage: ``done``, an errno's name, or ``SIG…``."""
    return told(attempting(before, code) + CLOSE, seccomp.compiled(), caged=caged, fds=fds)


def attempting(before: str, code: str) -> str:
    """The script that comes before the closing of a cage."""
    body = "def attempt():\n" + "".join(f"    {line}\n" for line in code.strip().splitlines())
    return PREPARE + before + "\n" + body


def told(script: str, program: bytes, *more: str, caged: bool, fds: Sequence[int] = ()) -> str:
    """What the script says, or the signal that ended it. `program`: the seccomp filter of its cage."""
    command = [sys.executable, "-I", "-c", script, program.hex(), "caged" if caged else "free", *more]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, pass_fds=fds)
    if result.returncode < 0:
        return f"signal {-result.returncode}"
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def facts_of(pid: int) -> dict[str, str]:
    """``/proc/PID/status``."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as status:
        return {name: value.strip() for name, _, value in (line.partition(":") for line in status)}
