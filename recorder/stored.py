"""What stands in an entry for a value that has no place in it."""

from __future__ import annotations

import msgspec


class Stored(msgspec.Struct, frozen=True, omit_defaults=True):
    """Stands for a field's value that is not in the entry: the value's msgpack is a payload beside the log (`wrapping`)."""

    length: int
    """Bytes of the value's msgpack."""
    sha256: bytes
    """Of the value's msgpack; of an encrypted one with the payload's salt before it."""
    file: bytes = b""
    """SHA-256 of the payload's file, and its name; absent in older logs, where the file is the value as it is."""
    encrypted: bool = False
    """Whether the file is encrypted; absent when it is not."""
