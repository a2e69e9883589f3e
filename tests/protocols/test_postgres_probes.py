"""Queries of our own run between the client's transactions, unseen by it."""

from __future__ import annotations

import wire
from hypothesis import given
from hypothesis import strategies as st
from playbook import Action, Step, act, allow, client, play, server, to_client, to_server
from sessions import TOKEN, opened

from hostguard.protocols.events import Terms, ToServer
from hostguard.protocols.postgres.conversation import PostgresConversation
from hostguard.protocols.postgres.limits import Limits

SELECT = wire.query("SELECT 1")
DONE = wire.complete("SELECT 1")


def probe_bytes() -> bytes:
    (effect,) = opened().probe("p", "SELECT 2")
    assert isinstance(effect, ToServer)
    return effect.data


PROBE = probe_bytes()
ANSWER = [
    wire.PARSE_COMPLETE,
    wire.BIND_COMPLETE,
    wire.data_row(b"2", None),
    DONE,
    wire.ready(),
    wire.CLOSE_COMPLETE,
    wire.ready(),
]
PROBED = f"probed p {[(b'2', None)]}"


def probe(*gives: str) -> Step:
    ask: Action = lambda conversation: conversation.probe("p", "SELECT 2")  # noqa: E731
    return act("probe", ask, gives)


def test_an_idle_probe_runs_at_once_and_the_client_waits_for_it() -> None:
    play(opened, [probe(to_server(PROBE)), client(SELECT), server(*ANSWER, gives=[PROBED, "ask 1 query SELECT 1"])])


def test_a_probe_waits_for_the_end_of_what_is_in_flight_and_holds_what_comes_behind() -> None:
    play(
        opened,
        [
            client(SELECT, gives=["ask 1 query SELECT 1"]),
            allow(1, [to_server(SELECT)]),
            probe(),
            client(SELECT),
            server(DONE, wire.ready(), gives=[to_server(PROBE), to_client(DONE, wire.ready()), "replied 1 ok SELECT 1 rows=0"]),
            server(*ANSWER, gives=[PROBED, "ask 2 query SELECT 1"]),
        ],
    )


def test_a_probe_does_not_run_in_the_clients_transaction_nor_hold_it_up() -> None:
    begin = wire.query("BEGIN")
    play(
        opened,
        [
            client(begin, gives=["ask 1 query BEGIN"]),
            allow(1, [to_server(begin)]),
            probe(),
            server(wire.complete("BEGIN"), wire.ready("T"),
                   gives=[to_client(wire.complete("BEGIN"), wire.ready("T")), "replied 1 ok BEGIN rows=0"]),
            client(SELECT, gives=["ask 2 query SELECT 1"]),
            allow(2, [to_server(SELECT)]),
            server(DONE, wire.ready(), gives=[to_server(PROBE), to_client(DONE, wire.ready()), "replied 2 ok SELECT 1 rows=0"]),
        ],
    )  # fmt: skip


def test_a_probe_does_not_run_between_the_messages_of_an_open_section() -> None:
    play(
        opened,
        [
            client(wire.bind("s"), wire.FLUSH, gives=[to_server(wire.bind("s"), wire.FLUSH)]),
            server(wire.BIND_COMPLETE, gives=[to_client(wire.BIND_COMPLETE)]),
            probe(),
            client(wire.SYNC, gives=[to_server(wire.SYNC)]),
            server(wire.ready(), gives=[to_server(PROBE), to_client(wire.ready())]),
        ],
    )


def test_copy_data_passes_while_a_probe_waits() -> None:
    copy = wire.query("COPY t FROM STDIN")
    play(
        opened,
        [
            client(copy, gives=["ask 1 query COPY t FROM STDIN"]),
            allow(1, [to_server(copy)]),
            server(wire.COPY_IN, gives=[to_client(wire.COPY_IN)]),
            probe(),
            client(wire.copy_data(b"1\n"), wire.COPY_DONE, gives=[to_server(wire.copy_data(b"1\n"), wire.COPY_DONE)]),
        ],
    )


