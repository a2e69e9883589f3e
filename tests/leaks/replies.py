"""Everything that came back for scripts, direct or guarded."""

from __future__ import annotations

import base64
import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import guard
from leaks import vault
from leaks.scripts import Script
from servers import Server

PROGRAM = [sys.executable, str(Path(__file__).parent / "prober.py")]
TESTS = str(Path(__file__).parent.parent)


@dataclass(frozen=True, slots=True)
class Reply:
    """The server's messages, each with its type."""

    frames: tuple[tuple[str, bytes], ...]

    @property
    def raw(self) -> bytes:
        """All bodies, as they came over the socket."""
        return b"".join(body for _, body in self.frames)

    def told(self) -> tuple[tuple[str, bytes], ...]:
        """What an agent can tell apart but the names of the twins, the OIDs of tables, the server's process in notifications."""
        plain = [(kind, _plain(kind, body)) for kind, body in self.frames]
        return tuple((kind, body.replace(b"twin_b", b"twin_a")) for kind, body in plain)

    def rows(self) -> Iterator[list[bytes]]:
        """The cells of every row that are not NULL."""
        for kind, body in self.frames:
            if kind == "D":
                yield [cell for cell in cells(body) if cell is not None]
            elif kind == "d":
                yield body.rstrip(b"\n").split(b"\t")

    def texts(self) -> list[bytes]:
        """The fields of errors, notices and notifications."""
        return [field for kind, body in self.frames if kind in "ENA" for field in body.split(b"\0") if field]

    def lines(self) -> list[str]:
        """For people to read."""
        return [f"{kind} {body!r}"[:300] for kind, body in self.frames if kind not in "TZ12tn"]


def cells(body: bytes) -> Iterator[bytes | None]:
    """The values of a DataRow."""
    at = 2
    for _ in range(struct.unpack_from(">H", body)[0]):
        (length,) = struct.unpack_from(">i", body, at)
        at += 4
        yield None if length < 0 else body[at : at + length]
        at += max(length, 0)


def _plain(kind: str, body: bytes) -> bytes:
    """A message without what is another number each time."""
    if kind == "A":
        return body[4:]
    if kind != "T":
        return body
    columns, at = [], 2
    for _ in range(struct.unpack_from(">H", body)[0]):
        end = body.index(b"\0", at) + 1
        columns.append(body[at:end] + body[end + 4 : end + 18])
        at = end + 18
    return b"".join(columns)


def direct(server: Server, database: str, scripts: Sequence[Script]) -> list[Reply]:
    """What a client without a guard sees."""
    result = subprocess.run(
        PROGRAM, input=_input(database, scripts), capture_output=True, text=True, check=True, env=environment(server, database)
    )
    return _replies(result.stdout)


def guarded(running: guard.Guard, server: Server, database: str, scripts: Sequence[Script]) -> list[Reply]:
    """What the guarded agent sees."""
    result = running.run(vault.WORKLOAD, PROGRAM, environment(server, database), _input(database, scripts))
    assert result.returncode == 0, result.stderr
    return _replies(result.stdout)


def _input(database: str, scripts: Sequence[Script]) -> str:
    return "".join(script.message().replace("twin_a", database) + "\n" for script in scripts)


def environment(server: Server, database: str) -> dict[str, str]:
    """What the agent's program reads."""
    return {**os.environ, **server.environment(database), "PYTHONPATH": TESTS}


def _replies(output: str) -> list[Reply]:
    return [one(line) for line in output.splitlines()]


def one(line: str) -> Reply:
    """What the agent's program printed of one script."""
    return Reply(tuple((kind, base64.b64decode(body)) for kind, body in json.loads(line)))
