"""Values made of values (arrays, ranges, composites), written anew around new members.

Forms: array_out/array_send, range_out/range_send, record_out/record_send (PostgreSQL 18, src/backend/utils/adt). A function here
raises ValueError or struct.error for what is none of them; `Member` gives None for NULL.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

Member = Callable[[bytes], bytes | None]

EMPTY_RANGE = (b"empty", b"\x01")
EMPTY_MULTIRANGE = (b"{}", b"\0\0\0\0")
EMPTY_ARRAY = b"{}"
_MAX_DIMENSIONS = 6
_HAS_NULL = 1
# Range flags (rangetypes.h): what is unbounded has no value.
_EMPTY, _LOWER_INFINITE, _UPPER_INFINITE = 0x01, 0x08, 0x10
# One token of an array: quoted, a brace or comma, or bare. `{a,"b\"c",NULL}`, `[0:1]={1,2}`.
_ARRAY_TOKEN = re.compile(rb'"((?:[^"\\]|\\.)*)"|([{},])|((?:[^{},"\\]|\\.)+)', re.DOTALL)
_BOUNDS = re.compile(rb"(?:\[-?\d+:-?\d+\])+=")
_RANGE = re.compile(
    rb'([\[(])("(?:[^"\\]|\\.|"")*"|(?:[^,"\\\])]|\\.)*),("(?:[^"\\]|\\.|"")*"|(?:[^,"\\\])]|\\.)*)([\])])', re.DOTALL
)
_NUMBER = struct.Struct(">i")


def array_text(value: bytes, member: Member) -> bytes:
    """Each element of an array in text form."""
    bounds = _BOUNDS.match(value)
    at = bounds.end() if bounds else 0
    fresh = [value[:at]]
    while at < len(value):
        token = _ARRAY_TOKEN.match(value, at)
        if token is None:
            raise ValueError("no array")
        quoted, mark, bare = token.groups()
        if mark is not None:
            fresh.append(mark)
        elif bare is not None and bare.upper() == b"NULL":
            fresh.append(b"NULL")
        else:
            fresh.append(array_element(member(_unescaped(quoted if quoted is not None else bare))))
        at = token.end()
    if not value.endswith(b"}") or not value.startswith((b"{", b"[")):
        raise ValueError("no array")
    return b"".join(fresh)


def array_element(value: bytes | None) -> bytes:
    """One element as it stands in an array's text."""
    return b"NULL" if value is None else b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def array_binary(value: bytes, member: Member) -> bytes:
    """Each element of an array in binary form."""
    dimensions, flags = struct.unpack_from(">ii", value)
    if not 0 <= dimensions <= _MAX_DIMENSIONS:
        raise ValueError("no array")
    at = 12 + 8 * dimensions
    count = 1 if dimensions else 0
    for number in range(dimensions):
        count *= struct.unpack_from(">i", value, 12 + 8 * number)[0]
    fresh: list[bytes] = []
    for _ in range(count):
        element, at = _sized(value, at)
        new = member(element) if element is not None else None
        if new is None:
            flags |= _HAS_NULL
        fresh.append(_with_size(new))
    if at != len(value):
        raise ValueError("no array")
    return struct.pack(">ii", dimensions, flags) + value[8 : 12 + 8 * dimensions] + b"".join(fresh)


def array_of_one(element: bytes, element_type: int, code: int) -> bytes:
    """An array of one element."""
    if code == 0:
        return b"{" + array_element(element) + b"}"
    return struct.pack(">iiIii", 1, 0, element_type, 1, 1) + _with_size(element)


def no_elements(element_type: int, code: int) -> bytes:
    """An array of none."""
    return struct.pack(">iiI", 0, 0, element_type) if code else EMPTY_ARRAY


def range_text(value: bytes, member: Member) -> bytes:
    """The bounds of a range in text form; a bound that becomes NULL is none, which makes the range empty."""
    if value == EMPTY_RANGE[0]:
        return value
    found = _RANGE.fullmatch(value)
    if found is None:
        raise ValueError("no range")
    bounds: list[bytes] = []
    for bound in (found[2], found[3]):
        new = member(_unescaped(bound[1:-1].replace(b'""', b'\\"') if bound[:1] == b'"' else bound)) if bound else b""
        if new is None:
            return EMPTY_RANGE[0]
        bounds.append(array_element(new) if bound else b"")
    return found[1] + bounds[0] + b"," + bounds[1] + found[4]


def range_binary(value: bytes, member: Member) -> bytes:
    """The bounds of a range in binary form."""
    flags, at = value[0], 1
    if flags & _EMPTY:
        return EMPTY_RANGE[1]
    fresh = value[:1]
    for infinite in (_LOWER_INFINITE, _UPPER_INFINITE):
        if not flags & infinite:
            bound, at = _sized(value, at)
            new = member(bound) if bound is not None else None
            if new is None:
                return EMPTY_RANGE[1]
            fresh += _with_size(new)
    if at != len(value):
        raise ValueError("no range")
    return fresh


def multirange_binary(value: bytes, member: Member) -> bytes:
    """The ranges of a multirange in binary form; `member` takes a bound."""
    (count,) = _NUMBER.unpack_from(value)
    at, fresh = 4, value[:4]
    for _ in range(count):
        part, at = _sized(value, at)
        fresh += _with_size(range_binary(part or b"", member))
    if at != len(value):
        raise ValueError("no multirange")
    return fresh


def nulls_text(value: bytes) -> bytes:
    """A composite of as many fields, all NULL: what their types are the text does not tell."""
    if not (value.startswith(b"(") and value.endswith(b")")):
        raise ValueError("no composite")
    quoted, commas, at = False, 0, 1
    while at < len(value) - 1:
        c = value[at : at + 1]
        if c == b"\\":
            at += 1
        elif c == b'"':
            quoted = not quoted
        elif c == b"," and not quoted:
            commas += 1
        at += 1
    return b"(" + b"," * commas + b")"


def nulls_binary(value: bytes) -> bytes:
    """The same in binary form, where the types stand beside the fields."""
    (count,) = _NUMBER.unpack_from(value)
    at, fresh = 4, value[:4]
    for _ in range(count):
        fresh += value[at : at + 4] + _with_size(None)
        _, at = _sized(value, at + 4)
    if at != len(value):
        raise ValueError("no composite")
    return fresh


def _sized(value: bytes, at: int) -> tuple[bytes | None, int]:
    (size,) = _NUMBER.unpack_from(value, at)
    at += 4
    if size == -1:
        return None, at
    if not 0 <= size <= len(value) - at:
        raise ValueError("size")
    return value[at : at + size], at + size


def _with_size(value: bytes | None) -> bytes:
    return _NUMBER.pack(-1) if value is None else _NUMBER.pack(len(value)) + value


def _unescaped(text: bytes) -> bytes:
    return re.sub(rb"\\(.)", rb"\1", text, flags=re.DOTALL) if b"\\" in text else text
