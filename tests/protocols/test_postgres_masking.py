"""Masks on the wire: which column gets which, what a value becomes, whether the native walker does what the rule says."""

from __future__ import annotations

import hashlib
import struct

import msgspec
import pytest
import wire
from hypothesis import given, settings
from hypothesis import strategies as st

from hostguard.protocols.disclosure import Mask, ReplyPlan
from hostguard.protocols.postgres import messages, rows, values
from hostguard.protocols.postgres.masking import Shapes, mask_for
from hostguard.protocols.postgres.messages import Column

TEXT, INT4, INT8, UUID, JSON, JSONB, DATE, BYTEA, TEXT_ARRAY = 25, 23, 20, 2950, 114, 3802, 1082, 17, 1009
CUSTOMERS, ORDERS, OTHERS = 16400, 16410, 16420
EMAIL = Mask("partial", "pii.email")
CARD = Mask("partial", "pci.card", keep=4)
REDACT = Mask("redact")
PLAN = ReplyPlan(
    masks={(CUSTOMERS, 2): EMAIL, (CUSTOMERS, 3): CARD},
    clean_tables=frozenset((ORDERS,)),
    clean_columns=frozenset(((CUSTOMERS, 1),)),
    computed=Mask("null"),
    clean_positions=frozenset((1,)),
)


# Which column gets which mask.


def test_clean_positions_hold_for_so_many_columns_only() -> None:
    counted = msgspec.structs.replace(PLAN, columns=2)
    computed = Column(b"c", 0, 0, 25, 0)
    assert mask_for(computed, 1, counted, 2) is None
    assert mask_for(computed, 1, counted, 3) == PLAN.computed
    assert mask_for(computed, 1, PLAN, 3) is None


@pytest.mark.parametrize(
    ("table", "attribute", "position", "expected"),
    [
        (CUSTOMERS, 2, 0, EMAIL),
        (CUSTOMERS, 1, 0, None),
        (CUSTOMERS, 4, 0, PLAN.computed),
        (CUSTOMERS, 0, 0, PLAN.computed),
        (ORDERS, 0, 0, None),
        (CUSTOMERS, -1, 0, None),
        (ORDERS, 7, 0, None),
        (OTHERS, 1, 0, PLAN.computed),
        (OTHERS, -6, 0, None),
        (OTHERS, 0, 1, PLAN.computed),  # A whole row: a proof about positions speaks of expressions only.
        (0, 0, 0, PLAN.computed),
        (0, 0, 1, None),
    ],
)
def test_a_column_is_masked_by_its_origin(table: int, attribute: int, position: int, expected: Mask | None) -> None:
    assert mask_for(Column(b"alias", table, attribute, TEXT, 0), position, PLAN) == expected


def test_a_whole_row_of_a_table_with_a_mask_never_passes_as_clean() -> None:
    torn = ReplyPlan(masks={(CUSTOMERS, 2): EMAIL}, clean_tables=frozenset((CUSTOMERS,)), computed=Mask("null"))
    assert mask_for(Column(b"c", CUSTOMERS, 0, 16399, 0), 0, torn) == Mask("null")


def test_a_plan_without_a_mask_for_computed_columns_lets_them_pass() -> None:
    assert mask_for(Column(b"x", 0, 0, TEXT, 0), 0, ReplyPlan(masks={(CUSTOMERS, 2): EMAIL})) is None


# What a value becomes.


def masked(mask: Mask, value: bytes | None, type_oid: int = TEXT, code: int = 0, codec: str | None = "utf-8") -> bytes | None:
    action = values.shape(mask, type_oid, code, codec)
    plan = rows.RowPlan([action], codec == "utf-8", ())
    run = rows.mask(wire.data_row(value), 0, 1 << 20, plan)
    (fresh,) = messages.data_row(run.data[5:])
    return fresh


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("alice@example.com", "a****@example.com"),
        ("a@example.com", "*@example.com"),
        ("écoute@exämple.com", "é*****@exämple.com"),
        ("4111111111111111", "************1111"),
        ("äöüßxyz1", "****xyz1"),
        ("1234", "****"),
        ("12", "**"),
        ("", ""),
        ("meet me @ noon", "**********noon"),
        ("a b@c", "* b@c"),  # No dot behind the @: not an address, so the last four stay.
        ("@example.com", "********.com"),
        ("x@y@example.com", "x**@example.com"),
    ],
)
def test_partial(value: str, expected: str) -> None:
    assert masked(CARD, value.encode()) == expected.encode()


