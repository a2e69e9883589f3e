"""Starts the commands that print secrets, for the broker to read."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable

from ...policy.document import Document
from . import messages
from .commands import arguments, commands

MODULE = "hostguard.agent.broker.command"
LIMIT_S = 20.0
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Commanding:
    """Runs what the configuration names, nothing else. What a command prints goes past this process."""

    def __init__(self, document: Document, say: Callable[..., None]) -> None:
        self._commands = commands(document.credentials)
        self._say = say
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self, number: int, command: int) -> None:
        """Start a command by its place among those configured; `number` is the broker's, for the answers."""
        if command >= len(self._commands):
            self._say(messages.Running(number, "the configuration names no such command"))
            return
        task = asyncio.get_running_loop().create_task(self._run(number, self._commands[command]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stop(self) -> None:
        """End what runs."""
        for task in self._tasks:
            task.cancel()

    async def _run(self, number: int, line: str) -> None:
        ours, theirs = socket.socketpair()
        # Not inherited by chance: the command has it as its stdout, the broker by a message.
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-m", MODULE, *arguments(line)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=theirs.fileno(),
                stderr=asyncio.subprocess.DEVNULL,
                env={"LANG": "C.UTF-8", "PATH": PATH, "HOME": os.path.expanduser("~root")},
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            self._say(messages.Running(number, f"the command can't be started: {error.strerror}"))
            return
        finally:
            theirs.close()
        self._say(messages.Running(number, ""), ours)
        try:
            async with asyncio.timeout(LIMIT_S):
                code = await process.wait()
        except TimeoutError:
            code = -signal.SIGKILL
        finally:
            # With whatever it started: it has a session of its own.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        self._say(messages.Ended(number, code))
