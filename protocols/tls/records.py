"""The records at the beginning of one direction of a TLS connection, kept as they came.

RFC 8446 §5.1: type, legacy version, length, fragment. A handshake message may lie in several records. Bytes are kept until their
owner takes them, so that what passes is what came, record limits and all.
"""

from __future__ import annotations

from typing import Final

CHANGE_CIPHER_SPEC: Final = 20
ALERT: Final = 21
HANDSHAKE: Final = 22
APPLICATION_DATA: Final = 23
"""RFC 8446 §B.1, ContentType."""

MAX_PLAIN_BYTES: Final = 1 << 14
MAX_ENCRYPTED_BYTES: Final = MAX_PLAIN_BYTES + 2048
"""RFC 5246 §6.2.3; RFC 8446 allows 256 more than plain ones."""
MAX_MESSAGE_BYTES: Final = 1 << 16
"""Of a hello. Go takes as much, OpenSSL twice that; one with a post-quantum key share and ECH has less than 3 KiB."""
_HEADER: Final = 5
_MESSAGE_HEADER: Final = 4


class Malformed(Exception):
    """What came is no TLS, or not as the RFCs have it; a sentence. `alert` is the code to refuse it with (RFC 8446 §6)."""

    def __init__(self, sentence: str, alert: int = 50) -> None:
        super().__init__(sentence)
        self.alert = alert


class Records:
    """Bytes of one direction that nobody has taken yet."""

    def __init__(self) -> None:
        self._raw = bytearray()
        self._read = 0
        """Up to where records were read."""
        self._message = bytearray()

    def __len__(self) -> int:
        return len(self._raw)

    @property
    def partial(self) -> bool:
        """A message has begun and is not whole yet."""
        return bool(self._message)

    def feed(self, data: bytes) -> None:
        """Take bytes behind those that are there."""
        self._raw += data

    def next(self) -> tuple[int, bytes] | None:
        """Type and fragment of the next record; None: wait for more. Raises Malformed."""
        raw, at = self._raw, self._read
        if len(raw) > at and raw[at] not in (CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA):
            raise Malformed(f"no TLS: the first byte of a record is {raw[at]:#04x}", 10)
        if len(raw) > at + 1 and raw[at + 1] != 3:
            raise Malformed(f"no TLS: a record of version {raw[at + 1]}", 70)
        if len(raw) < at + _HEADER:
            return None
        kind, size = raw[at], int.from_bytes(raw[at + 3 : at + _HEADER])
        if size > (MAX_ENCRYPTED_BYTES if kind == APPLICATION_DATA else MAX_PLAIN_BYTES):
            raise Malformed(f"a record of {size} bytes", 22)
        if not size and kind != APPLICATION_DATA:
            raise Malformed("an empty record", 10)
        end = at + _HEADER + size
        if len(raw) < end:
            return None
        if self._message and kind != HANDSHAKE:
            raise Malformed("a record of another type within a message", 10)
        self._read = end
        return kind, bytes(raw[at + _HEADER : end])

    def collect(self, fragment: bytes) -> bytes | None:
        """Put a handshake record's fragment to the message; returns the message with its header once it is whole.

        What stands behind the message in its last record comes with it. Raises Malformed.
        """
        message = self._message
        message += fragment
        if len(message) < _MESSAGE_HEADER:
            return None
        size = int.from_bytes(message[1:_MESSAGE_HEADER])
        if size > MAX_MESSAGE_BYTES:
            raise Malformed(f"a message of {size} bytes, more than {MAX_MESSAGE_BYTES}")
        if len(message) < _MESSAGE_HEADER + size:
            return None
        self._message = bytearray()
        return bytes(message)

    def take(self) -> bytes:
        """Let go of the records that were read, as they came."""
        taken = bytes(self._raw[: self._read])
        del self._raw[: self._read]
        self._read = 0
        return taken

    def take_all(self) -> bytes:
        """Let go of everything, read or not."""
        self._read = len(self._raw)
        return self.take()