def test_partial_in_an_encoding_of_single_bytes() -> None:
    assert masked(CARD, b"\xe9\xe8xyz1", codec="iso8859-1") == b"**xyz1"


def test_partial_where_characters_can_not_be_told_redacts() -> None:
    assert masked(CARD, b"\x83\x7c\x83\x7c1234", codec=None) == b"[redacted]"


@pytest.mark.parametrize(
    ("mask", "type_oid", "code", "value", "expected"),
    [
        (Mask("null"), TEXT, 0, b"x", None),
        (REDACT, TEXT, 0, b"x", b"[redacted]"),
        (REDACT, TEXT, 1, b"x", b"[redacted]"),
        (Mask("redact", text="***"), 1043, 0, b"x", b"***"),
        (Mask("constant", text="none"), 1042, 1, b"x", b"none"),
        (REDACT, JSON, 0, b"{}", b'"[redacted]"'),
        (REDACT, JSONB, 0, b"{}", b'"[redacted]"'),
        (REDACT, JSONB, 1, b"\x01{}", b'\x01"[redacted]"'),
        (REDACT, INT4, 0, b"7", None),
        (REDACT, DATE, 0, b"2026-01-01", None),
        (REDACT, BYTEA, 0, b"\\x00", None),
        (REDACT, TEXT_ARRAY, 0, b"{a,b}", b'{"[redacted]"}'),
        (REDACT, 18, 1, b"x", None),
        (REDACT, 50000, 0, b"x", b"[redacted]"),
        (REDACT, 50000, 1, b"x", None),
        (CARD, INT8, 0, b"4111111111111111", b"1111"),
        (CARD, JSON, 0, b'"a"', b'"*"'),
        (Mask("hash", key=b"k"), DATE, 0, b"2026-01-01", None),
        (Mask("hash", key=b"k"), UUID, 0, b"not a uuid", None),
        (Mask("hash", key=b"k"), UUID, 1, b"short", None),
        (Mask("hash", key=b"k"), INT4, 1, b"\0", None),
        (Mask("hash", key=b"k"), INT4, 0, b"NaN", None),
        (Mask("unheard of"), TEXT, 0, b"x", None),
        (REDACT, TEXT, 7, b"x", None),
        (REDACT, TEXT, 0, None, None),
        (CARD, TEXT, 0, None, None),
        (Mask("hash", key=b"k"), TEXT, 0, None, None),
    ],
)
def test_masks_by_type(mask: Mask, type_oid: int, code: int, value: bytes | None, expected: bytes | None) -> None:
    assert masked(mask, value, type_oid, code) == expected


def test_hashes_depend_on_key_and_value_and_are_the_same_in_both_formats() -> None:
    one, two = Mask("hash", key=b"one"), Mask("hash", key=b"two")
    assert masked(one, b"alice") == hashlib.blake2b(b"alice", digest_size=16, key=b"one").hexdigest().encode()
    assert masked(one, b"alice") != masked(two, b"alice")
    for type_oid, size in ((21, 2), (23, 4), (20, 8)):
        text = masked(one, b"-7", type_oid, 0)
        binary = masked(one, (-7).to_bytes(size, "big", signed=True), type_oid, 1)
        assert text is not None
        assert binary is not None
        assert int(text) == int.from_bytes(binary, "big", signed=True) >= 0
    plain = "123e4567-e89b-12d3-a456-426614174000"
    text = masked(one, plain.encode(), UUID, 0)
    binary = masked(one, bytes.fromhex(plain.replace("-", "")), UUID, 1)
    assert text is not None
    assert binary is not None
    assert text.decode().replace("-", "") == binary.hex()
    assert len(text) == 36


