"""How a mask is applied to a value of one PostgreSQL type in one wire format.

A masked value must still decode at the client: as the column's type, in the format that was asked for (0 text, 1 binary). What
can't be shaped so becomes the type's neutral value where it has one (an empty range, an array without elements), else NULL.
NULL stays NULL.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import NamedTuple

from ..disclosure import Mask
from . import containers, jsons, typed, types
from .scalars import BINARY, SCALARS
from .texts import MAX_KEY_BYTES, Masking, digest, masking

NULL, PASS, CONSTANT, PARTIAL, OUTSIDE, HASH = "null", "pass", "constant", "partial", "outside", "hash"

Shaper = Callable[[bytes], bytes | None]
UNSHAPED = (ValueError, ArithmeticError, LookupError, struct.error, RecursionError, TypeError)
"""What the reading of a value that is not of its type raises."""


class Action(NamedTuple):
    """What to do with the values of one column."""

    kind: str
    text: bytes = b""
    """``constant``: the new value on the wire; ``hash``: the key."""
    keep: int = 0
    """``partial``: trailing characters that stay."""
    shape: Shaper | None = None
    """``outside``, ``hash``: from the value on the wire to the new one, None for NULL."""
    watched: bool = False
    """``outside``: only because something may be found in the value; else it passes."""


def shape(mask: Mask, type_oid: int, code: int, codec: str | None) -> Action:
    """The action for values of type `type_oid` in format `code`, for a client whose encoding is `codec`; never throws."""
    if code in (0, BINARY) and mask.leaves and type_oid in (types.JSON, types.JSONB):
        return _outside(_json_leaves(mask, type_oid, code, codec), Action(NULL))
    if code not in (0, BINARY) or mask.kind not in _KINDS:
        return Action(NULL)
    if mask.kind in ("redact", "constant"):
        return _stand_in(mask, type_oid, code, codec)
    if mask.kind == "partial" and codec is not None and type_oid in types.CHARACTER:
        return Action(PARTIAL, keep=max(0, min(mask.keep, 0xFFFFFFFF)))
    if mask.kind == "hash" and codec == "utf-8" and type_oid in types.CHARACTER and type_oid != types.BPCHAR:
        of, key = digest(mask.key), mask.key[:MAX_KEY_BYTES]
        return Action(HASH, key, shape=lambda value: of(value).hex().encode("ascii"))
    shaper = _shaper(mask, type_oid, code, codec)
    return _outside(shaper, _stand_in(mask, type_oid, code, codec)) if shaper is not None else Action(NULL)


_KINDS = frozenset(["redact", "constant", "partial", "hash", "format", "date_year"])


def watched(shaper: Shaper) -> Action:
    """The action for values that pass but for what is found in them; what can't be looked through is hidden."""
    return _outside(shaper, Action(NULL))._replace(watched=True)


def watches(action: Action) -> bool:
    """Whether the action is one of `watched`."""
    return action.watched


def _outside(shaper: Shaper, instead: Action) -> Action:
    """What `shaper` can't shape becomes what `instead` makes of it."""

    def careful(value: bytes) -> bytes | None:
        try:
            return shaper(value)
        except UNSHAPED:
            if instead.shape is not None:
                return instead.shape(value)
            return instead.text if instead.kind == CONSTANT else None

    return Action(OUTSIDE, shape=careful)


def _stand_in(mask: Mask, type_oid: int, code: int, codec: str | None) -> Action:
    """What does not depend on the value: the mask's text, as far as the type can hold it."""
    if type_oid >= types.FIRST_USER_TYPE and code == 0:
        fixed = _encoded(mask.text or "[redacted]", codec)
        return Action(OUTSIDE, shape=lambda value: _user_type(value, fixed))
    if type_oid == types.RECORD:
        empty = containers.nulls_binary if code else containers.nulls_text
        return _outside(empty, Action(NULL))
    fixed = _constant(mask, type_oid, code, codec)
    return Action(NULL) if fixed is None else Action(CONSTANT, fixed)


def _user_type(value: bytes, fixed: bytes | None) -> bytes | None:
    """Which kind of type it is only the value's form tells: a composite's and an array's must stay."""
    if value[:1] == b"(" and value[-1:] == b")":
        return containers.nulls_text(value)
    if value[:1] == b"{" and value[-1:] == b"}":
        return containers.EMPTY_ARRAY
    if value == containers.EMPTY_RANGE[0] or (value[:1] in (b"[", b"(") and value[-1:] in (b"]", b")") and b"," in value):
        return containers.EMPTY_RANGE[0]
    return fixed


def _constant(mask: Mask, type_oid: int, code: int, codec: str | None) -> bytes | None:
    text = mask.text if mask.kind == "constant" else mask.text or "[redacted]"
    if type_oid in (types.JSON, types.JSONB):
        # ASCII only, so it is the same in every encoding; jsonb's binary form is a version byte before the text.
        version = b"\x01" if type_oid == types.JSONB and code == BINARY else b""
        return version + json.dumps(text).encode("ascii")
    if type_oid in types.CHARACTER:
        return _encoded(text, codec)
    if type_oid in types.ARRAYS:
        element_type = types.ARRAYS[type_oid]
        element = _constant(mask, element_type, code, codec)
        if element is None:
            return containers.no_elements(element_type, code)
        return containers.array_of_one(element, element_type, code)
    if type_oid in types.RANGES:
        return containers.EMPTY_RANGE[code]
    if type_oid in types.MULTIRANGES:
        return containers.EMPTY_MULTIRANGE[code]
    return typed.constant(text, type_oid, code) if mask.kind == "constant" else None


