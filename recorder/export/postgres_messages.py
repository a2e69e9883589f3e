"""Messages of PostgreSQL's protocol as its two ends would have sent them, made from the log.

PostgreSQL 18 docs §54.7 (Message Formats). Only what the log holds: requests whole, replies as they were captured, or by their
summary.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from ..entry import Operation, Session
from ..exchanges import Exchange, text_of
from ..stored import Stored

UNSEEN = "-- prepared out of hostguard's sight"
SYNC = b"S\0\0\0\4"
TERMINATE = b"X\0\0\0\4"
AUTHENTICATION_OK = b"R\0\0\0\x08\0\0\0\0"
READY = b"Z\0\0\0\x05I"
_PARSE_COMPLETE = b"1\0\0\0\4"
_BIND_COMPLETE = b"2\0\0\0\4"
_SUSPENDED = b"s\0\0\0\4"
_VERSION_3_0 = 196608
_REFUSED = "42501"


def startup(session: Session) -> bytes:
    """StartupMessage."""
    pairs = {} if isinstance(session.parameters, Stored) else dict(session.parameters)
    pairs = {"user": text_of(session.user), "database": text_of(session.database), **pairs}
    body = struct.pack(">i", _VERSION_3_0) + b"".join(_text(name) + _text(value) for name, value in pairs.items()) + b"\0"
    return struct.pack(">i", len(body) + 4) + body


def request(operation: Operation) -> bytes:
    """What the client sent for the operation; a Sync follows what is no simple query, so that each is answered by itself."""
    text = UNSEEN if operation.text is None else text_of(operation.text)
    name = text_of(operation.statement)
    types = () if isinstance(operation.types, Stored) else operation.types
    match operation.form:
        case "prepare":
            codes = struct.pack(f">h{len(types)}I", len(types), *types)
            return _message(b"P", _text(name) + _text(text) + codes) + SYNC
        case "execute":
            portal = _text("")
            bind = portal + _text(name) + _bound(operation) + struct.pack(">h", 0)
            return _message(b"B", bind) + _message(b"E", portal + struct.pack(">i", 0)) + SYNC
        case "function_call":
            return _message(b"F", struct.pack(">I", operation.function) + _bound(operation) + struct.pack(">h", 0))
        case _:
            return _message(b"Q", _text(text))


def reply(exchange: Exchange) -> bytes:
    """What the server said to it, rows as far as they were captured, else what the summary tells."""
    decision, summary = exchange.decision, exchange.reply
    if summary is not None and summary.status == "lost":
        return b""
    if exchange.withdrawn is not None:
        return _error("57014", text_of(exchange.withdrawn.reason)) + READY
    if decision is not None and decision.verdict != "allow":
        code = text_of(summary.tag) if summary is not None and summary.status == "error" else _REFUSED
        return _error(code, text_of(decision.reason)) + READY
    if summary is None:
        return b""
    tag = text_of(summary.tag)
    captured = _captured(exchange)
    described = captured or _columns(summary.columns)
    begin = {"prepare": _PARSE_COMPLETE, "execute": _BIND_COMPLETE}.get(exchange.operation.form, b"")
    match summary.status:
        case "error":
            return captured + _error(tag, f"SQLSTATE {tag}; the log keeps no text of errors") + READY
        case "skipped":
            return READY
        case "suspended":
            return begin + described + _SUSPENDED + READY
    end = b"" if exchange.operation.form == "prepare" else _message(b"C", _text(tag))
    if exchange.captured is not None and captured and not exchange.captured.left_out:
        end = b""  # It is among what was captured.
    return begin + described + end + READY


def _captured(exchange: Exchange) -> bytes:
    """The messages that the agent got, as far as they were kept and can be read."""
    return exchange.captured.messages if exchange.captured and isinstance(exchange.captured.messages, bytes) else b""


def _columns(names: Sequence[str] | Stored) -> bytes:
    """RowDescription; the log has no types, so each is 0 (unspecified)."""
    if isinstance(names, Stored) or not names:
        return b""
    columns = b"".join(_text(name) + struct.pack(">IhIhih", 0, 0, 0, -1, -1, 0) for name in names)
    return _message(b"T", struct.pack(">h", len(names)) + columns)


def _bound(operation: Operation) -> bytes:
    """Format codes and values, as they stand in Bind and FunctionCall."""
    formats = () if isinstance(operation.formats, Stored) else operation.formats
    values = () if isinstance(operation.parameters, Stored) else operation.parameters
    found = struct.pack(f">h{len(formats)}h", len(formats), *formats) + struct.pack(">h", len(values))
    return found + b"".join(struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value for value in values)


def _error(code: str, text: str) -> bytes:
    fields = (("S", "ERROR"), ("V", "ERROR"), ("C", code), ("M", text))
    return _message(b"E", b"".join(name.encode() + _text(value) for name, value in fields) + b"\0")


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack(">i", len(body) + 4) + body


def _text(value: str) -> bytes:
    """A C string: what stood behind a NUL was never part of it."""
    return value.encode("utf-8", "backslashreplace").partition(b"\0")[0] + b"\0"
