"""The length-prefixed fields that TLS messages are made of."""

from __future__ import annotations

from .records import Malformed


class Fields:
    """Walks over bytes whose every part has a length; RFC 8446 §3.4."""

    def __init__(self, data: bytes, what: str) -> None:
        """`what`: how to call it in an error."""
        self._data = data
        self._at = 0
        self._what = what

    def __len__(self) -> int:
        return len(self._data) - self._at

    def take(self, size: int) -> bytes:
        """Exactly so many bytes. Raises Malformed."""
        end = self._at + size
        if end > len(self._data):
            raise Malformed(f"{self._what} ends too early")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def number(self, size: int) -> int:
        """A big-endian number of `size` bytes."""
        return int.from_bytes(self.take(size))

    def vector(self, size: int) -> bytes:
        """What stands behind a length of `size` bytes."""
        return self.take(self.number(size))

    def done(self) -> None:
        """Nothing may be left. Raises Malformed."""
        if len(self):
            raise Malformed(f"{self._what} has bytes left over")


def numbers(data: bytes, what: str) -> tuple[int, ...]:
    """A list of two-byte numbers. Raises Malformed for an odd one out."""
    if len(data) % 2:
        raise Malformed(f"{what} has an odd length")
    return tuple(int.from_bytes(data[at : at + 2]) for at in range(0, len(data), 2))


def extensions(fields: Fields) -> dict[int, bytes]:
    """Type to body, in their order: all that is left of a hello. None at all is fine, two of a type are not (RFC 8446 §4.2)."""
    if not len(fields):
        return {}
    block = Fields(fields.vector(2), "the list of extensions")
    fields.done()
    found: dict[int, bytes] = {}
    while len(block):
        kind = block.number(2)
        if kind in found:
            raise Malformed(f"two extensions of type {kind}", 47)
        found[kind] = block.vector(2)
    return found
