"""Captured replies: what is kept of them is what the client got, however it came, and never more."""

from __future__ import annotations

import pytest
import wire
from hypothesis import given
from hypothesis import strategies as st
from sessions import opened

from hostguard.protocols.disclosure import Mask, ReplyPlan
from hostguard.protocols.events import Ask, Decision, Effect, Replied, ToClient, ToServer, Verdict
from hostguard.protocols.postgres.capture import Capture
from hostguard.protocols.postgres.limits import Limits

INT4 = 23
CUSTOMERS = 16400
EMAIL = Mask("partial", "pii.email")
DESCRIPTION = wire.row_description(wire.column("id", CUSTOMERS, 1, INT4), wire.column("mail", CUSTOMERS, 2))
ROW, MASKED = wire.data_row(b"1", b"alice@example.com"), wire.data_row(b"1", b"a****@example.com")
HIDE = ReplyPlan(masks={(CUSTOMERS, 2): EMAIL}, clean_columns=frozenset(((CUSTOMERS, 1),)), computed=Mask("null"))
DONE = wire.complete("SELECT 2")
PREPARED = wire.parse("SELECT", "s") + wire.bind("s") + wire.execute() + wire.SYNC
BOUND = wire.PARSE_COMPLETE + wire.BIND_COMPLETE


def replies(
    client: bytes, plan: ReplyPlan | None, reply: bytes, *, at: int = 0, limit: int = 4096
) -> tuple[list[Replied], bytes]:
    """What is told of the replies when the server's bytes come in two pieces, and what the client got."""
    conversation = opened(Limits(capture_bytes=limit))
    effects = conversation.from_client(client)
    while effects:
        effect = effects.pop(0)
        if isinstance(effect, Ask):
            effects += conversation.resume(effect.operation.id, Decision(Verdict.ALLOW, plan=plan))
    found: list[Effect] = conversation.from_server(reply[:at]) + conversation.from_server(reply[at:])
    got = b"".join(effect.data for effect in found if isinstance(effect, ToClient))
    return [effect for effect in found if isinstance(effect, Replied)], got


@pytest.mark.parametrize(
    ("client", "before"),
    [
        pytest.param(wire.query("SELECT"), DESCRIPTION, id="query"),
        pytest.param(PREPARED, BOUND + DESCRIPTION, id="execute, described by us"),
    ],
)
@pytest.mark.parametrize(("plan", "seen"), [(None, ROW), (ReplyPlan(), ROW), (HIDE, MASKED)])
def test_what_is_kept_is_what_the_client_got(client: bytes, before: bytes, plan: ReplyPlan | None, seen: bytes) -> None:
    reply = before + ROW + ROW + DONE + wire.ready()
    for at in range(len(reply)):
        told, got = replies(client, plan, reply, at=at)
        assert (told[-1].captured, told[-1].left_out) == (DESCRIPTION + seen + seen + DONE, 0)
        assert got.endswith(seen + seen + DONE + wire.ready())
        assert b"alice" not in told[-1].captured or plan is not HIDE


@pytest.mark.parametrize("plan", [None, HIDE])
def test_a_long_reply_is_kept_up_to_its_bound_in_whole_messages(plan: ReplyPlan | None) -> None:
    reply = DESCRIPTION + ROW * 40 + DONE + wire.ready()
    seen = DESCRIPTION + (MASKED if plan else ROW) * 40 + DONE
    for limit in range(1, len(seen) + 2):
        (told,), _ = replies(wire.query("SELECT"), plan, reply, limit=limit)
        assert seen.startswith(told.captured)
        assert len(told.captured) <= limit
        assert len(told.captured) + told.left_out == len(seen)
        rest = told.captured.removeprefix(DESCRIPTION)
        assert told.captured == b"" or rest in {seen.removeprefix(DESCRIPTION)[: len(ROW) * n] for n in range(41)} | {
            seen.removeprefix(DESCRIPTION)
        }