def test_a_text_that_the_clients_encoding_lacks_is_null() -> None:
    assert masked(Mask("constant", text="☃"), b"x", codec="iso8859-1") is None


def test_a_key_longer_than_the_hash_takes_does_not_throw() -> None:
    assert masked(Mask("hash", key=b"k" * 100), b"x") == masked(Mask("hash", key=b"k" * 64), b"x")


# The native walker against a reference in Python.


def cut_reference(value: bytes, keep: int, utf8: bool) -> bytes:
    """`partial` as documented, on characters; surrogateescape keeps bytes that are no UTF-8 apart."""
    characters: list[bytes] = []
    for byte in value:
        if utf8 and characters and byte & 0xC0 == 0x80:
            characters[-1] += bytes((byte,))
        else:
            characters.append(bytes((byte,)))
    at = value.rfind(b"@")
    if at > 0:
        domain = value[at + 1 :]
        allowed = all(byte >= 0x80 or chr(byte).isalnum() or byte in b".-" for byte in domain)
        if allowed and b"." in domain:
            starts = [sum(map(len, characters[:index])) for index in range(len(characters))]
            before = [character for character, start in zip(characters, starts, strict=True) if start < at]
            head = before[0] if len(before) > 1 else b""
            return head + b"*" * (len(before) - (1 if head else 0)) + value[at:]
    if keep >= len(characters):
        return b"*" * len(characters)
    return b"*" * (len(characters) - keep) + b"".join(characters[len(characters) - keep :])


def apply_reference(action: values.Action, value: bytes | None, utf8: bool) -> bytes | None:
    if value is None or action.kind == values.NULL:
        return None
    if action.kind == values.CONSTANT:
        return action.text
    if action.kind == values.PARTIAL:
        return cut_reference(value, action.keep, utf8)
    if action.kind == values.OUTSIDE:
        assert action.shape is not None
        return action.shape(value)
    return value


def upper_or_null(value: bytes) -> bytes | None:
    return value.upper() * 2 if len(value) % 3 else None


ACTIONS = st.one_of(
    st.just(values.Action(values.PASS)),
    st.just(values.Action(values.NULL)),
    st.binary(max_size=20).map(lambda text: values.Action(values.CONSTANT, text)),
    st.integers(0, 12).map(lambda keep: values.Action(values.PARTIAL, keep=keep)),
    st.just(values.Action(values.OUTSIDE, shape=upper_or_null)),
)
VALUES = st.one_of(
    st.none(),
    st.binary(max_size=30),
    st.text(max_size=12).map(str.encode),
    st.from_regex(rb"[a-z\xc3\xa9]{0,4}@[a-z.@ -]{0,8}", fullmatch=True),
)


Table = tuple[list[values.Action], list[list[bytes | None]]]


@st.composite
def tables(draw: st.DrawFn) -> Table:
    actions = draw(st.lists(ACTIONS, max_size=5))
    return actions, draw(st.lists(st.lists(VALUES, min_size=len(actions), max_size=len(actions)), max_size=8))


@given(tables(), st.booleans(), st.binary(max_size=8))
def test_the_walker_writes_what_the_reference_writes(table: Table, utf8: bool, behind: bytes) -> None:
    actions, cells = table
    data = b"".join(wire.data_row(*row) for row in cells)
    plan = rows.RowPlan(actions, utf8, ())
    run = rows.mask(data + b"C" + behind, 0, 1 << 20, plan)
    expected = b"".join(wire.data_row(*(apply_reference(a, v, utf8) for a, v in zip(actions, row, strict=True))) for row in cells)
    assert run.data == expected
    assert (run.used, run.rows, run.payload) == (len(data), len(cells), len(data) - 5 * len(cells))


