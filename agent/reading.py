"""Reads the log for somebody who can't read its files: ``python -I -m hostguard.agent.reading FOLDERS -- ARGUMENTS``.

It is ``hostguard recordings`` of that command line, in a process of its own, since the supervisor reads no byte of what agents
said, and has no time for it. It is root, as the log's files are, but without a capability, behind everybody else in the queue for
a processor, with no more files than it takes, and it can talk to nobody: FOLDERS is JSON with those that it may read, and write.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
import zoneinfo
from pathlib import Path

from .sandbox import landlock, libc, seccomp
from .sandbox.privileges import renounce

NICE = 15
MEMORY_BYTES = 2 << 30
"""Of addresses; what it uses is far less."""
PROCESSOR_S = 60
_SET_PDEATHSIG = 1


def main() -> None:
    """Give up, then be that command."""
    folders, _, *arguments = sys.argv[1:]
    # Before files are out of reach.
    from .cli.main import main as hostguard
    from .cli import recordings  # noqa: F401, isort: skip

    confine(json.loads(folders))
    hostguard(["recordings", *arguments])


def confine(folders: dict[str, list[str]]) -> None:
    """Give up all that reading doesn't take. What this host can't have taken away is told by ``status`` of the workers' cage."""
    libc.prctl(_SET_PDEATHSIG, signal.SIGKILL)
    os.nice(NICE)
    for limit, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, PROCESSOR_S),
    ):
        resource.setrlimit(limit, (value, value))
    program = _program()
    renounce()
    own = Path(__file__).resolve().parents[1]
    python = {sys.prefix, sys.base_prefix, *sys.path, str(own), "/etc/localtime", *zoneinfo.TZPATH}
    with contextlib.suppress(landlock.NoLandlock):
        landlock.deny_all(reads=[*folders["reads"], *filter(None, python)], writes=folders["writes"])
    # Last: it forbids what the others need.
    if program:
        with contextlib.suppress(seccomp.NoSeccomp):
            seccomp.install(program)


def _program() -> bytes:
    """The filter of system calls; empty when this host can't have one."""
    try:
        return seccomp.compiled_reading()
    except seccomp.NoSeccomp:
        return b""


if __name__ == "__main__":
    main()
