"""Entries to bytes, as they stand in the log.

An entry has at most `MAX_ENTRY_BYTES` bytes, because its frame has a 16-bit length (C2SP tlog-tiles, Log Entries). `frame`
moves the largest fields that may be `Stored` out to the payload store until the rest fits. What an agent wrote itself (`WORDS`)
moves out earlier where that is asked for: payloads can be encrypted, entries can't.

``crc`` is CRC-32 (ISO 3309, as in zlib) over the bytes of the entry before its own four. It finds what a power cut does to
the log's last pages. It proves nothing against a person, who can compute it as well: that is what the Merkle tree is for.
"""

from __future__ import annotations

import functools
import operator
import struct
from collections.abc import Callable, Sequence
from typing import Final, get_args, get_type_hints
from zlib import crc32

import msgspec

from .entry import Captured, Entry, Operation, Unknown
from .kinds import KINDS
from .stored import Stored

MAX_ENTRY_BYTES = 0xFFFF
CRC_KEY = b"\xa3crc\xce"
"""The four bytes after this, the entry's last, are the CRC: msgpack for the key ``crc`` and the start of a 32-bit integer."""
CRC_BYTES = 4
NO_CRC = 0xFFFFFFFF
"""In the place of the CRC until it is computed: five bytes of msgpack, as any CRC has there."""
_MAP_16 = 0xDE
"""msgpack: a map with a 16-bit count, which entries of more than 15 fields have."""


class LogCorrupt(Exception):
    """The log holds something that no writer of ours leaves there; the message says where, what was expected, what was found."""


Store = Callable[[bytes], Stored]
"""Puts a payload where a reader of the entry finds it. Raises whatever the log raises when it can't be written."""

Fetch = Callable[[Stored], bytes | None]
"""Gives a payload back; None when it is lost."""

WORDS: Final[dict[type[Entry], tuple[str, ...]]] = {Operation: ("text", "parameters")}
"""Fields that hold an agent's own words, by kind."""

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Callable[[bytes], Entry] = msgspec.msgpack.Decoder(functools.reduce(operator.or_, KINDS)).decode
_decode_all: Callable[[bytes], list[Entry]] = msgspec.msgpack.Decoder(
    list[functools.reduce(operator.or_, KINDS)]  # type: ignore[misc]
).decode
_length: Final = struct.Struct(">H").pack
_crc: Final = struct.Struct(">I").pack


def pack(entries: Sequence[Entry]) -> bytes:
    """Entries as one msgpack array, to be stamped by the native part (``ring.c``)."""
    try:
        return _encode(entries)
    except UnicodeEncodeError:
        for entry in entries:
            _make_encodable(entry)
        return _encode(entries)


def unpack_all(array: bytes) -> list[Entry]:
    """What `pack` made. Raises LogCorrupt for anything else, entries of unknown kinds included."""
    try:
        return _decode_all(array)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LogCorrupt(str(error)) from None


def stamp(entry: Entry, wall_ns: int, mono_ns: int, flow: int, seq: int) -> None:
    """Fill in what every entry has."""
    entry.wall_ns, entry.mono_ns, entry.flow, entry.seq, entry.crc = wall_ns, mono_ns, flow, seq, NO_CRC


def frame(entry: Entry, store: Store, payload_above: int = MAX_ENTRY_BYTES) -> bytes:
    """Pack an entry, length first, as it stands in a segment (C2SP tlog-tiles: "a big-endian uint16 length prefix").

    What doesn't fit is given to `store`, as are captured replies, and `WORDS` whose msgpack has more than `payload_above` bytes.
    Raises ValueError for an entry that is too long without anything to move out.
    """
    if type(entry) is Captured and isinstance(entry.messages, bytes) and entry.messages:
        # Never in the entry itself: a payload can be encrypted.
        entry = msgspec.structs.replace(entry, messages=store(_encode(entry.messages)))
    try:
        data = _encode(entry)
    except UnicodeEncodeError:
        _make_encodable(entry)
        data = _encode(entry)
    if len(data) > payload_above:
        data = _encode(_spill(entry, store, payload_above))
    body = data[:-CRC_BYTES]
    return _length(len(data)) + body + _crc(crc32(body))


