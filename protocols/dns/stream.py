"""DNS messages in a TCP stream: each behind its length, two bytes (RFC 1035 §4.2.2, RFC 7766 §8)."""

from __future__ import annotations

from ...reassembly.frames import FrameBuffer

LENGTH_BYTES = 2


class TooLong(Exception):
    """A message is longer than its reader takes; nothing behind it can be read."""


class MessageStream:
    """The bytes of one direction, cut into messages of at most `max_bytes`."""

    __slots__ = ("_buffer", "_max_bytes")

    def __init__(self, max_bytes: int) -> None:
        self._buffer = FrameBuffer()
        self._max_bytes = max_bytes

    def __len__(self) -> int:
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Take bytes behind those that are there."""
        self._buffer.feed(data)

    def next_message(self) -> bytes | None:
        """The next message, None while it is not here. Raises TooLong."""
        buffer = self._buffer
        if not buffer.want(LENGTH_BYTES):
            return None
        length = int.from_bytes(buffer.data[buffer.pos : buffer.pos + LENGTH_BYTES])
        if length > self._max_bytes:
            raise TooLong(f"a message of {length} bytes; {self._max_bytes} at most")
        if not buffer.want(LENGTH_BYTES + length):
            return None
        message = buffer.take(LENGTH_BYTES + length)[LENGTH_BYTES:]
        buffer.release()
        return message


def framed(message: bytes) -> bytes:
    """The message behind its length."""
    return len(message).to_bytes(LENGTH_BYTES) + message
