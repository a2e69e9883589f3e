"""The bytes of one direction cut into tagged, length-prefixed frames, bounded.

A frame is one tag byte, then a big-endian int32 that counts itself but not the tag, then the body: PostgreSQL 18 docs §54.1.
The buffer is built for two habits. Whole frames arrive at once nearly always: then `feed` keeps the caller's bytes as they are
and nothing is copied. A slow peer sends a big frame in crumbs: then they collect in a bytearray and are joined once, when the
frame that is waited for is complete, so that work stays O(bytes) however they are cut.
"""

from __future__ import annotations

from typing import Final

HEADER_SIZE: Final = 5
_MAX_LENGTH: Final = 0x7FFFFFFF


class FrameFault(Exception):
    """The stream can't be cut into frames any more: a length below its own size, negative, or above a cap."""


class FrameBuffer:
    """Bytes of one direction that were not consumed yet.

    ``data`` and ``pos`` are open to the one reader that walks it: frames lie in ``data`` from ``pos`` on, and the reader moves
    ``pos`` forward, never back.
    """

    __slots__ = ("_late", "data", "pos")

    def __init__(self) -> None:
        self.data = b""
        self.pos = 0
        self._late = bytearray()

    def __len__(self) -> int:
        return len(self.data) - self.pos + len(self._late)

    def feed(self, data: bytes) -> None:
        """Take bytes behind those that are there; O(len(data)) amortised."""
        if self.pos >= len(self.data) and not self._late:
            self.data = data
            self.pos = 0
        else:
            self._late += data

    def want(self, size: int) -> bool:
        """Have `size` bytes in ``data`` from ``pos`` on, if they are here at all; False: wait for more."""
        if len(self.data) - self.pos >= size:
            return True
        if not self._late or len(self) < size:
            return False
        self.data = self.data[self.pos :] + self._late
        self.pos = 0
        self._late = bytearray()
        return True

    def head(self) -> tuple[int, int] | None:
        """(tag, size of the whole frame) of the next frame, or None while its first five bytes are not here.

        Raises FrameFault on a length below 4, which does not even hold itself, or negative. Caps by type are the caller's.
        """
        if len(self.data) - self.pos < HEADER_SIZE and not self.want(HEADER_SIZE):
            return None
        data, at = self.data, self.pos
        # Compiled, this is a fifth of what struct costs, and it is done for every message.
        length = data[at + 1] << 24 | data[at + 2] << 16 | data[at + 3] << 8 | data[at + 4]
        if not 4 <= length <= _MAX_LENGTH:
            raise FrameFault(f"a message of type {chr(data[at])!r} claims an impossible length")
        return data[at], length + 1

    def take(self, size: int) -> bytes:
        """Consume exactly `size` bytes; the caller made sure with `want` that they are here."""
        start = self.pos
        self.pos = end = start + size
        return self.data[start:end]

    def take_some(self, most: int) -> bytes:
        """Consume what is here, at most `most` bytes: for a frame that passes by pieces."""
        if self._late:
            self.want(len(self))
        return self.take(min(most, len(self.data) - self.pos))

    def release(self) -> None:
        """Let go of consumed bytes once nothing else is here: an idle flow must not keep its last read."""
        if self.pos and self.pos == len(self.data):
            self.data = b""
            self.pos = 0

    def clear(self) -> None:
        """Forget everything: the stream is not trusted any more."""
        self.data = b""
        self.pos = 0
        self._late = bytearray()