def _encoded(text: str, codec: str | None) -> bytes | None:
    try:
        return text.encode(codec or "ascii")
    except UnicodeEncodeError:
        return None


def _shaper(mask: Mask, type_oid: int, code: int, codec: str | None) -> Shaper | None:
    """What shapes each value by itself; it raises one of UNSHAPED where it can't."""
    if type_oid in SCALARS:
        return typed.shaper(mask, SCALARS[type_oid], code)
    if type_oid in types.CHARACTER or (type_oid >= types.FIRST_USER_TYPE and code == 0):
        return _characters(mask, type_oid, codec)
    if type_oid in (types.JSON, types.JSONB):
        return _json_document(mask, type_oid, code, codec)
    if type_oid in types.ARRAYS:
        return _elements(mask, types.ARRAYS[type_oid], code, codec)
    if type_oid in types.RANGES or type_oid in types.MULTIRANGES:
        return _bounds(mask, type_oid, code)
    return None


def _characters(mask: Mask, type_oid: int, codec: str | None) -> Shaper:
    user = type_oid >= types.FIRST_USER_TYPE
    fresh = masking(mask)

    def shaped(value: bytes) -> bytes | None:
        if user and value[:1] in (b"(", b"{", b"[") and value[-1:] in (b")", b"}", b"]"):
            raise ValueError("a composite, an array or a range")
        # Where the encoding can't be told, equal bytes are all that can be relied on.
        text = value.decode(codec or "latin-1", "surrogateescape" if codec == "utf-8" else "strict")
        if type_oid == types.BPCHAR:  # blank-padded: what is equal for the server must stay equal
            text = text.rstrip(" ")
        if codec is None and mask.kind == "partial":
            raise ValueError("characters can't be told apart")
        return (fresh(text) or "").encode(codec or "ascii", "surrogateescape" if codec == "utf-8" else "strict")

    return shaped


def _json_document(mask: Mask, type_oid: int, code: int, codec: str | None) -> Shaper:
    """A hash stands for a document as a whole; other masks go into its leaves."""
    if mask.kind == "hash":
        of, version = digest(mask.key), _json_version(type_oid, code)
        return lambda value: version + b'"%s"' % of(_without_version(value, type_oid, code)).hex().encode("ascii")
    return _json_leaves(mask, type_oid, code, codec)


def _json_leaves(mask: Mask, type_oid: int, code: int, codec: str | None) -> Shaper:
    fresh: Masking = masking(mask)
    null = mask.kind not in _KINDS

    def leaf(text: str, path: jsons.Path) -> str | None:
        if mask.leaves and not jsons.under(mask.leaves, path):
            return None
        return "null" if null else json.dumps(fresh(text))

    def shaped(value: bytes) -> bytes:
        text = _without_version(value, type_oid, code).decode(codec or "ascii")
        return _json_version(type_oid, code) + jsons.rewrite(text, leaf).encode(codec or "ascii")

    return shaped


def _json_version(type_oid: int, code: int) -> bytes:
    return b"\x01" if type_oid == types.JSONB and code == BINARY else b""


def _without_version(value: bytes, type_oid: int, code: int) -> bytes:
    version = _json_version(type_oid, code)
    if not value.startswith(version):
        raise ValueError("another version of jsonb")
    return value[len(version) :]


def _elements(mask: Mask, element_type: int, code: int, codec: str | None) -> Shaper | None:
    action = shape(mask, element_type, code, codec)
    each = member(action, codec)
    if action.kind == NULL:
        return None
    if code == BINARY:
        return lambda value: containers.array_binary(value, each)
    return lambda value: containers.array_text(value, each)


def member(action: Action, codec: str | None) -> Shaper:
    """An action as a function, for a value inside another."""
    if action.shape is not None:
        return action.shape
    if action.kind == PARTIAL:
        fresh = masking(Mask("partial", keep=action.keep))
        # Read as what it is or, where it is not UTF-8, byte for byte.
        encoding, errors = ("utf-8", "surrogateescape") if codec == "utf-8" else ("latin-1", "strict")
        return lambda value: (fresh(value.decode(encoding, errors)) or "").encode(encoding, errors)
    if action.kind == PASS:
        return lambda value: value
    return lambda _: action.text if action.kind == CONSTANT else None


def _bounds(mask: Mask, type_oid: int, code: int) -> Shaper | None:
    """Only a mask that keeps the order of values makes a range of a range."""
    if mask.kind != "date_year":
        return None
    multirange = type_oid in types.MULTIRANGES
    bound_type = types.RANGES[types.MULTIRANGES.get(type_oid, type_oid)]
    bound = typed.shaper(mask, SCALARS[bound_type], code)
    if bound is None or (multirange and code != BINARY):
        return None
    if multirange:
        return lambda value: containers.multirange_binary(value, bound)
    if code == BINARY:
        return lambda value: containers.range_binary(value, bound)
    return lambda value: containers.range_text(value, bound)