def test_a_probe_may_run_while_an_operation_is_asked_about() -> None:
    play(
        opened,
        [
            client(SELECT, gives=["ask 1 query SELECT 1"]),
            probe(to_server(PROBE)),
            server(*ANSWER, gives=[PROBED]),
            allow(1, [to_server(SELECT)]),
        ],
    )


def test_a_query_with_a_statements_values_is_bound_to_terms_of_its_own() -> None:
    """What is decided meanwhile goes behind it, and each reply finds its own."""
    terms = Terms(200, (None, b"\0\0\0\7"), (0, 1), (25, 23))
    asked: Action = lambda conversation: conversation.probe("p", "SELECT $1, $2", terms)  # noqa: E731
    (effect,) = opened().probe("p", "SELECT $1, $2", terms)
    assert isinstance(effect, ToServer)
    assert b"set_config('statement_timeout', '200', true)" in effect.data
    assert b"set_config('transaction_read_only', 'on', true)" in effect.data
    assert b"\0\2\0\0\0\x19\0\0\0\x17" in effect.data, "the types"
    assert b"\0\2\0\0\0\1\0\2\xff\xff\xff\xff\0\0\0\4\0\0\0\7" in effect.data, "formats and values"
    first = [wire.PARSE_COMPLETE, wire.BIND_COMPLETE, wire.data_row(b"200", b"on"), wire.complete("SELECT 1")]
    answer = [*first, *ANSWER[:-2], wire.CLOSE_COMPLETE, wire.CLOSE_COMPLETE, wire.ready()]
    play(
        opened,
        [
            client(SELECT, gives=["ask 1 query SELECT 1"]),
            act("probe", asked, [to_server(effect.data)]),
            allow(1, [to_server(SELECT)]),
            server(*answer, gives=[f"probed p {[(b'200', b'on'), (b'2', None)]}"]),
            server(DONE, wire.ready(), gives=[to_client(DONE, wire.ready()), "replied 1 ok SELECT 1 rows=0"]),
        ],
    )


def test_a_failing_probe_tells_its_error_and_the_client_nothing() -> None:
    failed = [wire.error("42501", "no"), wire.ready(), wire.CLOSE_COMPLETE, wire.ready()]
    play(opened, [probe(to_server(PROBE)), server(*failed, gives=["probed p [] 42501: no"])])


def test_what_is_not_the_probes_passes_to_the_client_meanwhile() -> None:
    other = [wire.notification("a", "b"), wire.parameter_status("TimeZone", "UTC")]
    steps = [probe(to_server(PROBE)), server(*other, *ANSWER, gives=[to_client(*other), PROBED])]
    play(opened, steps)


def test_several_probes_run_one_after_the_other_before_the_client_is_told() -> None:
    def held() -> PostgresConversation:
        conversation = PostgresConversation(Limits(), TOKEN)
        conversation.from_client(wire.startup())
        conversation.start()
        conversation.from_server(wire.authentication(0) + wire.parameter_status("client_encoding", "UTF8") + wire.ready())
        return conversation

    play(
        held,
        [
            probe(to_server(PROBE)),
            probe(),
            act("proceed", lambda conversation: conversation.proceed()),
            server(*ANSWER, gives=[to_server(PROBE), PROBED]),
            server(*ANSWER, gives=[to_client(wire.ready()), PROBED]),
        ],
    )


@given(st.integers(1, 40))
def test_a_probes_rows_are_bounded(rows: int) -> None:
    conversation = opened(Limits(max_probe_bytes=200))
    conversation.probe("p", "SELECT 2")
    answer = wire.PARSE_COMPLETE + wire.BIND_COMPLETE + wire.data_row(b"x" * 13) * rows + DONE + wire.ready() * 2
    (probed,) = conversation.from_server(answer)
    assert (getattr(probed, "error", "") == "too many rows") is (rows * 24 > 200)
