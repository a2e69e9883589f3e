"""Masks on the wire: which column gets which, what a value becomes, and that the native walker does what the rule says."""

from __future__ import annotations

import hashlib
import struct

import pytest
import wire
from hypothesis import given, settings
from hypothesis import strategies as st
from sessions import opened

from hostguard.protocols.events import Ask, Close, Decision, Effect, Mask, Replied, ReplyPlan, ToClient, ToServer, Verdict
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


def test_partial_where_characters_can_not_be_told_is_null() -> None:
    assert masked(CARD, b"\x83\x7c\x83\x7c1234", codec=None) is None


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
        (REDACT, TEXT_ARRAY, 0, b"{a,b}", None),
        (REDACT, 18, 1, b"x", None),
        (REDACT, 50000, 0, b"x", b"[redacted]"),
        (REDACT, 50000, 1, b"x", None),
        (CARD, INT8, 0, b"4111111111111111", None),
        (CARD, JSON, 0, b'"a"', None),
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


# Masks in a conversation.

DESCRIPTION = wire.row_description(wire.column("id", CUSTOMERS, 1, INT4), wire.column("mail", CUSTOMERS, 2), wire.column("n"))
ROW, MASKED = wire.data_row(b"1", b"alice@example.com", b"x"), wire.data_row(b"1", b"a****@example.com", None)
HIDE = ReplyPlan(masks={(CUSTOMERS, 2): EMAIL}, clean_columns=frozenset(((CUSTOMERS, 1),)), computed=Mask("null"))
END = wire.complete("SELECT 2") + wire.ready()


def allow(plan: ReplyPlan | None) -> Decision:
    return Decision(Verdict.ALLOW, plan=plan)


def sent(effects: list[Effect], kind: type[ToClient] | type[ToServer]) -> bytes:
    return b"".join(effect.data for effect in effects if isinstance(effect, kind))


def test_a_simple_querys_rows_are_masked_however_they_are_cut() -> None:
    reply = DESCRIPTION + ROW + ROW + END
    for at in range(len(reply)):
        conversation = opened()
        conversation.from_client(wire.query("SELECT"))
        conversation.resume(1, allow(HIDE))
        effects = conversation.from_server(reply[:at]) + conversation.from_server(reply[at:])
        assert sent(effects, ToClient) == DESCRIPTION + MASKED + MASKED + END
        (summary,) = [effect.summary for effect in effects if isinstance(effect, Replied)]
        assert (summary.rows, summary.masked, summary.columns) == (2, ("mail", "n"), ("id", "mail", "n"))


PREPARED = wire.parse("SELECT", "s") + wire.bind("s") + wire.execute() + wire.SYNC


def run_prepared(client: bytes, plan: ReplyPlan | None, reply: bytes) -> tuple[list[Effect], bytes]:
    """All effects of the reply, and what the server was sent."""
    conversation = opened()
    effects = conversation.from_client(client)
    to_server = b""
    while effects:
        effect = effects.pop(0)
        if isinstance(effect, ToServer):
            to_server += effect.data
        if isinstance(effect, Ask):
            effects += conversation.resume(effect.operation.id, allow(plan))
    return conversation.from_server(reply), to_server


def test_a_portal_that_the_client_did_not_describe_is_described_by_us() -> None:
    effects, to_server = run_prepared(PREPARED, HIDE, wire.PARSE_COMPLETE + wire.BIND_COMPLETE + DESCRIPTION + ROW + END)
    assert to_server == wire.parse("SELECT", "s") + wire.bind("s") + wire.describe() + wire.execute() + wire.SYNC
    assert sent(effects, ToClient) == wire.PARSE_COMPLETE + wire.BIND_COMPLETE + MASKED + END


def test_a_description_of_the_statement_is_not_taken_for_the_portals() -> None:
    # A plan made anew since may read its columns from another table of the same shape: only the portal's own description counts.
    client = wire.parse("SELECT", "s") + wire.describe("s", b"S") + wire.bind("s") + wire.execute() + wire.SYNC
    stale = wire.row_description(*(wire.column(name, ORDERS, 1) for name in ("id", "mail", "n")))
    reply = wire.PARSE_COMPLETE + wire.parameter_description() + stale + wire.BIND_COMPLETE + DESCRIPTION + ROW + END
    effects, _ = run_prepared(client, HIDE, reply)
    assert sent(effects, ToClient).endswith(wire.BIND_COMPLETE + MASKED + END)


def test_a_portal_that_the_client_described_is_not_described_again() -> None:
    client = wire.parse("SELECT", "s") + wire.bind("s") + wire.describe() + wire.execute() + wire.SYNC
    effects, to_server = run_prepared(client, HIDE, wire.PARSE_COMPLETE + wire.BIND_COMPLETE + DESCRIPTION + ROW + END)
    assert to_server == client
    assert sent(effects, ToClient) == wire.PARSE_COMPLETE + wire.BIND_COMPLETE + DESCRIPTION + MASKED + END


