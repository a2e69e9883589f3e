"""PostgreSQL conversations after start-up, as dialogues: played whole, cut at every byte, and byte by byte."""

from __future__ import annotations

import pytest
import wire
from playbook import Step, act, allow, client, deny, play, server, to_client, to_server
from sessions import opened, poisons

from hostguard.protocols.disclosure import Mask, ReplyPlan
from hostguard.protocols.events import Close, Decision, Effect, Verdict
from hostguard.protocols.postgres.conversation import PostgresConversation
from hostguard.protocols.postgres.limits import Limits

POISON = poisons()
SELECT = wire.query("SELECT 1")
ROW = wire.row_description(wire.column("one", type_oid=23)) + wire.data_row(b"1") + wire.complete("SELECT 1")
PIPELINE = wire.parse("SELECT 1") + wire.bind() + wire.execute() + wire.SYNC
REFUSED = wire.message(b"E", b"SERROR\0VERROR\0C42501\0Mpolicy says no\0\0")
HINTED = wire.message(b"E", b"SERROR\0VERROR\0C42501\0Mpolicy says no\0Hask alice\0\0")
WAITS = wire.message(b"N", b"SNOTICE\0VNOTICE\0C00000\0Mit waits\0Hfor bob\0\0")
CANCELED = wire.message(b"E", b"SERROR\0VERROR\0C57014\0Mcanceling statement due to user request\0\0")
LOST = "replied 1 lost  rows=0"
ABORTED = wire.error("25P02", "current transaction is aborted")


def passes(*messages: bytes, also: tuple[str, ...] = ()) -> Step:
    return server(*messages, gives=[to_client(*messages), *also])


def forwards(*messages: bytes) -> Step:
    return client(*messages, gives=[to_server(*messages)])


