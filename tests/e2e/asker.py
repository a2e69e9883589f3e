"""Statements asked directly and guarded, list by list, by processes that stay."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import guard

ASK = str(Path(__file__).parent / "agents" / "ask.py")


class Asker:
    """A process that asks list by list of statements, in a session for each: most of what an agent costs is its start."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __call__(self, statements: tuple[str, ...]) -> str:
        """What comes back of them."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(statements) + "\n")
        self._process.stdin.flush()
        return str(json.loads(self._process.stdout.readline()))


@contextmanager
def asking(running: guard.Guard, workload: str, environment: Mapping[str, str]) -> Iterator[tuple[Asker, Asker]]:
    """One that asks directly, and one that is guarded."""
    program = [sys.executable, ASK, "--each"]
    pipe = subprocess.PIPE
    with (
        subprocess.Popen(program, env={**os.environ, **environment}, stdin=pipe, stdout=pipe, text=True) as direct,
        running.begin(workload, program, environment) as guarded,
    ):
        yield Asker(direct), Asker(guarded)
        for process in (direct, guarded):
            process.communicate(timeout=60)