def _make_encodable(entry: Entry) -> None:
    """Bytes of an agent that were no text may reach a field as lone surrogates: put their escapes on record, not nothing."""
    for name in entry.__struct_fields__:
        setattr(entry, name, _escaped(getattr(entry, name)))


def _escaped(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, tuple):
        return tuple(_escaped(item) for item in value)
    return value


@functools.cache
def spillable(kind: type[Entry]) -> tuple[str, ...]:
    """Names of the kind's fields that may be moved to the payload store."""
    hints = get_type_hints(kind)
    return tuple(name for name in kind.__struct_fields__ if Stored in get_args(hints[name]))


def _spill(entry: Entry, store: Store, payload_above: int) -> Entry:
    """The entry with those fields in the payload store that must be there, and of the largest so many that the rest fits."""
    excess = len(_encode(entry)) - MAX_ENTRY_BYTES
    words = WORDS.get(type(entry), ())
    if excess <= 0 and not words:
        return entry
    sizes = {name: _encode(getattr(entry, name)) for name in (spillable(type(entry)) if excess > 0 else words)}
    replaced: dict[str, Stored] = {}
    for name, value in sorted(sizes.items(), key=lambda item: len(item[1]), reverse=True):
        if excess <= 0 and not (name in words and len(value) > payload_above and getattr(entry, name)):
            continue
        replaced[name] = store(value)
        excess -= len(value) - len(_encode(replaced[name]))
    if excess > 0:
        raise ValueError(f"{excess} bytes too long, with nothing left to store apart: {type(entry).__name__}")
    return msgspec.structs.replace(entry, **replaced)


def restore(entry: Entry, fetch: Fetch) -> Entry:
    """Put back what `frame` moved out of an entry. A field whose payload is lost keeps the reference."""
    for name in spillable(type(entry)):
        value = getattr(entry, name)
        if isinstance(value, Stored) and (payload := fetch(value)) is not None:
            setattr(entry, name, msgspec.msgpack.decode(payload, type=get_type_hints(type(entry))[name]))
    return entry


def is_whole(data: bytes) -> bool:
    """Whether these bytes are an entry as it was written, by its CRC."""
    return data[-9:-CRC_BYTES] == CRC_KEY and crc32(data[:-CRC_BYTES]) == int.from_bytes(data[-CRC_BYTES:])


def kind_of(data: bytes) -> bytes:
    """An entry's kind without decoding the rest: it is the first value of the map. O(1); nonsense for what is no entry."""
    if len(data) < 9:
        return b""
    # The count of fields (1 or 3 bytes), the key (5), the value's type and length (1).
    start = 9 if data[0] == _MAP_16 else 7
    return data[start : start + (data[start - 1] & 0x1F)]


def unpack(data: bytes) -> Entry | Unknown:
    """The entry in `data`. Raises LogCorrupt when the CRC or the format says that it is none."""
    if not is_whole(data):
        raise LogCorrupt("the entry's CRC is wrong")
    try:
        return _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _unpack_unknown(data)


def _unpack_unknown(data: bytes) -> Unknown:
    try:
        fields = msgspec.msgpack.decode(data, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LogCorrupt(f"the entry is no msgpack map: {error}") from None
    kind, flow = fields.get("kind"), fields.get("flow", 0)
    if not isinstance(kind, str) or not isinstance(flow, int):
        raise LogCorrupt("the entry has no kind, or its flow is no number")
    if kind in _TAGS:
        raise LogCorrupt(f"the fields of the {kind} entry are not those of its kind")
    return Unknown(kind, flow, fields)


def tag_of(kind: type[Entry]) -> str:
    """The kind's name in the log."""
    return str(kind.__struct_config__.tag)


_TAGS = frozenset(map(tag_of, KINDS))
