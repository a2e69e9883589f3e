"""The format of entries: what is packed, and that it is documented."""

from __future__ import annotations

import re
import string
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostguard.recorder.entry import Captured, Decision, Entry, FlowOpen, Operation, Reply, Session
from hostguard.recorder.kinds import KINDS
from hostguard.recorder.packing import MAX_ENTRY_BYTES, LogCorrupt, frame, kind_of, restore, spillable, tag_of, unpack
from hostguard.recorder.stored import Stored

COMMON = ("v", "wall_ns", "mono_ns", "flow", "seq", "crc")
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "recordings.md"


class Shelf:
    """A payload store in memory."""

    def __init__(self) -> None:
        self.payloads: dict[bytes, bytes] = {}

    def store(self, payload: bytes) -> Stored:
        reference = Stored(len(payload), sha256(payload).digest())
        self.payloads[reference.sha256] = payload
        return reference

    def fetch(self, reference: Stored) -> bytes | None:
        return self.payloads.get(reference.sha256)


def example(kind: type[Entry], size: int) -> Entry:
    """An entry of the kind with every field filled, texts with `size` characters."""

    def value(hint: object) -> object:
        if Stored in get_args(hint):
            hint = next(member for member in get_args(hint) if member not in (Stored, type(None)))
        if hint is str:
            return (string.ascii_letters * (size // 52 + 1))[:size]
        if hint is bytes:
            return b"d" * size
        if getattr(hint, "__origin__", None) is tuple:
            member = get_args(hint)[0]
            if member is int:
                return tuple(range(size))
            if getattr(member, "__origin__", None) is tuple:
                return tuple((f"name{number}", "v" * 50) for number in range(size // 50))
            return tuple(("w" * 50 if member is str else b"w" * 50) for _ in range(size // 50))
        return {int: 7, bool: True, bytes: b"d" * 32}[hint]  # type: ignore[index]

    hints = get_type_hints(kind)
    short = {int: 7, bool: True, bytes: b"d" * 32, str: "short"}
    fields: dict[str, Any] = {
        name: value(hints[name]) if Stored in get_args(hints[name]) else short[hints[name]]
        for name in kind.__struct_fields__
        if name not in COMMON
    }
    return kind(**fields)


def framed(entry: Entry) -> bytes:
    return frame(entry, Shelf().store)


@pytest.mark.parametrize("kind", KINDS, ids=tag_of)
def test_every_kind_comes_back_as_it_was_and_any_msgpack_library_reads_it(kind: type[Entry]) -> None:
    shelf = Shelf()
    entry = example(kind, 40)
    data = frame(entry, shelf.store)
    assert int.from_bytes(data[:2]) == len(data) - 2
    back = unpack(data[2:])
    assert isinstance(back, kind)
    # What an agent was shown is a payload however short it is; nothing else is.
    assert bool(shelf.payloads) is (kind is Captured)
    assert msgspec.structs.replace(restore(back, shelf.fetch), crc=entry.crc) == entry
    fields = msgpack.unpackb(data[2:])
    assert list(fields) == ["kind", *kind.__struct_fields__]
    assert list(fields)[-1] == "crc"
    assert fields["kind"] == tag_of(kind) == kind_of(data[2:]).decode()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if spillable(kind)], ids=tag_of)
def test_every_kind_fits_whatever_others_put_into_it(kind: type[Entry]) -> None:
    shelf = Shelf()
    entry = example(kind, 40_000)
    if len(spillable(kind)) == 1:
        entry = example(kind, 80_000)
    data = frame(entry, shelf.store)
    assert len(data) - 2 <= MAX_ENTRY_BYTES
    assert shelf.payloads
    back = unpack(data[2:])
    assert isinstance(back, kind)
    restored = restore(back, shelf.fetch)
    assert msgspec.structs.replace(restored, crc=entry.crc) == entry


@pytest.mark.parametrize("size", range(MAX_ENTRY_BYTES - 200, MAX_ENTRY_BYTES + 10))
def test_the_largest_entry_is_inline_and_one_more_byte_is_stored(size: int) -> None:
    shelf = Shelf()
    data = frame(Operation(1, "query", "x" * size), shelf.store)
    overhead = len(framed(Operation(1, "query", "x" * 40_000))) - 2 - 40_000
    assert bool(shelf.payloads) == (size + overhead > MAX_ENTRY_BYTES)
    assert len(data) < MAX_ENTRY_BYTES + 3


def test_only_as_much_as_must_is_stored_apart() -> None:
    data = frame(Operation(1, "query", "x" * 60_000, parameters=(b"y" * 20_000,)), Shelf().store)
    entry = unpack(data[2:])
    assert isinstance(entry, Operation)
    assert isinstance(entry.text, Stored)
    assert entry.parameters == (b"y" * 20_000,)


def test_an_entry_of_our_own_making_that_can_never_fit_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="FlowOpen"):
        framed(FlowOpen("a" * 70_000, "w", "r"))


def test_a_lost_payload_leaves_the_reference() -> None:
    shelf = Shelf()
    entry = unpack(frame(Session("d" * 70_000, "u"), shelf.store)[2:])
    shelf.payloads.clear()
    assert isinstance(entry, Session)
    restore(entry, shelf.fetch)
    assert isinstance(entry.database, Stored)


def test_bytes_that_were_no_text_are_on_record_by_their_escapes() -> None:
    entry = unpack(framed(Decision(1, "deny", "no \udcff", accesses=(("read", "t\udc80"),)))[2:])
    assert isinstance(entry, Decision)
    assert (entry.reason, entry.accesses) == ("no \\udcff", (("read", "t\\udc80"),))


@pytest.mark.parametrize(
    "change", [lambda at, data: data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], lambda at, data: data[:at]]
)
def test_a_changed_or_missing_byte_anywhere_is_found(change: Callable[[int, bytes], bytes]) -> None:
    data = framed(Reply(1, "ok", "SELECT 1", columns=("a", "b")))[2:]
    for at in range(len(data)):
        with pytest.raises(LogCorrupt):
            unpack(change(at, data))


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_no_entry(data: bytes) -> None:
    with pytest.raises(LogCorrupt):
        unpack(data)


@given(st.text(), st.lists(st.none() | st.binary()), st.text())
def test_any_text_and_parameters_come_back(text: str, parameters: list[bytes | None], name: str) -> None:
    entry = unpack(framed(Operation(1, "execute", text, name, tuple(parameters)))[2:])
    assert isinstance(entry, Operation)
    assert (entry.text, entry.statement, list(entry.parameters)) == (text, name, parameters)  # type: ignore[arg-type]


def documented() -> dict[str, set[str]]:
    """Kind to fields, from the document's tables: a heading ``### `kind` `` and rows that begin with ``| `field` ``."""
    found: dict[str, set[str]] = {}
    for section in re.split(r"^### ", DOCUMENT.read_text(), flags=re.MULTILINE)[1:]:
        if heading := re.match(r"`([a-z.]+)`", section):
            found[heading[1]] = set(re.findall(r"^\| `(\w+)`", section, flags=re.MULTILINE))
    return found


def test_every_kind_is_documented_with_its_own_fields_and_no_others() -> None:
    common = documented().pop("every")
    assert common == {"kind", *COMMON}
    found = {kind: fields for kind, fields in documented().items() if kind != "every"}
    assert found == {tag_of(kind): set(kind.__struct_fields__) - common for kind in KINDS}
