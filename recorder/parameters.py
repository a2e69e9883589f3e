"""Bound values as people read them.

A value comes with the number of its type (an OID of PostgreSQL's pg_type) and its format. What isn't known, or doesn't have its
type's length, is shown as the hexadecimal digits of its bytes: never a guess. The binary forms are those of the types' send
functions (PostgreSQL 18, src/backend/utils/adt).
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable, Sequence

from .visible import visible

BINARY = 1
"""Format code for binary; every other is read as text."""


def _number(layout: str) -> Callable[[bytes], str]:
    unpack = struct.Struct(layout).unpack
    return lambda data: str(unpack(data)[0])


def _boolean(data: bytes) -> str:
    return {b"\0": "false", b"\1": "true"}[data]


def _uuid(data: bytes) -> str:
    return str(uuid.UUID(bytes=data))


def _text(data: bytes) -> str:
    return f"'{visible(data.decode('utf-8', 'backslashreplace'))}'"


def _jsonb(data: bytes) -> str:
    if data[:1] != b"\1":
        raise ValueError("not version 1 of jsonb's binary form")
    return _text(data[1:])


_BINARY_FORMS: dict[int, Callable[[bytes], str]] = {
    16: _boolean,
    18: _text,  # "char"
    19: _text,  # name
    20: _number(">q"),  # int8
    21: _number(">h"),  # int2
    23: _number(">i"),  # int4
    25: _text,
    26: _number(">I"),  # oid
    114: _text,  # json
    700: _number(">f"),  # float4
    701: _number(">d"),  # float8
    1042: _text,  # bpchar
    1043: _text,  # varchar
    2950: _uuid,
    3802: _jsonb,
}
_JSONB = 3802
_TEXTS = frozenset(oid for oid, form in _BINARY_FORMS.items() if form in (_text, _jsonb))
"""Types whose binary form is their text, that of jsonb behind its version."""


def render(parameters: Sequence[bytes | None], formats: Sequence[int], types: Sequence[int]) -> tuple[str, ...]:
    """Each value on one line: ``NULL``, ``42``, ``'text'``, ``\\x0a0b``.

    formats: none (all text), one for all, or one each (PostgreSQL 18 docs §54.7, Bind). types: 0 or missing for unknown.
    """
    if len(formats) == 1:
        formats = [formats[0]] * len(parameters)
    return tuple(
        _render_one(
            value,
            formats[number] if number < len(formats) else 0,
            types[number] if number < len(types) else 0,
        )
        for number, value in enumerate(parameters)
    )


def plain(parameters: Sequence[bytes | None], formats: Sequence[int], types: Sequence[int]) -> tuple[str | None, ...] | None:
    """Each value as whoever types it would write it: ``42``, ``text``, None for NULL.

    None in place of all when one of them can't be told for sure. Arguments as of `render`. A number is the same text whether it
    was sent as text or in binary.
    """
    if len(formats) == 1:
        formats = [formats[0]] * len(parameters)
    found: list[str | None] = []
    for number, value in enumerate(parameters):
        form = formats[number] if number < len(formats) else 0
        type_oid = types[number] if number < len(types) else 0
        try:
            if value is None:
                found.append(None)
            elif form != BINARY:
                found.append(value.decode("utf-8"))
            elif type_oid in _TEXTS:
                found.append(value[type_oid == _JSONB :].decode("utf-8"))
            else:
                found.append(_BINARY_FORMS[type_oid](value))
        except (KeyError, ValueError, struct.error):
            return None
    return tuple(found)


def _render_one(value: bytes | None, form: int, type_oid: int) -> str:
    if value is None:
        return "NULL"
    if form != BINARY:
        return _text(value)
    try:
        return _BINARY_FORMS[type_oid](value)
    except (KeyError, ValueError, struct.error):
        return "\\x" + value.hex()