def test_each_result_of_a_query_is_kept_and_a_reply_without_values_is_not() -> None:
    one = wire.row_description(wire.column("one", type_oid=INT4)) + wire.data_row(b"1") + wire.complete("SELECT 1")
    (told,), _ = replies(wire.query("SELECT 1; SELECT 1"), None, one + one + wire.ready())
    assert told.captured == one + one
    (told,), _ = replies(wire.query("DELETE"), None, wire.complete("DELETE 3") + wire.ready())
    assert (told.captured, told.left_out) == (b"", 0)
    (told,), _ = replies(wire.query("SELECT"), None, DESCRIPTION + wire.complete("SELECT 0") + wire.ready())
    assert (told.captured, told.left_out) == (b"", 0)


def test_copied_rows_and_a_functions_result_are_kept() -> None:
    copied = wire.message(b"H", b"\0\0\1\0\0") + wire.copy_data(b"1\n") + wire.copy_data(b"2\n") + wire.message(b"c")
    end = wire.complete("COPY 2")
    (told,), _ = replies(wire.query("COPY t TO STDOUT"), None, copied + end + wire.ready())
    assert told.captured == copied + end
    result = wire.message(b"V", b"\0\0\0\1x")
    (told,), _ = replies(wire.function_call(1234), None, result + wire.ready())
    assert told.captured == result


def test_a_row_that_passes_by_pieces_is_kept_whole_or_not_at_all() -> None:
    long = wire.data_row(b"x" * 200_000)
    description = wire.row_description(wire.column("x"))
    reply = description + ROW + long + DONE + wire.ready()
    for limit, kept in ((1 << 20, description + ROW + long + DONE), (100_000, description + ROW)):
        conversation = opened(Limits(capture_bytes=limit))
        conversation.from_client(wire.query("SELECT"))
        conversation.resume(1, Decision(Verdict.ALLOW))
        effects: list[Effect] = []
        for at in range(0, len(reply), 10_000):
            effects += conversation.from_server(reply[at : at + 10_000])
        (told,) = [effect for effect in effects if isinstance(effect, Replied)]
        assert told.captured == kept
        assert len(told.captured) + told.left_out == len(reply) - len(wire.ready())


def test_rows_before_an_error_or_a_lost_connection_are_kept() -> None:
    (told,), _ = replies(wire.query("SELECT"), None, DESCRIPTION + ROW + wire.error("22012") + wire.ready())
    assert (told.summary.status, told.captured) == ("error", DESCRIPTION + ROW)
    conversation = opened(Limits(capture_bytes=4096))
    conversation.from_client(wire.query("SELECT"))
    conversation.resume(1, Decision(Verdict.ALLOW))
    conversation.from_server(DESCRIPTION + ROW)
    (told,) = [effect for effect in conversation.server_closed() if isinstance(effect, Replied)]
    assert (told.summary.status, told.captured) == ("lost", DESCRIPTION + ROW)


def test_without_capture_nothing_is_kept_and_nothing_more_is_asked_of_the_server() -> None:
    conversation = opened()
    effects = conversation.from_client(PREPARED)
    sent = b""
    while effects:
        effect = effects.pop(0)
        sent += effect.data if isinstance(effect, ToServer) else b""
        effects += conversation.resume(effect.operation.id, Decision(Verdict.ALLOW)) if isinstance(effect, Ask) else []
    assert sent == PREPARED
    told = [e for e in conversation.from_server(BOUND + ROW + DONE + wire.ready()) if isinstance(e, Replied)]
    assert [(each.captured, each.left_out) for each in told] == [(b"", 0)] * 2


@given(st.lists(st.binary(max_size=40), max_size=8), st.integers(0, 300))
def test_nothing_is_counted_twice_or_lost(bodies: list[bytes], room: int) -> None:
    messages = [wire.message(b"D", body) for body in bodies]
    capture = Capture(room)
    for message in messages:
        capture.values(message)
    taken = capture.take()
    assert b"".join(messages).startswith(taken)
    assert len(taken) + capture.left_out == sum(map(len, messages))