def test_an_error_drawn_by_our_describe_is_the_executes() -> None:
    effects, _ = run_prepared(PREPARED, HIDE, wire.PARSE_COMPLETE + wire.BIND_COMPLETE + wire.error("25P02") + wire.ready("E"))
    assert sent(effects, ToClient) == wire.PARSE_COMPLETE + wire.BIND_COMPLETE + wire.error("25P02") + wire.ready("E")
    assert [effect.summary.status for effect in effects if isinstance(effect, Replied)] == ["ok", "error"]


def test_without_a_plan_nothing_is_added() -> None:
    _, to_server = run_prepared(PREPARED, None, b"")
    assert to_server == PREPARED


def test_binary_results_are_masked_in_binary() -> None:
    description = wire.row_description(wire.column("id", CUSTOMERS, 3, INT4, 1))
    plan = ReplyPlan(masks={(CUSTOMERS, 3): Mask("hash", key=b"k")})
    effects, _ = run_prepared(
        PREPARED, plan, wire.PARSE_COMPLETE + wire.BIND_COMPLETE + description + wire.data_row(b"\0\0\0\7") + END
    )
    expected = masked(Mask("hash", key=b"k"), b"\0\0\0\7", INT4, 1)
    assert wire.data_row(expected) in sent(effects, ToClient)


@pytest.mark.parametrize(
    "row", [wire.data_row(b"1", b"x"), wire.message(b"D", b"\0\3\0\0\0\1x\0\0\0\x09y"), wire.data_row(b"1", b"x", b"y", b"z")]
)
def test_rows_that_do_not_fit_their_description_end_the_flow_unseen(row: bytes) -> None:
    effects, _ = run_prepared(PREPARED, HIDE, wire.PARSE_COMPLETE + wire.BIND_COMPLETE + DESCRIPTION + row)
    assert isinstance(effects[-1], Close)
    assert effects[-1].fault == "server"
    assert row not in sent(effects, ToClient)


def test_rows_without_any_description_end_the_flow_unseen() -> None:
    effects, _ = run_prepared(PREPARED, HIDE, wire.PARSE_COMPLETE + wire.BIND_COMPLETE + wire.NO_DATA + ROW)
    assert isinstance(effects[-1], Close)
    assert ROW not in sent(effects, ToClient)


def test_copy_out_under_a_plan_ends_the_flow() -> None:
    conversation = opened()
    conversation.from_client(wire.query("COPY customers TO STDOUT"))
    conversation.resume(1, allow(HIDE))
    effects = conversation.from_server(wire.COPY_OUT + wire.copy_data(b"alice@example.com\n"))
    assert b"alice" not in sent(effects, ToClient)
    assert isinstance(effects[-1], Close)
    assert effects[-1].fault == "unsafe"


SCRUB = ReplyPlan(scrub_errors=True)
LEAK = {"D": "Key (email)=(alice@example.com) exists", "W": "alice", "H": "alice", "q": "alice", "n": "alice_key", "P": "7"}
WITHHELD = "error details withheld by hostguard: the statement touches masked columns"


def test_errors_and_notices_are_scrubbed_to_their_code() -> None:
    conversation = opened()
    conversation.from_client(wire.query("SELECT email::int"))
    conversation.resume(1, allow(SCRUB))
    effects = conversation.from_server(wire.notice("alice", **LEAK) + wire.error("22P02", "alice", **LEAK) + wire.ready())
    assert sent(effects, ToClient) == wire.notice(WITHHELD) + wire.error("22P02", WITHHELD) + wire.ready()


def test_a_deferred_constraint_that_speaks_at_sync_or_commit_is_scrubbed_too() -> None:
    late = wire.complete("INSERT 0 1") + wire.error("23503", "alice", **LEAK) + wire.ready()
    effects, _ = run_prepared(PREPARED, SCRUB, wire.PARSE_COMPLETE + wire.BIND_COMPLETE + DESCRIPTION + late)
    assert b"alice" not in sent(effects, ToClient)
    conversation = opened()
    for number, (text, decision) in enumerate(
        (("BEGIN", allow(None)), ("INSERT", allow(SCRUB)), ("COMMIT", Decision(Verdict.ALLOW, ends_portals=True))), 1
    ):
        conversation.from_client(wire.query(text))
        conversation.resume(number, decision)
        if text != "COMMIT":
            conversation.from_server(wire.complete(text) + wire.ready("T"))
    effects = conversation.from_server(wire.error("23503", "alice", **LEAK) + wire.ready())
    assert b"alice" not in sent(effects, ToClient)


def test_a_row_plan_is_made_once_per_description_and_plan() -> None:
    shapes = Shapes()
    first = shapes.plan(DESCRIPTION[5:], HIDE, "utf-8")
    assert shapes.plan(DESCRIPTION[5:], HIDE, "utf-8") is first
    assert shapes.plan(DESCRIPTION[5:], ReplyPlan(clean_tables=frozenset((CUSTOMERS,))), "utf-8") is None
    for table in range(100):
        assert shapes.plan(wire.row_description(wire.column("c", table + 1, 1))[5:], HIDE, "utf-8") is not None
    assert len(shapes._plans) <= 32
