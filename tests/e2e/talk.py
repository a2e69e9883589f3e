"""A conversation with a running agent: told what to ask, heard what came back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import guard
from servers import Server

PROGRAM = [sys.executable, str(Path(__file__).parent / "agents" / "converse.py")]


class Talk:
    """One session of an agent, guarded or not."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __call__(self, *texts: str | bool) -> list[str]:
        """Have one statement run, or several as a pipeline; a leading True asks for the extended protocol.

        Without any the agent begins a new session.
        """
        return self.begin(*texts)()

    def begin(self, *texts: str | bool) -> Callable[[], list[str]]:
        """The same without waiting; what is returned waits for the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(texts) + "\n")
        self._process.stdin.flush()
        return self._answer

    def _answer(self) -> list[str]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self._process.stderr.read() if self._process.stderr else ""
        answer: list[str] = json.loads(line)
        return answer

    def all(self, steps: Sequence[Sequence[str | bool]]) -> list[str]:
        """What came back for several lines, together."""
        return [line for step in steps for line in self(*step)]


@contextmanager
def guarded(running: guard.Guard, workload: str, server: Server, database: str) -> Iterator[Talk]:
    """A guarded agent's session; ends with the context."""
    with _ended(running.begin(workload, PROGRAM, server.environment(database))) as process:
        yield Talk(process)


@contextmanager
def direct(server: Server, database: str) -> Iterator[Talk]:
    """The same program's session without a guard."""
    pipe, environment = subprocess.PIPE, {**os.environ, **server.environment(database)}
    with _ended(subprocess.Popen(PROGRAM, text=True, env=environment, stdin=pipe, stdout=pipe, stderr=pipe)) as process:
        yield Talk(process)


@contextmanager
def _ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
