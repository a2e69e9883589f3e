"""An agent that speaks the wire itself: a script a line in, every byte that came back out.

Its output is JSON, a line a script: the messages of the server after each session's start-up, as (type, body in base64).
"""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
import sys
from collections.abc import Sequence

import wire

LIMIT_S = 30
Frame = tuple[str, str]


class Session:
    """One connection, past its start-up."""

    def __init__(self) -> None:
        self._socket = socket.create_connection((os.environ["PGHOST"], int(os.environ["PGPORT"])), LIMIT_S)
        self._reader = self._socket.makefile("rb")
        self._socket.sendall(wire.startup(user=os.environ["PGUSER"], database=os.environ["PGDATABASE"]))
        self.until_ready()

    def ask(self, message: bytes, syncs: int = 1) -> list[Frame]:
        """Send, and return all that comes back until the server is ready `syncs` times."""
        self._socket.sendall(message)
        return [frame for _ in range(syncs) for frame in self.until_ready()]

    def until_ready(self) -> list[Frame]:
        """What comes until ReadyForQuery; the end of the connection is a message of type ``closed``."""
        frames: list[Frame] = []
        while True:
            head = self._reader.read(5)
            if len(head) < 5:
                return [*frames, ("closed", "")]
            kind, length = chr(head[0]), struct.unpack(">I", head[1:])[0]
            frames.append((kind, base64.b64encode(self._reader.read(length - 4)).decode()))
            if kind == "G":
                self._socket.sendall(wire.message(b"c") + wire.SYNC)
            if kind == "Z":
                return frames

    def close(self) -> None:
        """End it as a client should."""
        try:
            self._socket.sendall(wire.TERMINATE)
        except OSError:
            return
        finally:
            self._reader.close()
            self._socket.close()


def extended(statement: str, binary: bool = False, limit: int = 0) -> bytes:
    """Parse, Bind, Describe, Execute, without a Sync."""
    results = (1,) if binary else ()
    executes = wire.execute(limit=limit) * (8 if limit else 1)
    return wire.parse(statement) + wire.bind(results=results) + wire.describe() + executes


def run(sent: str, statements: Sequence[str]) -> list[Frame]:
    """All that comes back for one script."""
    frames: list[Frame] = []
    session = Session()
    if sent == "together":
        frames += session.ask(wire.query("; ".join(statements)))
    elif sent == "pipeline":
        frames += session.ask(b"".join(map(extended, statements)) + wire.SYNC)
    else:
        for statement in statements:
            if statement == "\\connect":
                session.close()
                session = Session()
            elif sent == "simple":
                frames += session.ask(wire.query(statement))
            else:
                frames += session.ask(extended(statement, sent == "binary", 2 if sent == "portal" else 0) + wire.SYNC)
    session.close()
    return frames


def main() -> None:
    for line in sys.stdin:
        script = json.loads(line)
        print(json.dumps(run(script["sent"], script["statements"])), flush=True)


if __name__ == "__main__":
    main()
