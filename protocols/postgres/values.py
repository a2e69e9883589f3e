"""How a mask is applied to a value of one PostgreSQL type in one wire format.

A masked value must still decode at the client: as the column's type, in the format that was asked for (0 text, 1 binary). What
can't be shaped so becomes NULL, and NULL stays NULL. Type OIDs are those of PostgreSQL's ``pg_type.dat``; they are fixed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import NamedTuple

from ..events import Mask

NULL, PASS, CONSTANT, PARTIAL, OUTSIDE = "null", "pass", "constant", "partial", "outside"

# text, varchar, bpchar, name, unknown, xml: in both formats the characters as they are.
_CHARACTER = frozenset({25, 1043, 1042, 19, 705, 142})
_JSON, _JSONB = 114, 3802
_UUID = 2950
# Bytes of a binary value, which bound the value as well: int2, int4, int8.
_INTEGERS = {21: 2, 23: 4, 20: 8}
# FirstNormalObjectId: types from here on were made by users (enum, domain over unknown, citext, composite).
_FIRST_USER_TYPE = 16384
_DIGEST_BYTES = 16
_MAX_KEY_BYTES = 64

Shaper = Callable[[bytes], bytes | None]


class Action(NamedTuple):
    """What to do with the values of one column."""

    kind: str
    text: bytes = b""
    """``constant``: the new value on the wire."""
    keep: int = 0
    """``partial``: trailing characters that stay."""
    shape: Shaper | None = None
    """``outside``: from the value on the wire to the new one, None for NULL."""


def shape(mask: Mask, type_oid: int, code: int, codec: str | None) -> Action:
    """The action for values of type `type_oid` in format `code`, for a client whose encoding is `codec`; never throws."""
    if code not in (0, 1):
        return Action(NULL)
    match mask.kind:
        case "redact":
            return _constant(mask.text or "[redacted]", type_oid, code, codec)
        case "constant":
            return _constant(mask.text, type_oid, code, codec)
        case "partial" if _is_character(type_oid, code) and codec is not None:
            return Action(PARTIAL, keep=max(0, min(mask.keep, 0xFFFFFFFF)))
        case "hash":
            return _hash(mask.key[:_MAX_KEY_BYTES], type_oid, code)
        case _:
            return Action(NULL)


def _is_character(type_oid: int, code: int) -> bool:
    return type_oid in _CHARACTER or (type_oid >= _FIRST_USER_TYPE and code == 0)


def _constant(text: str, type_oid: int, code: int, codec: str | None) -> Action:
    if type_oid in (_JSON, _JSONB):
        # ASCII only, so it is the same in every encoding; jsonb's binary form is a version byte before the text.
        version = b"\x01" if type_oid == _JSONB and code == 1 else b""
        return Action(CONSTANT, version + json.dumps(text).encode("ascii"))
    if not _is_character(type_oid, code):
        return Action(NULL)
    try:
        return Action(CONSTANT, text.encode(codec or "ascii"))
    except UnicodeEncodeError:
        return Action(NULL)


def _hash(key: bytes, type_oid: int, code: int) -> Action:
    """Equal values of one type give equal hashes in either format: text and binary are brought to one form first."""

    # The keyed state is made once and copied for each value: half the work of short values is the key's own block.
    keyed = hashlib.blake2b(digest_size=_DIGEST_BYTES, key=key)

    def digest(value: bytes) -> bytes:
        state = keyed.copy()
        state.update(value)
        return state.digest()

    if _is_character(type_oid, code):
        return Action(OUTSIDE, shape=lambda value: digest(value).hex().encode("ascii"))
    if type_oid == _UUID:
        return Action(OUTSIDE, shape=lambda value: _hash_uuid(value, code, digest))
    if type_oid in _INTEGERS:
        return Action(OUTSIDE, shape=lambda value: _hash_integer(value, code, _INTEGERS[type_oid], digest))
    return Action(NULL)


def _hash_uuid(value: bytes, code: int, digest: Callable[[bytes], bytes]) -> bytes | None:
    raw = value
    if code == 0:
        try:
            raw = bytes.fromhex(value.replace(b"-", b"").decode("ascii"))
        except ValueError:
            return None
    if len(raw) != 16:
        return None
    hashed = digest(raw)
    if code == 1:
        return hashed
    text = hashed.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}".encode("ascii")


def _hash_integer(value: bytes, code: int, size: int, digest: Callable[[bytes], bytes]) -> bytes | None:
    if code == 1:
        if len(value) != size:
            return None
        number = int.from_bytes(value, "big", signed=True)
    else:
        # The longest int8 has 20 characters; int() of more would cost more than it is worth.
        if len(value) > 20 or not value.removeprefix(b"-").isdigit():
            return None
        number = int(value)
    hashed = int.from_bytes(digest(b"%d" % number), "big") % (1 << (8 * size - 1))
    return hashed.to_bytes(size, "big") if code == 1 else b"%d" % hashed
