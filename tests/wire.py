"""Builders of PostgreSQL messages: a test row is a few words, not a byte string."""

from __future__ import annotations

import struct
from collections.abc import Sequence

Value = bytes | None


def message(tag: bytes, body: bytes = b"") -> bytes:
    return tag + struct.pack(">I", len(body) + 4) + body


# The client's messages.


def packet(code: int, body: bytes = b"") -> bytes:
    """A start-up packet: no tag."""
    return struct.pack(">II", len(body) + 8, code) + body


SSL_REQUEST = packet(80877103)
GSS_REQUEST = packet(80877104)


def cancel_request(key: bytes) -> bytes:
    return packet(80877102, key)


def startup(version: int = 0x30000, **parameters: str) -> bytes:
    words = {"user": "alice", "database": "shop", **parameters}
    return packet(version, b"".join(f"{name}\0{value}\0".encode() for name, value in words.items()) + b"\0")


def query(text: str | bytes) -> bytes:
    return message(b"Q", _bytes(text) + b"\0")


def parse(text: str | bytes, name: str | bytes = "", types: Sequence[int] = ()) -> bytes:
    return message(b"P", _bytes(name) + b"\0" + _bytes(text) + b"\0" + struct.pack(f">H{len(types)}I", len(types), *types))


def bind(
    statement: str | bytes = "",
    portal: str | bytes = "",
    values: Sequence[Value] = (),
    formats: Sequence[int] = (),
    results: Sequence[int] = (),
) -> bytes:
    body = _bytes(portal) + b"\0" + _bytes(statement) + b"\0"
    return message(b"B", body + _codes(formats) + _values(values) + _codes(results))


def describe(name: str | bytes = "", kind: bytes = b"P") -> bytes:
    return message(b"D", kind + _bytes(name) + b"\0")


def close(name: str | bytes = "", kind: bytes = b"P") -> bytes:
    return message(b"C", kind + _bytes(name) + b"\0")


def execute(portal: str | bytes = "", limit: int = 0) -> bytes:
    return message(b"E", _bytes(portal) + b"\0" + struct.pack(">i", limit))


def function_call(oid: int, *arguments: Value) -> bytes:
    return message(b"F", struct.pack(">I", oid) + _codes(()) + _values(arguments) + struct.pack(">H", 0))


def copy_data(data: bytes) -> bytes:
    return message(b"d", data)


def copy_fail(reason: str) -> bytes:
    return message(b"f", reason.encode() + b"\0")


def password(text: bytes) -> bytes:
    return message(b"p", text)


SYNC = message(b"S")
FLUSH = message(b"H")
COPY_DONE = message(b"c")
TERMINATE = message(b"X")

# The server's messages.


def authentication(request: int, rest: bytes = b"") -> bytes:
    return message(b"R", struct.pack(">I", request) + rest)


def parameter_status(name: str, value: str) -> bytes:
    return message(b"S", f"{name}\0{value}\0".encode())


def key_data(key: bytes) -> bytes:
    return message(b"K", key)


def ready(status: str = "I") -> bytes:
    return message(b"Z", status.encode())


def column(name: str, table: int = 0, attribute: int = 0, type_oid: int = 25, code: int = 0) -> bytes:
    return name.encode() + b"\0" + struct.pack(">IhIhih", table, attribute, type_oid, -1, -1, code)


def row_description(*columns: bytes) -> bytes:
    return message(b"T", struct.pack(">H", len(columns)) + b"".join(columns))


def data_row(*values: Value) -> bytes:
    return message(b"D", _values(values))


def complete(tag: str) -> bytes:
    return message(b"C", tag.encode() + b"\0")


def error(code: str, text: str = "no", severity: str = "ERROR", **more: str) -> bytes:
    fields = {"S": severity, "V": severity, "C": code, "M": text, **more}
    return message(b"E", "".join(f"{key}{value}\0" for key, value in fields.items()).encode() + b"\0")


def notice(text: str, **more: str) -> bytes:
    fields = {"S": "NOTICE", "V": "NOTICE", "C": "00000", "M": text, **more}
    return message(b"N", "".join(f"{key}{value}\0" for key, value in fields.items()).encode() + b"\0")


def notification(channel: str, payload: str) -> bytes:
    return message(b"A", struct.pack(">I", 7) + f"{channel}\0{payload}\0".encode())


def parameter_description(*types: int) -> bytes:
    return message(b"t", struct.pack(f">H{len(types)}I", len(types), *types))


PARSE_COMPLETE = message(b"1")
BIND_COMPLETE = message(b"2")
CLOSE_COMPLETE = message(b"3")
NO_DATA = message(b"n")
EMPTY = message(b"I")
SUSPENDED = message(b"s")
COPY_IN = message(b"G", b"\0\0\0")
COPY_OUT = message(b"H", b"\0\0\0")
COPY_BOTH = message(b"W", b"\0\0\0")


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def _codes(codes: Sequence[int]) -> bytes:
    return struct.pack(f">H{len(codes)}H", len(codes), *codes)


def _values(values: Sequence[Value]) -> bytes:
    parts = [struct.pack(">H", len(values))]
    for value in values:
        parts.append(struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value)
    return b"".join(parts)
