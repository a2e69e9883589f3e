"""Values found in columns that pass: masked in rows, in COPY, in JSON and in arrays; all else byte for byte."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import pytest
import wire
from sessions import opened

from hostguard.protocols.disclosure import Mask, ReplyPlan
from hostguard.protocols.events import Close, Decision, Effect, Replied, ToClient, Verdict
from hostguard.protocols.postgres.masking import Shapes

TEXT, INT4, JSON, JSONB, TEXT_ARRAY = 25, 23, 114, 3802, 1009
TABLE = 16400
ADDRESS = re.compile(r"[a-z]+@[a-z.]+")


class Addresses:
    """A detector of its own: the rooms below policy know none."""

    def suspects(self, data: bytes) -> bool:
        return b"@" in data or b"\\u00" in data

    def find(self, text: str) -> Sequence[tuple[int, int, str]]:
        return [(*found.span(), "email") for found in ADDRESS.finditer(text)]


PLAN = ReplyPlan(
    detector=Addresses(), detected={"email": Mask("redact", "pii.email", text="#")}, undetected=frozenset([(TABLE, 9)])
)


def replied(description: bytes, rows: bytes, plan: ReplyPlan = PLAN) -> tuple[bytes, Replied]:
    conversation = opened()
    conversation.from_client(wire.query("SELECT"))
    conversation.resume(1, Decision(Verdict.ALLOW, plan=plan))
    effects = conversation.from_server(description + rows + wire.complete("SELECT 2") + wire.ready())
    sent = b"".join(effect.data for effect in effects if isinstance(effect, ToClient))
    (summary,) = [effect for effect in effects if isinstance(effect, Replied)]
    return sent[len(description) :].removesuffix(wire.complete("SELECT 2") + wire.ready()), summary


def value(raw: bytes, type_oid: int = TEXT, code: int = 0, attribute: int = 1, plan: ReplyPlan = PLAN) -> bytes:
    description = wire.row_description(wire.column("v", TABLE, attribute, type_oid, code))
    sent, _ = replied(description, wire.data_row(raw), plan)
    return sent[11:]


@pytest.mark.parametrize(
    ("type_oid", "code", "raw", "expected"),
    [
        (TEXT, 0, b"to al@b.cd, yes", b"to #, yes"),
        (TEXT, 1, b"al@b.cd and bo@b.cd", b"# and #"),
        (TEXT, 0, b"nobody", b"nobody"),
        (INT4, 0, b"7", b"7"),
        (JSON, 0, b'{"to":  "al@b.cd", "n": 1.0}', b'{"to":  "#", "n": 1.0}'),
        (JSON, 0, b'{"to": "al\\u0040b.cd"}', b'{"to": "#"}'),
        (JSON, 0, b'{"al@b.cd": [1]}', b'{"#": [1]}'),
        (JSONB, 1, b'\x01{"to": "al@b.cd"}', b'\x01{"to": "#"}'),
        (JSONB, 1, b'\x01{"n": 1}', b'\x01{"n": 1}'),
        (TEXT_ARRAY, 0, b'{a,"x al@b.cd"}', b'{"a","x #"}'),
        (TEXT_ARRAY, 0, b"{a,NULL,b}", b"{a,NULL,b}"),
        (50000, 0, b"al@b.cd", b"#"),
    ],
)
def test_values_are_found_in_text_and_json(type_oid: int, code: int, raw: bytes, expected: bytes) -> None:
    assert value(raw, type_oid, code) == expected


def test_a_column_may_be_left_out() -> None:
    assert value(b"al@b.cd", attribute=9) == b"al@b.cd"


def test_a_text_that_can_not_be_read_is_null_only_where_something_is_suspected() -> None:
    description = wire.row_description(wire.column("v", TABLE, 1, JSONB))
    assert replied(description, wire.data_row(b"@\xff"))[0] in (wire.data_row(None), wire.data_row(b"@\xff"))


def test_rows_without_findings_pass_byte_for_byte_and_the_summary_tells_where_something_was_found() -> None:
    description = wire.row_description(wire.column("a", TABLE, 1), wire.column("b", TABLE, 2), wire.column("n", TABLE, 3, INT4))
    plain = wire.data_row(b"x", b"y", b"7") * 3
    sent, reply = replied(description, plain)
    assert sent == plain
    assert (reply.summary.masked, reply.summary.tags) == ((), ())
    sent, reply = replied(description, plain + wire.data_row(b"x", b"al@b.cd", b"7"))
    assert sent == plain + wire.data_row(b"x", b"#", b"7")
    assert (reply.summary.masked, reply.summary.tags) == (("b",), ("pii.email",))


def test_masked_columns_and_watched_ones_stand_beside_each_other() -> None:
    both = ReplyPlan(masks={(TABLE, 1): Mask("hash", "pii", key=b"k")}, detector=PLAN.detector, detected=PLAN.detected)
    description = wire.row_description(wire.column("a", TABLE, 1), wire.column("b", TABLE, 2))
    sent, _ = replied(description, wire.data_row(b"x", b"plain") + wire.data_row(b"x", b"al@b.cd"), both)
    first, second = sent[: len(sent) // 2 + 2], sent
    assert b"plain" in first
    assert b"al@b.cd" not in second
    assert b"#" in second


def test_without_a_detector_nothing_goes_through_the_walker() -> None:
    assert Shapes().plan(wire.row_description(wire.column("v", TABLE, 1))[5:], ReplyPlan(), "utf-8") is None


def copied(lines: list[bytes], code: int) -> list[Effect]:
    conversation = opened()
    conversation.from_client(wire.query("COPY"))
    conversation.resume(1, Decision(Verdict.ALLOW, plan=PLAN))
    begin = wire.message(b"H", bytes([code]) + b"\0\1\0" + bytes([code]))
    data = b"".join(map(wire.copy_data, lines))
    return conversation.from_server(begin + data + wire.message(b"c", b"") + wire.complete("COPY 2") + wire.ready())


def test_a_copy_in_text_is_looked_through() -> None:
    effects = copied([b"1\tal@b.cd\n", b"2\tnobody\n"], 0)
    sent = b"".join(effect.data for effect in effects if isinstance(effect, ToClient))
    assert wire.copy_data(b"1\t#\n") + wire.copy_data(b"2\tnobody\n") in sent
    (reply,) = [effect for effect in effects if isinstance(effect, Replied)]
    assert reply.summary.tags == ("pii.email",)


def test_a_binary_copy_ends_the_flow_unseen() -> None:
    effects = copied([b"al@b.cd"], 1)
    assert isinstance(effects[-1], Close)
    assert b"al@b.cd" not in b"".join(effect.data for effect in effects if isinstance(effect, ToClient))


def test_what_is_found_in_json_leaves_json() -> None:
    document = json.dumps({"a": ['say "al@b.cd"', {"b": "bo@b.cd"}], "c": True})
    assert json.loads(value(document.encode(), JSON)) == {"a": ['say "#"', {"b": "#"}], "c": True}
