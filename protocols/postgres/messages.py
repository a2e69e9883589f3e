"""The messages of the PostgreSQL protocol: what each is called, how it is read, how it is made.

Layouts are those of PostgreSQL 18 docs §54.7 ("Message Formats"). Every reader consumes its body exactly: a byte missing or left
over is `Malformed`. Counts are unsigned 16 bit as the server reads them (``pq_getmsgint``); lengths of values are signed 32 bit,
where -1 alone is NULL.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

import msgspec

FRONTEND = {
    ord("Q"): "Query",
    ord("P"): "Parse",
    ord("B"): "Bind",
    ord("D"): "Describe",
    ord("E"): "Execute",
    ord("C"): "Close",
    ord("S"): "Sync",
    ord("H"): "Flush",
    ord("F"): "FunctionCall",
    ord("d"): "CopyData",
    ord("c"): "CopyDone",
    ord("f"): "CopyFail",
    ord("p"): "PasswordMessage",
    ord("X"): "Terminate",
}
BACKEND = {
    ord("R"): "Authentication",
    ord("S"): "ParameterStatus",
    ord("K"): "BackendKeyData",
    ord("v"): "NegotiateProtocolVersion",
    ord("Z"): "ReadyForQuery",
    ord("1"): "ParseComplete",
    ord("2"): "BindComplete",
    ord("3"): "CloseComplete",
    ord("t"): "ParameterDescription",
    ord("T"): "RowDescription",
    ord("n"): "NoData",
    ord("D"): "DataRow",
    ord("C"): "CommandComplete",
    ord("I"): "EmptyQueryResponse",
    ord("s"): "PortalSuspended",
    ord("G"): "CopyInResponse",
    ord("H"): "CopyOutResponse",
    ord("W"): "CopyBothResponse",
    ord("d"): "CopyData",
    ord("c"): "CopyDone",
    ord("V"): "FunctionCallResponse",
    ord("E"): "ErrorResponse",
    ord("N"): "NoticeResponse",
    ord("A"): "NotificationResponse",
}

_COPY: Final = struct.Struct("!BH")
_U16: Final = struct.Struct(">H")
_I32: Final = struct.Struct(">i")
_COLUMN: Final = struct.Struct(">IhIhih")
# One Struct per count: the formats of a Bind are nearly always the same few.
_U16S: Final = [struct.Struct(f">{n}H") for n in range(33)]


class Malformed(Exception):
    """The body of a message is not what its type says."""


class Parse(msgspec.Struct, frozen=True, gc=False):
    name: bytes
    text: bytes
    types: tuple[int, ...]
    """Parameter type OIDs as declared, 0 for unspecified."""


class Bind(msgspec.Struct, frozen=True, gc=False):
    portal: bytes
    statement: bytes
    formats: tuple[int, ...]
    parameters: tuple[bytes | None, ...]


class FunctionCall(msgspec.Struct, frozen=True, gc=False):
    function: int
    formats: tuple[int, ...]
    arguments: tuple[bytes | None, ...]


class Column(msgspec.Struct, frozen=True, gc=False):
    """One field of a RowDescription."""

    name: bytes
    table: int
    """OID of the table it comes from, 0 for an expression."""
    attribute: int
    """Attribute number in that table; 0 for an expression or a whole row, negative for a system column."""
    type: int
    format: int


def cstring(body: bytes, at: int) -> tuple[bytes, int]:
    """The NUL-terminated string at `at`, and where what follows begins."""
    end = body.find(0, at)
    if end < 0:
        raise Malformed("a string has no end")
    return body[at:end], end + 1


def only_string(body: bytes) -> bytes:
    """A body that is one string: Query, CopyFail."""
    text, at = cstring(body, 0)
    if at != len(body):
        raise Malformed("bytes behind the end of the string")
    return text


def nothing(body: bytes) -> None:
    """A body that must be empty: Sync, Flush, CopyDone, Terminate."""
    if body:
        raise Malformed("bytes in a message that has none")


def parse(body: bytes) -> Parse:
    name, at = cstring(body, 0)
    text, at = cstring(body, at)
    try:
        (count,) = _U16.unpack_from(body, at)
        if len(body) != at + 2 + 4 * count:
            raise Malformed("the number of parameter types does not match")
        return Parse(name, text, struct.unpack_from(f">{count}I", body, at + 2) if count else ())
    except struct.error as fault:
        raise Malformed("too short") from fault


def _codes(body: bytes, at: int) -> tuple[tuple[int, ...], int]:
    (count,) = _U16.unpack_from(body, at)
    if not count:
        return (), at + 2
    shape = _U16S[count] if count < len(_U16S) else struct.Struct(f">{count}H")
    return shape.unpack_from(body, at + 2), at + 2 + 2 * count


def _values(body: bytes, at: int) -> tuple[tuple[bytes | None, ...], int]:
    (count,) = _U16.unpack_from(body, at)
    at += 2
    values: list[bytes | None] = []
    for _ in range(count):
        (size,) = _I32.unpack_from(body, at)
        at += 4
        if size < 0:
            if size != -1:
                raise Malformed("a value has a negative length")
            values.append(None)
            continue
        end = at + size
        if end > len(body):
            raise Malformed("a value is longer than its message")
        values.append(body[at:end])
        at = end
    return tuple(values), at


def bind(body: bytes) -> Bind:
    portal, at = cstring(body, 0)
    statement, at = cstring(body, at)
    try:
        formats, at = _codes(body, at)
        parameters, at = _values(body, at)
        _, at = _codes(body, at)
    except struct.error as fault:
        raise Malformed("too short") from fault
    if at != len(body):
        raise Malformed("bytes behind the result formats")
    return Bind(portal, statement, formats, parameters)


def subject(body: bytes) -> tuple[bool, bytes]:
    """Describe, Close: (is it a portal, its name)."""
    kind = body[:1]
    if kind not in (b"S", b"P"):
        raise Malformed("neither a statement nor a portal")
    name, at = cstring(body, 1)
    if at != len(body):
        raise Malformed("bytes behind the name")
    return kind == b"P", name


def execute(body: bytes) -> bytes:
    """The portal's name; the row limit needs no reading."""
    name, at = cstring(body, 0)
    if at + 4 != len(body):
        raise Malformed("the row limit is not four bytes")
    return name


