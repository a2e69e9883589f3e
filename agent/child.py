"""A process that the supervisor started, known by its pidfd.

asyncio's processes belong to the event loop that started them. These do not: a supervisor that executes itself anew has the same
children, by the same descriptors (pidfd_open(2), waitid(2)).
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from types import MappingProxyType

NOTHING_MORE: Mapping[str, str] = MappingProxyType({})


class Child:
    """One process, until its end was waited for."""

    def __init__(self, pid: int, pidfd: int) -> None:
        """`pidfd`: this object's from here on."""
        self.pid = pid
        self.pidfd = pidfd
        self.code: int | None = None
        """How it ended: its exit code, or minus the signal's number; None while it runs."""
        self._ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(pidfd, self._reap)

    @classmethod
    def start(cls, command: Sequence[str], fds: Sequence[int], environment: Mapping[str, str] = NOTHING_MORE) -> Child:
        """Start a program with these descriptors, an empty stdin, next to no environment but this. Raises OSError.

        Called in the thread that is to live on: the child is signalled when that one ends (PR_SET_PDEATHSIG(2const)).
        """
        told = {"LANG": "C.UTF-8", **environment}
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=fds, env=told, cwd="/")
        return cls.of(process)

    @classmethod
    def of(cls, process: subprocess.Popen[bytes]) -> Child:
        """One that was just started; its end is waited for here alone."""
        process.returncode = 0
        return cls(process.pid, os.pidfd_open(process.pid))

    async def wait(self) -> int:
        """Its `code`, once it has ended."""
        await self._ended.wait()
        assert self.code is not None
        return self.code

    def kill(self) -> None:
        """End it, if it runs."""
        if self.code is None:
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def _reap(self) -> None:
        asyncio.get_running_loop().remove_reader(self.pidfd)
        found = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
        assert found is not None
        self.code = found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
        os.close(self.pidfd)
        self._ended.set()