@given(tables(), st.data())
def test_the_walker_takes_whole_rows_only(table: Table, data: st.DataObject) -> None:
    actions, cells = table
    frames = [wire.data_row(*row) for row in cells]
    whole = b"".join(frames)
    cut = data.draw(st.integers(0, len(whole)))
    run = rows.mask(whole[:cut], 0, 1 << 20, rows.RowPlan(actions, True, ()))
    fit = 0
    while fit < len(frames) and sum(map(len, frames[: fit + 1])) <= cut:
        fit += 1
    assert (run.rows, run.used) == (fit, sum(map(len, frames[:fit])))


@settings(max_examples=500)
@given(tables(), st.data())
def test_hostile_rows_are_malformed_or_fit(table: Table, data: st.DataObject) -> None:
    """Any change of any bytes: the walker takes a row that fits its description, refuses it, or waits; never anything else."""
    actions, cells = table
    stream = bytearray(b"".join(wire.data_row(*row) for row in cells) or b"D\0\0\0\6\0\0")
    for _ in range(data.draw(st.integers(1, 4))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.sampled_from([0, 1, 4, 0x7F, 0x80, 0xFF]))
    hostile = bytes(stream)
    try:
        run = rows.mask(hostile, 0, 1 << 20, rows.RowPlan(actions, True, ()))
    except messages.Malformed:
        return
    taken, expected = hostile[: run.used], b""
    while taken:
        size = 1 + struct.unpack_from(">I", taken, 1)[0]
        row = messages.data_row(taken[5:size])
        expected += wire.data_row(*(apply_reference(a, v, True) for a, v in zip(actions, row, strict=True)))
        taken = taken[size:]
    assert run.data == expected


def test_more_cells_for_python_than_one_batch_holds() -> None:
    action = values.Action(values.OUTSIDE, shape=bytes.upper)
    plan = rows.RowPlan([action] * 3, True, ())
    data = wire.data_row(b"a", b"b", b"c") * 2000
    run = rows.mask(data, 0, 1 << 20, plan)
    assert 0 < run.rows < 2000
    rest = rows.mask(data, run.used, 1 << 20, plan)
    assert run.data + rest.data == wire.data_row(b"A", b"B", b"C") * 2000


@given(st.lists(st.binary(max_size=40), max_size=10), st.binary(max_size=12))
def test_counting_moves_over_whole_frames_of_one_type(bodies: list[bytes], behind: bytes) -> None:
    frames = b"".join(wire.copy_data(body) for body in bodies)
    run = rows.count(frames + b"C" + behind, 0, ord("d"), 1 << 20)
    assert (run.used, run.rows, run.payload) == (len(frames), len(bodies), sum(map(len, bodies)))


@given(
    st.lists(st.binary(max_size=300) | st.sampled_from([b"", b"x" * 128, b"x" * 129, b"x" * 256, b"y" * 1000]), max_size=8),
    st.sampled_from([b"", b"k", b"k" * 32, b"k" * 64, b"k" * 100]),
)
def test_hashes_of_the_walker_are_those_of_hashlib(cells: list[bytes], key: bytes) -> None:
    plan = ReplyPlan(masks={(OTHERS, 1): Mask("hash", key=key), (OTHERS, 2): Mask("hash", key=b"another")})
    description = wire.row_description(wire.column("a", OTHERS, 1), wire.column("b", OTHERS, 2))[5:]
    compiled = Shapes().plan(description, plan, "utf-8")
    assert compiled is not None
    rows_in = b"".join(wire.data_row(cell, b"x") for cell in [*cells, b"z"]) + wire.data_row(None, None)

    def hashed(value: bytes, by: bytes) -> bytes:
        return hashlib.blake2b(value, digest_size=16, key=by[:64]).hexdigest().encode()

    expected = [wire.data_row(hashed(cell, key), hashed(b"x", b"another")) for cell in [*cells, b"z"]]
    assert rows.mask(rows_in, 0, 1 << 20, compiled).data == b"".join(expected) + wire.data_row(None, None)
