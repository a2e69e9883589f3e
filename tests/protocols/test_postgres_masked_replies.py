"""Masked replies in a conversation: whatever way the rows come, none passes raw."""

from __future__ import annotations

import pytest
import wire
from sessions import opened

from hostguard.protocols.disclosure import Mask, ReplyPlan
from hostguard.protocols.events import Ask, Close, Decision, Effect, Replied, ToClient, ToServer, Verdict
from hostguard.protocols.postgres import rows, values
from hostguard.protocols.postgres.masking import Shapes

INT4 = 23
CUSTOMERS, ORDERS = 16400, 16410
EMAIL = Mask("partial", "pii.email")
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
    hashed = rows.RowPlan([values.shape(Mask("hash", key=b"k"), INT4, 1, "utf-8")], True, ())
    assert rows.mask(wire.data_row(b"\0\0\0\7"), 0, 1 << 20, hashed).data in sent(effects, ToClient)


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
TOLD = {"H": "A statement that only reads, and uses no masked column anywhere, gets the server's own words."}
OF_TEXT = {"H": 'Perhaps you meant the column "p.email".', "P": "8", "F": "parse_relation.c", "R": "errorMissingColumn"}


def test_errors_and_notices_are_scrubbed_to_their_code() -> None:
    conversation = opened()
    conversation.from_client(wire.query("SELECT email::int"))
    conversation.resume(1, allow(SCRUB))
    effects = conversation.from_server(wire.notice("alice", **LEAK) + wire.error("22P02", "alice", **LEAK) + wire.ready())
    assert sent(effects, ToClient) == wire.notice(WITHHELD, **TOLD) + wire.error("22P02", WITHHELD, **TOLD) + wire.ready()


def scrubbed_error(code: str, **fields: str) -> bytes:
    conversation = opened()
    conversation.from_client(wire.query("SELECT emial FROM customers"))
    conversation.resume(1, allow(SCRUB))
    return sent(conversation.from_server(wire.error(code, "alice", **fields) + wire.ready()), ToClient)


@pytest.mark.parametrize(
    ("code", "fields"),
    [
        ("42703", OF_TEXT),
        ("42P01", {**OF_TEXT, "R": "parserOpenTable", "D": "There is a WITH item"}),
        ("42883", {**OF_TEXT, "F": "parse_func.c", "R": "ParseFuncOrColumn"}),
        ("0A000", {**OF_TEXT, "F": "analyze.c", "R": "CheckSelectLocking"}),
        ("42704", {**OF_TEXT, "F": "parse_type.c", "R": "typenameType"}),
    ],
)
def test_errors_of_the_statements_own_text_pass_whole(code: str, fields: dict[str, str]) -> None:
    assert scrubbed_error(code, **fields) == wire.error(code, "alice", **fields) + wire.ready()


@pytest.mark.parametrize(
    ("code", "changed"),
    [
        ("22P02", {}),
        ("P0001", {}),
        ("23505", {}),
        ("42P01", {"P": ""}),
        ("42P01", {"F": ""}),
        ("42P01", {"F": "namespace.c"}),
        ("3F000", {"F": "namespace.c"}),
        ("42704", {"F": "parse_type.c", "R": "parseTypeString"}),
        ("42601", {"F": "scan.l", "W": "invalid type name"}),
        ("42703", {"W": "PL/pgSQL function f() line 1"}),
        ("42703", {"p": "8"}),
        ("42703", {"q": "SELECT alice"}),
    ],
)
def test_errors_that_look_like_one_of_the_text_do_not_pass(code: str, changed: dict[str, str]) -> None:
    fields = {name: value for name, value in {**OF_TEXT, **changed}.items() if value}
    assert scrubbed_error(code, **fields) == wire.error(code, WITHHELD, **TOLD) + wire.ready()


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