def function_call(body: bytes) -> FunctionCall:
    try:
        (function,) = struct.unpack_from(">I", body, 0)
        formats, at = _codes(body, 4)
        arguments, at = _values(body, at)
    except struct.error as fault:
        raise Malformed("too short") from fault
    if at + 2 != len(body):
        raise Malformed("the result format is not two bytes")
    return FunctionCall(function, formats, arguments)


def row_description(body: bytes) -> tuple[Column, ...]:
    columns = []
    try:
        (count,) = _U16.unpack_from(body, 0)
        at = 2
        for _ in range(count):
            name, at = cstring(body, at)
            table, attribute, type_oid, _size, _modifier, code = _COLUMN.unpack_from(body, at)
            at += _COLUMN.size
            columns.append(Column(name, table, attribute, type_oid, code))
    except struct.error as fault:
        raise Malformed("too short") from fault
    if at != len(body):
        raise Malformed("bytes behind the last column")
    return tuple(columns)


def data_row(body: bytes) -> tuple[bytes | None, ...]:
    try:
        values, at = _values(body, 0)
    except struct.error as fault:
        raise Malformed("too short") from fault
    if at != len(body):
        raise Malformed("bytes behind the last value")
    return values


def copy_response(body: bytes) -> tuple[bool, int]:
    """CopyOutResponse: whether the data is binary, how many columns it has. Raises Malformed."""
    try:
        binary, count = _COPY.unpack_from(body)
    except struct.error as fault:
        raise Malformed("too short") from fault
    if binary not in (0, 1) or len(body) != _COPY.size + 2 * count:
        raise Malformed("the formats of a COPY's columns are not two bytes each")
    return bool(binary), count


def parameter_status(body: bytes) -> tuple[bytes, bytes]:
    name, at = cstring(body, 0)
    value, at = cstring(body, at)
    if at != len(body):
        raise Malformed("bytes behind the value")
    return name, value


def fields(body: bytes) -> list[tuple[int, bytes]]:
    """ErrorResponse, NoticeResponse: (field code, value) in order (PostgreSQL 18 docs §54.8)."""
    found = []
    at = 0
    while True:
        if at >= len(body):
            raise Malformed("the list of fields has no end")
        code = body[at]
        if not code:
            break
        value, at = cstring(body, at + 1)
        found.append((code, value))
    if at + 1 != len(body):
        raise Malformed("bytes behind the end of the fields")
    return found


def frame(tag: bytes, body: bytes) -> bytes:
    return tag + _I32.pack(len(body) + 4) + body


def query(text: bytes) -> bytes:
    return frame(b"Q", text + b"\0")


def parse_message(name: bytes, text: bytes, types: tuple[int, ...] = ()) -> bytes:
    """A Parse; `types`: OIDs of its parameters, 0 for one that the server is to tell."""
    return frame(b"P", name + b"\0" + text + b"\0" + struct.pack(f"!H{len(types)}I", len(types), *types))


def bind_message(
    portal: bytes, statement: bytes, formats: tuple[int, ...] = (), parameters: tuple[bytes | None, ...] = ()
) -> bytes:
    """A Bind, results as text. `formats`: none, one for all, or one each."""
    values = [b"\xff\xff\xff\xff" if value is None else struct.pack("!I", len(value)) + value for value in parameters]
    codes = struct.pack(f"!H{len(formats)}H", len(formats), *formats)
    return frame(b"B", portal + b"\0" + statement + b"\0" + codes + struct.pack("!H", len(values)) + b"".join(values) + b"\0\0")


def execute_message(portal: bytes) -> bytes:
    """An Execute without a row limit."""
    return frame(b"E", portal + b"\0\0\0\0\0")


def describe_portal(portal: bytes) -> bytes:
    return frame(b"D", b"P" + portal + b"\0")


def close_statement(name: bytes) -> bytes:
    return frame(b"C", b"S" + name + b"\0")


def with_fields(tag: bytes, parts: Iterable[tuple[int, bytes]]) -> bytes:
    """An ErrorResponse (``E``) or NoticeResponse (``N``)."""
    return frame(tag, b"".join(bytes((code,)) + value + b"\0" for code, value in parts) + b"\0")


SYNC = frame(b"S", b"")
TERMINATE = frame(b"X", b"")
