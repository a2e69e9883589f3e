"""The beginning of one operation's reply as the client gets it, kept as whole messages."""

from __future__ import annotations

from . import rows


class Capture:
    """Takes what goes to the client, after the masks. What has no room is counted, and nothing behind it is kept."""

    __slots__ = ("_pieces", "_room", "_rows", "left_out")

    def __init__(self, max_bytes: int) -> None:
        self._pieces: list[bytes] = []
        self._room = max_bytes
        self._rows = False
        self.left_out = 0
        """Bytes that had no room."""

    def values(self, data: bytes) -> None:
        """Messages that carry values, or a piece of one that passes by pieces."""
        self._rows = True
        self.frame(data)

    def frame(self, data: bytes) -> None:
        """Messages that tell what the values are, or that they end here."""
        if len(data) <= self._room:
            self._pieces.append(data)
            self._room -= len(data)
            return
        self._pieces.append(data[: self._room])
        self.left_out += len(data) - self._room
        self._room = 0

    def take(self) -> bytes:
        """All whole messages; empty when no value was among them. What is left of a message counts as left out."""
        data = b"".join(self._pieces)
        if not self._rows:
            self.left_out = 0
            return b""
        end = _whole(data)
        self.left_out += len(data) - end
        return data[:end]


def _whole(data: bytes) -> int:
    """Where the last whole message ends. O(messages), in C for each run of one type: a reply has thousands of rows."""
    at = 0
    while at < len(data):
        run = rows.count(data, at, data[at], len(data))
        if not run.used:
            break
        at += run.used
    return at
