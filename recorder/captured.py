"""Captured replies for people: PostgreSQL's messages to rows of literals.

PostgreSQL 18 docs §54.7 (RowDescription, DataRow, CopyData, FunctionCallResponse, CommandComplete). What was captured was
well-formed when it went to the agent; what the log holds now may be anything, so reading stops at what makes no sense.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from .parameters import render
from .recording import Result
from .visible import visible

HEADER_BYTES = 5
_COLUMN = struct.Struct(">IhIhih")
"""Of RowDescription, behind the name: table, attribute, type, size, modifier, format."""


class _Nonsense(Exception):
    """These bytes are no such message."""


def results(messages: bytes) -> tuple[Result, ...]:
    """The sets of rows in order, as far as they can be read. O(bytes)."""
    found: list[Result] = []
    reading = _Reading()
    try:
        for tag, body in _frames(messages):
            if tag in b"T":
                reading = _Reading(*_columns(body))
            reading.take(tag, body)
            if tag in b"CV":
                if reading.begun:
                    found.append(reading.result())
                reading = _Reading()
    except (_Nonsense, struct.error):
        pass
    if reading.begun:
        found.append(reading.result())
    return tuple(found)


class _Reading:
    """One set of rows that is being read."""

    def __init__(self, names: tuple[str, ...] = (), types: tuple[int, ...] = (), formats: tuple[int, ...] = ()) -> None:
        self.names = names
        self.types = types
        self.formats = formats
        self.rows: list[tuple[str, ...]] = []
        self.tag = ""

    @property
    def begun(self) -> bool:
        return bool(self.names or self.rows)

    def take(self, tag: int, body: bytes) -> None:
        match bytes((tag,)):
            case b"D":
                self.rows.append(render(_values(body), self.formats, self.types))
            case b"d":
                self.rows.append((visible(body.decode("utf-8", "backslashreplace").rstrip("\n")),))
            case b"V":
                value, _ = _value(body, 0)
                self.rows.append(render((value,), (0,), (0,)))
            case b"C":
                self.tag = visible(body.rstrip(b"\0").decode("utf-8", "backslashreplace"))

    def result(self) -> Result:
        return Result(self.names, tuple(self.rows), self.tag)


def _frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + HEADER_BYTES <= len(data):
        size = int.from_bytes(data[at + 1 : at + HEADER_BYTES])
        if size < 4 or at + 1 + size > len(data):
            return
        yield data[at], data[at + HEADER_BYTES : at + 1 + size]
        at += 1 + size


def _columns(body: bytes) -> tuple[tuple[str, ...], tuple[int, ...], tuple[int, ...]]:
    """Names, type OIDs, formats."""
    (count,) = struct.unpack_from(">H", body)
    names, types, formats = [], [], []
    at = 2
    for _ in range(count):
        end = body.find(b"\0", at)
        if end < 0:
            raise _Nonsense
        _, _, type_oid, _, _, form = _COLUMN.unpack_from(body, end + 1)
        names.append(visible(body[at:end].decode("utf-8", "backslashreplace")))
        types.append(type_oid)
        formats.append(form)
        at = end + 1 + _COLUMN.size
    return tuple(names), tuple(types), tuple(formats)


def _values(body: bytes) -> tuple[bytes | None, ...]:
    (count,) = struct.unpack_from(">H", body)
    values: list[bytes | None] = []
    at = 2
    for _ in range(count):
        value, at = _value(body, at)
        values.append(value)
    return tuple(values)


def _value(body: bytes, at: int) -> tuple[bytes | None, int]:
    (size,) = struct.unpack_from(">i", body, at)
    at += 4
    if size < 0:
        return None, at
    if at + size > len(body):
        raise _Nonsense
    return body[at : at + size], at + size
