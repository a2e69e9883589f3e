"""The data of COPY with its fields masked: against what a real server writes in every form, cut anywhere."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import cuts
import psycopg
import pytest
import servers
import wire
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql
from sessions import opened

from hostguard.protocols.copies import CopyShape
from hostguard.protocols.disclosure import Mask, ReplyPlan
from hostguard.protocols.events import Close, Decision, Effect, Replied, ToClient, Verdict
from hostguard.protocols.postgres.copying import CopyMasks
from hostguard.protocols.postgres.copylines import form
from hostguard.protocols.postgres.limits import Limits
from hostguard.protocols.postgres.messages import Malformed

INT4, TEXT, DATE = 23, 25, 1082
NAMES, TYPES = ("id", "secret", "note"), (INT4, TEXT, TEXT)
MASKS = (None, Mask("constant", "pii", text="-\t,\"\\.'\n"), None)
KEPT = MASKS[1].text if MASKS[1] is not None else ""
SPECIAL = "\t\n\r\b\f\v\\,;|\"'.Nn\x01ä€"
VALUES = st.none() | st.text(st.sampled_from(SPECIAL + "ab"), max_size=8) | st.sampled_from(["\\N", "\\.", "", "NULL"])
ROWS = st.lists(st.tuples(st.integers(0, 9), VALUES, VALUES), max_size=5)
SETUP = "CREATE TABLE raw (id int, secret text, note text); CREATE TABLE back (LIKE raw); CREATE TABLE one (note text)"


class Written:
    """Options of a COPY with the shape that they make."""

    def __init__(self, form: str, options: str = "", **shape: Any) -> None:
        self.options = f"FORMAT {form}{', ' if options else ''}{options}"
        self.shape = shape_of(form, **shape)


def shape_of(form: str, names: tuple[str, ...] = NAMES, types: tuple[int, ...] = TYPES, **rest: Any) -> CopyShape:
    usual = {"delimiter": b",", "null": b""} if form == "csv" else {}
    return CopyShape(form=form, names=names, types=types, **{**usual, **rest})


WRITTEN = (
    Written("text"),
    Written("text", "HEADER", header=True),
    Written("text", "DELIMITER '|', NULL ''", delimiter=b"|", null=b""),
    Written("text", "DELIMITER E'\\b'", delimiter=b"\b"),
    Written("csv"),
    Written("csv", "HEADER, DELIMITER ';', NULL 'NULL'", header=True, delimiter=b";", null=b"NULL"),
    Written("csv", "QUOTE '''', ESCAPE E'\\\\'", quote=b"'", escape=b"\\"),
    Written("csv", "QUOTE '|', ESCAPE 'a', NULL '\\N'", quote=b"|", escape=b"a", null=b"\\N"),
    Written("csv", "FORCE_QUOTE *", forced=frozenset({0, 1, 2})),
    Written("csv", "FORCE_QUOTE (secret)", forced=frozenset({1})),
    Written("binary"),
)


@pytest.fixture(scope="module")
def connection(postgres18: servers.Server) -> Iterator[psycopg.Connection[Any]]:
    with postgres18.database("copying", SETUP), postgres18.connect("copying") as made:
        yield made


def copied(connection: psycopg.Connection[Any], table: str, options: str, rows: list[tuple[Any, ...]]) -> list[bytes]:
    """What the server sends for these rows, message by message."""
    connection.execute(sql.SQL("TRUNCATE {}").format(sql.Identifier(table)))
    with connection.cursor() as cursor:
        cursor.executemany(
            sql.SQL("INSERT INTO {} VALUES ({})").format(
                sql.Identifier(table), sql.SQL(", ").join([sql.Placeholder()] * len(rows[0]) if rows else [sql.NULL])
            ),
            rows,
        )
        with cursor.copy(sql.SQL("COPY {} TO STDOUT ({})").format(sql.Identifier(table), sql.SQL(options))) as copy:
            return [bytes(block) for block in copy]


def masked(shape: CopyShape, pieces: list[bytes], masks: tuple[Mask | None, ...] = MASKS) -> list[bytes]:
    masks_of = CopyMasks(ReplyPlan(copy=shape, copy_masks=masks), "utf-8", 1 << 20)
    sent = [row for piece in pieces for row in masks_of.feed(piece)]
    masks_of.end()
    return sent


@pytest.mark.parametrize("written", WRITTEN, ids=lambda written: written.options)
@given(rows=ROWS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_the_server_writes_is_masked_and_reads_back(
    connection: psycopg.Connection[Any], written: Written, rows: list[Any]
) -> None:
    blocks = copied(connection, "raw", written.options, rows)
    # Written anew, every field is what the server wrote: so a mask's value looks as the server's would.
    read = form(written.shape)
    for piece, is_row in read.feed(b"".join(blocks)):
        if is_row:
            again = [read.field(read.value(field), position) for position, field in enumerate(read.fields(piece))]
            assert read.row(again) == piece
    assert masked(written.shape, blocks, (None, None, None)) == blocks
    sent = masked(written.shape, blocks)
    assert len(sent) == len(blocks)
    connection.execute("TRUNCATE back")
    options = written.options.split(", FORCE_QUOTE")[0]
    with connection.cursor().copy(f"COPY back FROM STDIN ({options})".encode()) as copy:
        for row in sent:
            copy.write(row)
    back = connection.execute("SELECT * FROM back ORDER BY ctid").fetchall()
    # To a reader that is told so an empty text is NULL, or NULL is the empty text.
    expected = [(number, secret if secret is None else KEPT, note) for number, secret, note in rows]
    if written.shape.form == "text" and written.shape.null == b"":
        expected = [(number, None if first == "" else first, note or None) for number, first, note in expected]
        back = [(number, None if rows[at][1] == "" else first, note) for at, (number, first, note) in enumerate(back)]
        expected = [(n, None if rows[at][1] == "" else first, note) for at, (n, first, note) in enumerate(expected)]
    assert back == expected


@given(notes=st.lists(VALUES, max_size=4))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_column_alone_is_quoted_where_it_would_end_the_data(connection: psycopg.Connection[Any], notes: list[Any]) -> None:
    shape = shape_of("csv", ("note",), (TEXT,))
    blocks = copied(connection, "one", "FORMAT csv", [(note,) for note in notes])
    read = form(shape)
    rows = [piece for piece, _ in read.feed(b"".join(blocks))]
    assert [read.row([read.field(read.value(field), 0) for field in read.fields(row)]) for row in rows] == blocks
    assert masked(shape, [b"x\n"], (Mask("constant", text="\\."),)) == [b'"\\."\n']


HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
DATA = {
    "text": b"id\tsecret\tnote\n1\tal\\\\ic\\te\t\\N\n2\t\\N\tx\\ny\n",
    "csv": b'id,secret,"no\nte"\n1,"al,""i\nce",\n2,,"x\ny"\n',
    "csv\\": b"id,secret,note\n1,'al\\'\\\\,ice',\n2,,'x\ny'\n",
    "binary": HEAD + struct.pack(">hiIi5si", 3, 4, 1, 5, b"alice", -1) + struct.pack(">hiIii", 3, 4, 2, -1, -1) + b"\xff\xff",
}
CUT = {
    "text": shape_of("text", header=True),
    "csv": shape_of("csv", header=True),
    "csv\\": shape_of("csv", header=True, quote=b"'", escape=b"\\"),
    "binary": shape_of("binary"),
}


@pytest.mark.parametrize("name", DATA)
def test_the_data_may_be_cut_anywhere(name: str) -> None:
    plain = Mask("hash", "pii", key=b"k"), Mask("partial", "pii", keep=1)
    masks = (plain[0], plain[1], None)
    expected = b"".join(masked(CUT[name], [DATA[name]], masks))
    assert b"alice" not in expected
    for (pieces,) in cuts.ways([DATA[name]]):
        assert b"".join(masked(CUT[name], pieces, masks)) == expected


@pytest.mark.parametrize(
    ("form_name", "data"),
    [
        ("text", b"1\tx\n"),
        ("text", b"1\tx\ty\tz\n"),
        ("text", b"1\tx\ty\\\n"),
        ("text", b"1\tx"),
        ("csv", b"1,x\n"),
        ("csv", b'1,"x"y,z\n'),
        ("csv", b'1,x"y",z\n'),
        ("csv", b'1,"x\n'),
        ("binary", b""),
        ("binary", b"PGCOPY\n\xff\r\n\0" + b"\0\1\0\0" + bytes(4) + b"\xff\xff"),
        ("binary", b"PGCOPY\n\xff\r\n\0" + bytes(7) + b"\1" + b"x\xff\xff"),
        ("binary", b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"\0\2"),
        ("binary", b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"\0\3\xff\xff\xff\xfe"),
        ("binary", b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"\xff\xff" + b"x"),
        ("binary", b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"\0\3"),
    ],
)
def test_what_is_not_in_the_form_is_malformed(form_name: str, data: bytes) -> None:
    with pytest.raises(Malformed):
        masked(shape_of(form_name), [data])


@given(st.sampled_from(["text", "csv", "binary"]), st.lists(st.binary(max_size=20), max_size=5))
@settings(max_examples=300, deadline=None)
def test_whatever_comes_it_is_masked_or_malformed(form_name: str, pieces: list[bytes]) -> None:
    for start in (b"", b"1,", b"1\t", b"PGCOPY\n\xff\r\n\0" + bytes(8)):
        with suppress(Malformed):
            masked(shape_of(form_name), [start, *pieces])


def test_a_row_that_does_not_end_is_malformed_before_it_fills_the_memory() -> None:
    masks = CopyMasks(ReplyPlan(copy=shape_of("text"), copy_masks=MASKS), "utf-8", 100)
    for _ in range(10):
        masks.feed(b"0123456789")
    with pytest.raises(Malformed, match="longer"):
        masks.feed(b"0")


def effects_of(plan: ReplyPlan, response: bytes, data: list[bytes], limits: Limits | None = None) -> list[Effect]:
    conversation = opened(limits)
    conversation.from_client(wire.query("COPY"))
    conversation.resume(1, Decision(Verdict.ALLOW, plan=plan))
    rest = b"".join(map(wire.copy_data, data)) + wire.message(b"c", b"") + wire.complete("COPY 2") + wire.ready()
    return conversation.from_server(wire.message(b"H", response) + rest)


def sent_of(effects: list[Effect]) -> bytes:
    return b"".join(effect.data for effect in effects if isinstance(effect, ToClient))


def test_a_conversation_masks_a_copy_and_tells_what_it_masked() -> None:
    plan = ReplyPlan(copy=shape_of("text"), copy_masks=(None, Mask("redact", "pii.name", text="#"), None))
    effects = effects_of(plan, b"\0\0\3" + bytes(6), [b"1\talice\tx\n2\tbo", b"b\ty\n"])
    assert wire.copy_data(b"1\t#\tx\n") + wire.copy_data(b"2\t#\ty\n") + wire.message(b"c", b"") in sent_of(effects)
    (reply,) = [effect for effect in effects if isinstance(effect, Replied)]
    assert (reply.summary.masked, reply.summary.tags) == (("secret",), ("pii.name",))


@pytest.mark.parametrize("response", [b"\0\0\2" + bytes(4), b"\1\0\3" + b"\0\1" * 3, b"\0\0\3"])
def test_another_copy_than_the_one_that_was_expected_ends_the_flow(response: bytes) -> None:
    plan = ReplyPlan(copy=shape_of("text"), copy_masks=MASKS)
    effects = effects_of(plan, response, [b"1\talice\tx\n"])
    assert isinstance(effects[-1], Close)
    assert b"alice" not in sent_of(effects)


def test_a_row_that_is_too_long_ends_the_flow_and_does_not_pass_in_pieces() -> None:
    plan = ReplyPlan(copy=shape_of("text"), copy_masks=MASKS)
    effects = effects_of(plan, b"\0\0\3" + bytes(6), [b"1\t" + b"alice" * 100_000 + b"\tx\n"], Limits(max_message_bytes=4096))
    assert isinstance(effects[-1], Close)
    assert b"alice" not in sent_of(effects)


class Addresses:
    """A detector that knows one word."""

    def suspects(self, data: bytes) -> bool:
        return b"alice" in data

    def find(self, text: str) -> list[tuple[int, int, str]]:
        at = text.find("alice")
        return [(at, at + 5, "name")] if at >= 0 else []


@pytest.mark.parametrize("name", ["text", "binary"])
def test_fields_that_pass_are_looked_through_by_their_type(name: str) -> None:
    plan = ReplyPlan(
        copy=shape_of(name),
        copy_masks=(None, None, None),
        detector=Addresses(),
        detected={"name": Mask("redact", "pii", text="#")},
    )
    masks = CopyMasks(plan, "utf-8", 1000)
    sent = b"".join(masks.feed(DATA["binary"] if name == "binary" else b"1\tto alice\tx\n"))
    assert b"alice" not in sent
    assert masks.take_found() == (("secret",), ("pii",))
    assert masks.take_found() == ((), ())