DIALOGUES: dict[str, list[Step]] = {
    "a simple query": [
        client(SELECT, gives=["ask 1 query SELECT 1"]),
        allow(1, [to_server(SELECT)]),
        passes(ROW, wire.ready(), also=("replied 1 ok SELECT 1 rows=1",)),
    ],
    "several statements in one query": [
        client(wire.query("SELECT 1; SELECT 2"), gives=["ask 1 query SELECT 1; SELECT 2"]),
        allow(1, [to_server(wire.query("SELECT 1; SELECT 2"))]),
        passes(ROW, ROW, wire.ready(), also=("replied 1 ok SELECT 1 rows=2",)),
    ],
    "an empty query": [
        client(wire.query(""), gives=["ask 1 query "]),
        allow(1, [to_server(wire.query(""))]),
        passes(wire.EMPTY, wire.ready(), also=("replied 1 ok  rows=0",)),
    ],
    "a refused query": [
        client(wire.query("DROP TABLE t"), gives=["ask 1 query DROP TABLE t"]),
        deny(1, [to_server(POISON["query"])], hint="ask alice"),
        server(wire.error("42P02", P="8"), wire.ready(), gives=[to_client(HINTED, wire.ready()), "replied 1 error 42P02 rows=0"]),
    ],
    "a notice of ours while an operation waits": [
        client(SELECT, gives=["ask 1 query SELECT 1"]),
        act("notice", lambda conversation: conversation.notice("it waits", "for bob"), [to_client(WAITS)]),
        allow(1, [to_server(SELECT)]),
        passes(ROW, wire.ready(), also=("replied 1 ok SELECT 1 rows=1",)),
    ],
    "a refused query in an aborted transaction fails as any other": [
        client(wire.query("DROP TABLE t"), gives=["ask 1 query DROP TABLE t"]),
        deny(1, [to_server(POISON["query"])]),
        passes(ABORTED, wire.ready("E"), also=("replied 1 error 25P02 rows=0",)),
    ],
    "a refused function call": [
        client(wire.function_call(77, b"x"), gives=["ask 1 function_call None"]),
        deny(1, [to_server(POISON["function"])]),
        server(wire.error("42883"), wire.ready(), gives=[to_client(REFUSED, wire.ready()), "replied 1 error 42883 rows=0"]),
    ],
    "a function call": [
        client(wire.function_call(77, b"x"), gives=["ask 1 function_call None"]),
        allow(1, [to_server(wire.function_call(77, b"x"))]),
        passes(wire.message(b"V", b"\0\0\0\1x"), wire.ready(), also=("replied 1 ok  rows=0",)),
    ],
    "the extended protocol asks for Parse and for Execute": [
        client(PIPELINE, gives=["ask 1 prepare SELECT 1"]),
        allow(1, [to_server(wire.parse("SELECT 1"), wire.bind()), "ask 2 execute SELECT 1"]),
        allow(2, [to_server(wire.execute(), wire.SYNC)]),
        passes(wire.PARSE_COMPLETE, wire.BIND_COMPLETE, wire.data_row(b"1"), wire.complete("SELECT 1"), wire.ready(),
               also=("replied 1 ok  rows=0", "replied 2 ok SELECT 1 rows=1")),
    ],
    "a refused Parse: what follows is skipped by the server": [
        client(PIPELINE, gives=["ask 1 prepare SELECT 1"]),
        deny(1, [to_server(POISON["parse"], wire.bind()), "ask 2 execute SELECT 1"]),
        allow(2, [to_server(wire.execute(), wire.SYNC)]),
        server(wire.error("42P02"), wire.ready(),
               gives=[to_client(REFUSED, wire.ready()), "replied 1 error 42P02 rows=0", "replied 2 skipped  rows=0"]),
    ],
    "a refused Execute": [
        client(PIPELINE, gives=["ask 1 prepare SELECT 1"]),
        allow(1, [to_server(wire.parse("SELECT 1"), wire.bind()), "ask 2 execute SELECT 1"]),
        deny(2, [to_server(POISON["execute"], wire.SYNC)]),
        server(wire.PARSE_COMPLETE, wire.BIND_COMPLETE, wire.error("34000"), wire.ready(),
               gives=[to_client(wire.PARSE_COMPLETE, wire.BIND_COMPLETE, REFUSED, wire.ready()),
                      "replied 1 ok  rows=0", "replied 2 error 34000 rows=0"]),
    ],
    "what is sent after a known error is skipped too": [
        client(wire.parse("x"), wire.FLUSH, gives=["ask 1 prepare x"]),
        allow(1, [to_server(wire.parse("x"), wire.FLUSH)]),
        passes(wire.error("42601"), also=("replied 1 error 42601 rows=0",)),
        client(wire.bind(), wire.execute(), gives=[to_server(wire.bind()), "ask 2 execute None"]),
        allow(2, [to_server(wire.execute()), "replied 2 skipped  rows=0"]),
        client(SELECT, gives=["ask 3 query SELECT 1"]),
        allow(3, [to_server(SELECT), "replied 3 skipped  rows=0"]),
        forwards(wire.SYNC),
        passes(wire.ready()),
    ],
    "replies of earlier operations pass while a later one is asked about": [
        client(SELECT, wire.query("SELECT 2"), gives=["ask 1 query SELECT 1"]),
        allow(1, [to_server(SELECT), "ask 2 query SELECT 2"]),
        passes(ROW, wire.ready(), also=("replied 1 ok SELECT 1 rows=1",)),
        deny(2, [to_server(POISON["query"])]),
        server(wire.error("42P02"), wire.ready(), gives=[to_client(REFUSED, wire.ready()), "replied 2 error 42P02 rows=0"]),
    ],
    "a suspended portal": [
        client(wire.parse("SELECT 1", "s"), wire.bind("s", "p"), wire.execute("p", 1), wire.SYNC,
               gives=["ask 1 prepare SELECT 1"]),
        allow(1, [to_server(wire.parse("SELECT 1", "s"), wire.bind("s", "p")), "ask 2 execute SELECT 1"]),
        allow(2, [to_server(wire.execute("p", 1), wire.SYNC)]),
        passes(wire.PARSE_COMPLETE, wire.BIND_COMPLETE, wire.data_row(b"1"), wire.SUSPENDED, wire.ready("T"),
               also=("replied 1 ok  rows=0", "replied 2 suspended  rows=1")),
        client(wire.execute("p", 1), wire.SYNC, gives=["ask 3 execute SELECT 1"]),
        allow(3, [to_server(wire.execute("p", 1), wire.SYNC)]),
        passes(wire.complete("SELECT 0"), wire.ready("T"), also=("replied 3 ok SELECT 0 rows=0",)),
    ],
    "COPY in by a simple query": [
        client(wire.query("COPY t FROM STDIN"), gives=["ask 1 query COPY t FROM STDIN"]),
        allow(1, [to_server(wire.query("COPY t FROM STDIN"))]),
        passes(wire.COPY_IN),
        forwards(wire.copy_data(b"1\n2\n"), wire.copy_data(b"3\n"), wire.COPY_DONE),
        passes(wire.complete("COPY 3"), wire.ready(), also=("replied 1 ok COPY 3 rows=0",)),
    ],
    "COPY in by the extended protocol: the Sync sent before is swallowed": [
        client(wire.parse("COPY t FROM STDIN"), wire.bind(), wire.execute(), wire.SYNC,
               gives=["ask 1 prepare COPY t FROM STDIN"]),
        allow(1, [to_server(wire.parse("COPY t FROM STDIN"), wire.bind()), "ask 2 execute COPY t FROM STDIN"]),
        allow(2, [to_server(wire.execute(), wire.SYNC)]),
        passes(wire.PARSE_COMPLETE, wire.BIND_COMPLETE, wire.COPY_IN, also=("replied 1 ok  rows=0",)),
        forwards(wire.copy_data(b"1\n"), wire.SYNC, wire.COPY_DONE, wire.SYNC),
        passes(wire.complete("COPY 1"), wire.ready(), also=("replied 2 ok COPY 1 rows=0",)),
        client(SELECT, gives=["ask 3 query SELECT 1"]),
    ],
    "COPY in that the client fails": [
        client(wire.query("COPY t FROM STDIN"), gives=["ask 1 query COPY t FROM STDIN"]),
        allow(1, [to_server(wire.query("COPY t FROM STDIN"))]),
        passes(wire.COPY_IN),
        forwards(wire.copy_fail("stop")),
        passes(wire.error("57014"), wire.ready(), also=("replied 1 error 57014 rows=0",)),
    ],
    "COPY in that the server fails while data is on its way": [
        client(wire.query("COPY t FROM STDIN"), gives=["ask 1 query COPY t FROM STDIN"]),
        allow(1, [to_server(wire.query("COPY t FROM STDIN"))]),
        passes(wire.COPY_IN),
        forwards(wire.copy_data(b"bad\n")),
        passes(wire.error("22P02"), wire.ready(), also=("replied 1 error 22P02 rows=0",)),
        forwards(wire.copy_data(b"more\n"), wire.COPY_DONE),
        client(SELECT, gives=["ask 2 query SELECT 1"]),
        allow(2, [to_server(SELECT)]),
        passes(ROW, wire.ready(), also=("replied 2 ok SELECT 1 rows=1",)),
    ],
    "COPY out": [
        client(wire.query("COPY t TO STDOUT"), gives=["ask 1 query COPY t TO STDOUT"]),
        allow(1, [to_server(wire.query("COPY t TO STDOUT"))]),
        passes(wire.COPY_OUT, wire.copy_data(b"1\n"), wire.copy_data(b"2\n"), wire.COPY_DONE, wire.complete("COPY 2"),
               wire.ready(), also=("replied 1 ok COPY 2 rows=0",)),
    ],
    "a query inside of COPY data": [
        client(wire.query("COPY t FROM STDIN"), gives=["ask 1 query COPY t FROM STDIN"]),
        allow(1, [to_server(wire.query("COPY t FROM STDIN"))]),
        passes(wire.COPY_IN),
        client(wire.copy_data(b"1\n"), SELECT,
               gives=[to_server(wire.copy_data(b"1\n"), wire.TERMINATE), "fatal 08P01", LOST, "close client"]),
    ],
    "notices, notifications and parameters pass at any time": [
        passes(wire.notification("jobs", "42"), wire.notice("hello"), wire.parameter_status("TimeZone", "UTC")),
    ],
    "the server shuts down": [
        server(wire.error("57P01", severity="FATAL"), gives=["fatal 57P01"]),
        act("server closed", lambda conversation: conversation.server_closed(), ["close"]),
    ],
    "the connection ends with operations in flight": [
        client(SELECT, gives=["ask 1 query SELECT 1"]),
        allow(1, [to_server(SELECT)]),
        act("server closed", lambda conversation: conversation.server_closed(), ["replied 1 lost  rows=0", "close"]),
    ],
    "Terminate": [client(wire.TERMINATE, gives=[to_server(wire.TERMINATE), "close"])],
    "the client goes away while it is asked about": [
        client(SELECT, gives=["ask 1 query SELECT 1"]),
        act("client closed", lambda conversation: conversation.client_closed(), ["withdrawn 1", "close"]),
        allow(1),
    ],
    "a cancel while it is asked about": [
        client(PIPELINE, gives=["ask 1 prepare SELECT 1"]),
        act("withdraw", lambda conversation: conversation.withdraw("canceling statement due to user request", b"57014"),
            [to_server(POISON["parse"], wire.bind()), "ask 2 execute SELECT 1"]),
        deny(2, [to_server(POISON["execute"], wire.SYNC)]),
        server(wire.error("42P02"), wire.ready(),
               gives=[to_client(CANCELED, wire.ready()),
                      "replied 1 error 42P02 rows=0", "replied 2 skipped  rows=0"]),
    ],
    "terminate": [
        client(SELECT, gives=["ask 1 query SELECT 1"]),
        act("terminate", lambda conversation: conversation.terminate("hostguard stops", b"57P01"),
            [to_server(wire.TERMINATE), "fatal 57P01", "withdrawn 1", "close"]),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", DIALOGUES)
def test_dialogue(name: str) -> None:
    play(opened, DIALOGUES[name])


SERVER_FAULTS: dict[str, bytes] = {
    "an answer to nothing": wire.complete("SELECT 1"),
    "ReadyForQuery out of turn": wire.ready(),
    "an error while idle that does not end the session": wire.error("XX000"),
    "a message of unknown type": wire.message(b"?"),
    "a second cancel key": wire.key_data(b"pidpsecr"),
    "a late authentication request": wire.authentication(3),
    "CopyBoth": wire.COPY_BOTH,
    "a length of 3": b"D\0\0\0\3",
    "a length of 0": b"D\0\0\0\0",
    "a negative length": b"D\xff\xff\xff\xff",
    "the longest length": b"N\x7f\xff\xff\xff",
}


@pytest.mark.parametrize("name", SERVER_FAULTS)
def test_what_a_server_must_not_send_while_idle(name: str) -> None:
    play(opened, [server(SERVER_FAULTS[name], gives=[to_server(wire.TERMINATE), "fatal 08P01", "close server"])])


WRONG_ANSWERS: dict[str, bytes] = {
    "a row without a description": wire.data_row(b"1"),
    "CopyBoth": wire.COPY_BOTH,
    "BindComplete": wire.BIND_COMPLETE,
    "COPY data without its announcement": wire.copy_data(b"x"),
    "a status nobody knows": wire.ready("?"),
    "an error without an end": wire.message(b"E", b"SERROR\0"),
    "a cut description": wire.message(b"T", b"\0\2one\0"),
    "a tag with bytes behind it": wire.message(b"C", b"SELECT 1\0x"),
}


@pytest.mark.parametrize("name", WRONG_ANSWERS)
def test_what_a_server_must_not_answer_to_a_query(name: str) -> None:
    steps = [client(SELECT, gives=["ask 1 query SELECT 1"]), allow(1, [to_server(SELECT)])]
    fault = server(
        WRONG_ANSWERS[name], gives=[to_server(wire.TERMINATE), "fatal 08P01", "replied 1 lost  rows=0", "close server"]
    )
    play(opened, [*steps, fault])


@pytest.mark.parametrize("answer", [ROW, wire.complete("DROP TABLE"), wire.ready(), wire.EMPTY, wire.COPY_OUT])
def test_a_server_that_carries_out_the_poison_ends_the_flow(answer: bytes) -> None:
    conversation = opened()
    conversation.from_client(SELECT)
    conversation.resume(1, Decision(Verdict.DENY))
    effects = conversation.from_server(answer)
    assert isinstance(effects[-1], Close)
    assert effects[-1].fault == "server"


CLIENT_FAULTS: dict[str, bytes] = {
    "a length of 0": b"Q\0\0\0\0",
    "a length of 3": b"Q\0\0\0\3",
    "a negative length": b"Q\xff\xff\xff\xff",
    "a negative length of COPY data": b"d\xff\xff\xff\xff",
    "the longest length of COPY data": b"d\x7f\xff\xff\xff",
    "a type that does not exist": wire.message(b"?"),
    "a type of the server": wire.ready(),
    "a password after authentication": wire.password(b"x"),
    "a Query without an end": wire.message(b"Q", b"SELECT 1"),
    "a Query with bytes behind its end": wire.message(b"Q", b"SELECT 1\0DROP TABLE t\0"),
    "a Parse with a byte too many": wire.message(b"P", b"\0SELECT 1\0\0\0x"),
    "a Parse with a type too few": wire.message(b"P", b"\0SELECT 1\0\0\1"),
    "a Bind with a byte too many": wire.message(b"B", b"\0\0\0\0\0\0\0\0x"),
    "a Bind with a value longer than itself": wire.message(b"B", b"\0\0\0\0\0\1\0\0\0\x09x\0\0"),
    "a Bind with a value of length -2": wire.message(b"B", b"\0\0\0\0\0\1\xff\xff\xff\xfe\0\0"),
    "a Bind cut short": wire.message(b"B", b"\0\0\0"),
    "an Execute with a byte too many": wire.message(b"E", b"\0\0\0\0\0x"),
    "an Execute cut short": wire.message(b"E", b"\0\0\0\0"),
    "a Describe of neither": wire.message(b"D", b"X\0"),
    "a Close with a byte too many": wire.message(b"C", b"S\0x"),
    "a Sync with a body": wire.message(b"S", b"x"),
    "a Flush with a body": wire.message(b"H", b"x"),
    "a Terminate with a body": wire.message(b"X", b"x"),
    "a CopyDone with a body": wire.message(b"c", b"x"),
    "a CopyFail without an end": wire.message(b"f", b"x"),
    "a FunctionCall cut short": wire.message(b"F", b"\0\0\0\1"),
    "a StartupMessage in the session": wire.startup(),
    "a CancelRequest in the session": wire.cancel_request(b"pidpsecr"),
    "an SSLRequest in the session": wire.SSL_REQUEST,
}


@pytest.mark.parametrize("name", CLIENT_FAULTS)
def test_what_a_client_must_not_send(name: str) -> None:
    """The smuggling set: nothing of it reaches the server."""
    play(opened, [client(CLIENT_FAULTS[name], gives=[to_server(wire.TERMINATE), "fatal 08P01", "close client"])])


def test_a_message_above_the_cap_is_refused_before_its_body_is_here() -> None:
    steps = [client(b"Q\0\0\x10\0", gives=[to_server(wire.TERMINATE), "fatal 54000", "close client"])]
    play(lambda: opened(Limits(max_message_bytes=1024)), steps)


def test_the_longest_length_of_a_query_is_refused() -> None:
    # CVE-2024-27304: a length that overflows lets the body be read as messages.
    play(opened, [client(b"Q\x7f\xff\xff\xff", gives=[to_server(wire.TERMINATE), "fatal 54000", "close client"])])


def test_a_refused_statement_behind_an_allowed_one_in_one_segment_never_reaches_the_server() -> None:
    conversation = opened()
    effects: list[Effect] = conversation.from_client(SELECT + wire.query("DROP TABLE t") + SELECT)
    effects += conversation.resume(1, Decision(Verdict.ALLOW))
    effects += conversation.resume(2, Decision(Verdict.DENY))
    effects += conversation.resume(3, Decision(Verdict.ALLOW))
    assert b"DROP" not in b"".join(getattr(effect, "data", b"") for effect in effects)


def test_copy_data_longer_than_the_cap_passes_by_pieces() -> None:
    conversation = opened(Limits(max_message_bytes=1024))
    conversation.from_client(wire.query("COPY t FROM STDIN"))
    conversation.resume(1, Decision(Verdict.ALLOW))
    conversation.from_server(wire.COPY_IN)
    big = wire.copy_data(b"x" * 5000)
    out = b""
    for at in range(0, len(big), 100):
        out += b"".join(getattr(effect, "data", b"") for effect in conversation.from_client(big[at : at + 100]))
        assert conversation.client_backlog == 0
    assert out == big


def test_a_flow_that_ends_inside_of_a_streamed_message_gets_no_message_of_ours() -> None:
    conversation = opened(Limits(max_message_bytes=1024))
    conversation.from_client(SELECT)
    conversation.resume(1, Decision(Verdict.ALLOW))
    conversation.from_server(wire.row_description(wire.column("one")) + wire.data_row(b"x" * 5000)[:3000])
    conversation.from_client(wire.copy_data(b"x" * 5000)[:3000])
    effects = conversation.terminate("stop", b"57P01")
    assert not any(hasattr(effect, "data") for effect in effects)


def test_a_row_longer_than_the_cap_passes_when_unmasked_and_ends_the_flow_when_masked() -> None:
    for plan, fault in ((None, None), (ReplyPlan(computed=Mask("null")), "server")):
        conversation = opened(Limits(max_message_bytes=1024))
        conversation.from_client(SELECT)
        conversation.resume(1, Decision(Verdict.ALLOW, plan=plan))
        reply = wire.row_description(wire.column("one")) + wire.data_row(b"x" * 5000) + wire.complete("SELECT 1") + wire.ready()
        effects: list[Effect] = []
        for at in range(0, len(reply), 700):
            effects += conversation.from_server(reply[at : at + 700])
        closes = [effect.fault for effect in effects if isinstance(effect, Close)]
        assert closes == ([] if fault is None else [fault])
        assert (b"xxx" in b"".join(getattr(effect, "data", b"") for effect in effects)) is (fault is None)


def test_client_backlog_counts_what_waits_for_a_decision_not_what_waits_for_more_bytes() -> None:
    conversation = opened()
    conversation.from_client(SELECT[:8])
    assert conversation.client_backlog == 0
    conversation.from_client(SELECT[8:] + SELECT)
    assert conversation.client_backlog == len(SELECT)
    conversation.resume(1, Decision(Verdict.ALLOW))
    assert conversation.client_backlog == 0


def test_a_client_that_sends_without_end_while_it_waits_is_cut_off() -> None:
    conversation = opened(Limits(max_backlog_bytes=4096))
    conversation.from_client(SELECT)
    effects: list[Effect] = []
    for _ in range(5):
        effects += conversation.from_client(b"d" * 1000)
    assert isinstance(effects[-1], Close)


def test_messages_without_replies_do_not_pile_up() -> None:
    conversation = opened(Limits(max_in_flight=10))
    sent = b"".join(getattr(effect, "data", b"") for effect in conversation.from_client(wire.SYNC * 100))
    assert sent == wire.SYNC * 10
    assert conversation.client_backlog == len(wire.SYNC) * 90
    effects = conversation.from_server(wire.ready() * 10)
    assert b"".join(effect.data for effect in effects if hasattr(effect, "data")).count(wire.SYNC) == 10


def test_nothing_comes_out_of_a_closed_conversation() -> None:
    conversation: PostgresConversation = opened()
    conversation.terminate("stop", b"57P01")
    assert conversation.from_client(SELECT) == []
    assert conversation.from_server(wire.ready()) == []
    assert conversation.client_closed() == []
    assert conversation.server_closed() == []
    assert conversation.terminate("again", b"57P01") == []
    assert conversation.withdraw("again", b"57014") == []
    assert conversation.probe("again", "SELECT 1") == []
