"""A payload's bytes in its file: compressed, then encrypted if there are auditors' keys.

    <sha256 of the value>          the value as it is: all payloads of older logs; bytes that were cut from a torn log
    <sha256 of the file>.zst       the value as one zstd frame (RFC 8878)
    <sha256 of the file>.zst.age   salt, then the value as one zstd frame, in an age file

A file is named by its own hash, so every byte of it is under the Merkle tree through the entry that has the name, and whoever has
no key can check that. Equal values give equal frames, so they are stored once, unless they are encrypted: no two age files are
equal. age's header is authenticated under the file's key, so a file means one value for all who can open it.

The entry also has a hash of the value. Of an encrypted one it is the SHA-256 of a salt of 32 random bytes with the value behind
it: without a salt, whoever reads the log could guess a short value (a customer's number) and be told by the hash that the guess
was right. The salt is inside of the encryption, in a skippable frame (RFC 8878 §3.1.2), which zstd passes over:
``age --decrypt -i KEY FILE | zstd -d`` gives the value.

Not hidden: how long a value is, roughly how well it compresses, and when it was stored.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from hashlib import sha256
from typing import Final

import zstandard

from .stored import Stored

Encrypt = Callable[[bytes], bytes]
"""To an age file for those who may read it."""
Decrypt = Callable[[bytes], bytes | None]
"""Of an age file; None when the key that it takes is not at hand, or it is damaged."""

PLAIN, COMPRESSED, ENCRYPTED = "", ".zst", ".zst.age"
"""Ends of payloads' names."""
MAX_VALUE_BYTES = 2 << 30
"""More is not read out of one payload: twice what PostgreSQL takes in one message."""
MAX_WINDOW_BYTES = 1 << 27
"""zstd's own bound for what a frame may ask a reader to keep (RFC 8878 §3.1.1.1.2 leaves it to the reader)."""
SALT_BYTES: Final = 32
_SALT_HEAD: Final = struct.pack("<II", 0x184D2A50, SALT_BYTES)
_SMALL_BYTES = 256 * 1024
_CHUNK_BYTES = 1 << 20


def wrap(value: bytes, encrypt: Encrypt | None) -> tuple[Stored, bytes]:
    """The reference to a value, and what its file holds. 100 to 500 MB/s; see `Encrypt` for the rest."""
    # A large value holds up the loop for the time that this takes.
    level = 3 if len(value) <= _SMALL_BYTES else 1
    frame = zstandard.ZstdCompressor(level=level).compress(value)
    if encrypt is None:
        return Stored(len(value), sha256(value).digest(), sha256(frame).digest()), frame
    salt = os.urandom(SALT_BYTES)
    data = encrypt(_SALT_HEAD + salt + frame)
    return Stored(len(value), sha256(salt + value).digest(), sha256(data).digest(), encrypted=True), data


def file_hash(reference: Stored) -> bytes:
    """What the file's bytes hash to, and its name is."""
    return reference.file or reference.sha256


def file_name(reference: Stored) -> str:
    """The file's name."""
    return file_hash(reference).hex() + (ENCRYPTED if reference.encrypted else COMPRESSED if reference.file else PLAIN)


def unwrap(reference: Stored, data: bytes, decrypt: Decrypt) -> bytes | None:
    """The value in the bytes of its file; None when they are others, or can't be opened."""
    if sha256(data).digest() != file_hash(reference):
        return None
    opened = decrypt(data) if reference.encrypted else data
    return None if opened is None else value_in(reference, opened)


def value_in(reference: Stored, opened: bytes) -> bytes | None:
    """The value in a payload that is not encrypted (any more); None when it is not the one that the reference has the hash of."""
    salt = b""
    if reference.encrypted:
        start = len(_SALT_HEAD) + SALT_BYTES
        head, salt, opened = opened[: len(_SALT_HEAD)], opened[len(_SALT_HEAD) : start], opened[start:]
        if head != _SALT_HEAD:
            return None
    value = _decompressed(opened, reference.length) if reference.file else opened
    return value if value is not None and sha256(salt + value).digest() == reference.sha256 else None


def _decompressed(data: bytes, length: int) -> bytes | None:
    """The `length` bytes in a frame; None when it has others, or is damaged.

    Makes no more than a chunk beyond `length`, whatever the frame says of itself: one of zeros has 30,000 times what it weighs.
    """
    if not 0 <= length <= MAX_VALUE_BYTES:
        return None
    chunks: list[bytes] = []
    size = 0
    try:
        with zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES).stream_reader(data) as reader:
            while size <= length and (chunk := reader.read(_CHUNK_BYTES)):
                chunks.append(chunk)
                size += len(chunk)
    except zstandard.ZstdError:
        return None
    return b"".join(chunks) if size == length else None
