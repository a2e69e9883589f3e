"""Which text a name stands for: one dialogue for each way in which another text could run than the one that was judged."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import wire
from playbook import Step, allow, client, decide, play, server, to_client, to_server
from sessions import opened

from hostguard.protocols.events import Ask, Decision, Effect, Operation, ToServer, Verdict
from hostguard.protocols.postgres import hidden
from hostguard.protocols.postgres.conversation import PostgresConversation
from hostguard.protocols.postgres.limits import Limits

ALLOW = Decision(Verdict.ALLOW)
OLD, NEW = "SELECT old", "SELECT new"
DUPLICATE = wire.error("42P05")


@dataclass
class Talk:
    """A conversation whose every operation is allowed (`ends` names the texts that end a transaction), with what was asked."""

    conversation: PostgresConversation
    ends: tuple[str, ...] = ("COMMIT",)

    def __post_init__(self) -> None:
        self.asked: list[Operation] = []
        self.sent = b""

    def say(self, *messages: bytes) -> list[str | None]:
        """Client bytes in; the texts of the operations asked about."""
        return self._run(self.conversation.from_client(b"".join(messages)))

    def answer(self, *messages: bytes) -> list[str | None]:
        """Server bytes in; the texts of the operations asked about."""
        return self._run(self.conversation.from_server(b"".join(messages)))

    def _run(self, effects: list[Effect]) -> list[str | None]:
        texts: list[str | None] = []
        while effects:
            effect = effects.pop(0)
            if isinstance(effect, ToServer):
                self.sent += effect.data
            if isinstance(effect, Ask):
                self.asked.append(effect.operation)
                texts.append(effect.operation.text)
                decision = Decision(Verdict.ALLOW, ends_portals=effect.operation.text in self.ends)
                effects += self.conversation.resume(effect.operation.id, decision)
        return texts


@pytest.fixture
def talk() -> Talk:
    return Talk(opened())


def prepared(talk: Talk, text: str = OLD, name: str = "s") -> Talk:
    talk.say(wire.parse(text, name), wire.SYNC)
    talk.answer(wire.PARSE_COMPLETE, wire.ready())
    return talk


RUN = wire.bind("s", "p") + wire.execute("p")
RAN = wire.BIND_COMPLETE + wire.complete("SELECT 0")


def test_an_execute_is_judged_by_the_text_of_its_portals_statement(talk: Talk) -> None:
    prepared(talk)
    assert talk.say(RUN, wire.SYNC) == [OLD]
    operation = talk.asked[-1]
    assert (operation.statement, operation.parameters) == ("s", ())


def test_parameters_formats_and_types_come_with_the_execute(talk: Talk) -> None:
    talk.say(wire.parse(OLD, "s", types=(23, 0)), wire.bind("s", "p", (b"1", None), (1, 0)), wire.execute("p"))
    operation = talk.asked[-1]
    assert operation.parameters == (b"1", None)
    assert operation.formats == (1, 0)
    assert operation.types == (23, 0)


def test_the_text_of_a_named_statement_is_one_object(talk: Talk) -> None:
    prepared(talk)
    talk.say(RUN, RUN, wire.SYNC)
    assert talk.asked[-1].text is talk.asked[-2].text


def test_a_parse_of_a_name_in_use_fails_and_keeps_the_old_text(talk: Talk) -> None:
    prepared(talk)
    talk.say(wire.parse(NEW, "s"), wire.SYNC)
    talk.answer(DUPLICATE, wire.ready())
    assert talk.say(RUN, wire.SYNC) == [OLD]


def test_a_bind_behind_an_unanswered_parse_of_an_earlier_section_waits_for_its_answer(talk: Talk) -> None:
    prepared(talk)
    assert talk.say(wire.parse(NEW, "s"), wire.SYNC, RUN, wire.SYNC) == [NEW]
    assert talk.conversation.client_backlog == len(RUN + wire.SYNC)
    assert talk.answer(DUPLICATE, wire.ready()) == [OLD]


def test_the_same_when_the_parse_succeeds(talk: Talk) -> None:
    talk.say(wire.parse(NEW, "s"), wire.SYNC, RUN, wire.SYNC)
    assert talk.answer(wire.PARSE_COMPLETE, wire.ready()) == [NEW]


def test_the_same_when_the_parse_is_skipped(talk: Talk) -> None:
    # The unnamed statement survives: its new Parse was never looked at.
    prepared(talk, name="")
    run = wire.bind() + wire.execute()
    assert talk.say(wire.bind("nope"), wire.parse(NEW), wire.SYNC, run, wire.SYNC) == [NEW]
    assert talk.answer(wire.error("26000"), wire.ready()) == [OLD]


def test_within_one_section_the_newest_parse_counts(talk: Talk) -> None:
    prepared(talk)
    assert talk.say(wire.close("s", b"S"), wire.parse(NEW, "s"), RUN, wire.SYNC) == [NEW, NEW]


def test_a_portal_keeps_the_text_it_was_bound_to(talk: Talk) -> None:
    prepared(talk)
    assert talk.say(wire.bind("s", "p"), wire.close("s", b"S"), wire.parse(NEW, "s"), wire.execute("p"), wire.SYNC) == [NEW, OLD]


def test_a_bind_of_a_portal_in_use_fails_and_keeps_the_old_one(talk: Talk) -> None:
    prepared(talk)
    prepared(talk, NEW, "n")
    talk.say(wire.query("BEGIN"))
    talk.answer(wire.complete("BEGIN"), wire.ready("T"))
    talk.say(wire.bind("s", "p"), wire.SYNC)
    talk.answer(wire.BIND_COMPLETE, wire.ready("T"))
    talk.say(wire.bind("n", "p"), wire.SYNC)
    talk.answer(wire.error("42P03"), wire.ready("E"))
    assert talk.say(wire.execute("p"), wire.SYNC) == [OLD]


def test_a_failing_parse_destroys_the_unnamed_statement(talk: Talk) -> None:
    prepared(talk, name="")
    talk.say(wire.parse("nonsense"), wire.SYNC)
    talk.answer(wire.error("42601"), wire.ready())
    assert talk.say(wire.bind(), wire.execute(), wire.SYNC) == [None]


def test_a_simple_query_destroys_the_unnamed_statement(talk: Talk) -> None:
    prepared(talk, name="")
    talk.say(wire.query("SELECT 1"))
    talk.answer(wire.complete("SELECT 1"), wire.ready())
    assert talk.say(wire.bind(), wire.execute(), wire.SYNC) == [None]


def test_a_closed_statement_is_unknown(talk: Talk) -> None:
    prepared(talk)
    talk.say(wire.close("s", b"S"), wire.SYNC)
    talk.answer(wire.CLOSE_COMPLETE, wire.ready())
    assert talk.say(RUN, wire.SYNC) == [None]


def test_statements_and_portals_made_in_sql_have_no_text(talk: Talk) -> None:
    assert talk.say(wire.bind("made_by_prepare", "p"), wire.execute("p"), wire.execute("made_by_declare"), wire.SYNC) == [
        None,
        None,
    ]


def test_a_portal_dies_with_its_transaction(talk: Talk) -> None:
    prepared(talk)
    talk.say(RUN, wire.SYNC)
    talk.answer(RAN, wire.ready())
    assert talk.say(wire.execute("p"), wire.SYNC) == [None]


def test_a_portal_lives_on_in_an_open_transaction(talk: Talk) -> None:
    prepared(talk)
    talk.say(RUN, wire.SYNC)
    talk.answer(RAN, wire.ready("T"))
    assert talk.say(wire.execute("p"), wire.SYNC) == [OLD]


def test_an_execute_waits_while_a_ready_for_query_is_due_that_may_end_its_portal(talk: Talk) -> None:
    # Otherwise a cursor that SQL declares under the same name behind the COMMIT would run under the old portal's text.
    prepared(talk)
    talk.say(RUN, wire.SYNC)
    talk.answer(RAN, wire.ready("T"))
    declare = wire.query("COMMIT; BEGIN; DECLARE q CURSOR FOR SELECT secret")
    assert talk.say(declare, wire.execute("p"), wire.SYNC) == ["COMMIT; BEGIN; DECLARE q CURSOR FOR SELECT secret"]
    assert talk.answer(wire.complete("COMMIT"), wire.ready()) == [None]


def test_a_commit_inside_a_pipeline_ends_the_portals_bound_before_it(talk: Talk) -> None:
    prepared(talk)
    prepared(talk, "COMMIT", "c")
    prepared(talk, 'DECLARE "P" CURSOR WITH HOLD FOR SELECT secret', "d")
    pipeline = wire.bind("s", "p") + wire.bind("c") + wire.execute() + wire.bind("d") + wire.execute() + wire.execute("p")
    assert talk.say(pipeline, wire.SYNC)[-1] is None


def test_close_and_declare_in_sql_do_not_run_under_an_old_portals_text(talk: Talk) -> None:
    prepared(talk)
    talk.say(RUN, wire.SYNC)
    talk.answer(RAN, wire.ready("T"))
    talk.say(wire.query("CLOSE p; declare p cursor for select secret"))
    talk.answer(wire.complete("DECLARE CURSOR"), wire.ready("T"))
    assert talk.say(wire.execute("p"), wire.SYNC) == [None]


@pytest.mark.parametrize(
    "text",
    [
        "DEALLOCATE s; PREPARE s AS SELECT secret",
        "deallocate/**/s",
        "DEALLOCATE ALL",
        "DISCARD ALL",
        'DEALLOCATE U&"\\0073"',
        "DO $$ BEGIN EXECUTE 'DEALL' || 'OCATE s'; END $$",
    ],
)
def test_what_sql_does_to_prepared_statements_is_not_missed(talk: Talk, text: str) -> None:
    prepared(talk)
    talk.say(wire.query(text))
    talk.answer(wire.complete("DEALLOCATE"), wire.ready())
    assert talk.say(RUN, wire.SYNC) == [None]


def test_deallocating_one_statement_keeps_the_others(talk: Talk) -> None:
    # psycopg numbers its statements and deallocates them in SQL on older libpq.
    prepared(talk, OLD, "_pg3_1")
    prepared(talk, NEW, "_pg3_10")
    talk.say(wire.query("DEALLOCATE _pg3_10"))
    talk.answer(wire.complete("DEALLOCATE"), wire.ready())
    assert talk.say(wire.bind("_pg3_1"), wire.execute(), wire.bind("_pg3_10"), wire.execute(), wire.SYNC) == [OLD, None]


def test_names_are_one_when_their_first_63_bytes_are(talk: Talk) -> None:
    # NAMEDATALEN: the server keeps both under one entry, so the second Parse there replaces nothing and a Close hits the first.
    long = "n" * 63
    prepared(talk, OLD, long + "a")
    talk.say(wire.close(long + "b", b"S"), wire.parse(NEW, long + "c"), wire.SYNC)
    talk.answer(wire.CLOSE_COMPLETE, wire.PARSE_COMPLETE, wire.ready())
    assert talk.say(wire.bind(long + "a"), wire.execute(), wire.SYNC) == [NEW]


@pytest.mark.parametrize(
    "text",
    [
        "SET client_encoding TO latin1",
        "SET NAMES 'latin1'",
        "set session standard_conforming_strings = off",
        "SELECT set_config('standard_conforming_strings', 'off', false)",
        "UPDATE pg_settings SET setting = 'off' WHERE name = 'x'",
        "RESET ALL",
        'SET U&"client_encod\\0069ng" = latin1',
    ],
)
def test_a_text_behind_a_change_of_how_texts_are_read_waits_or_can_not_be_read(talk: Talk, text: str) -> None:
    assert talk.say(wire.query(text), wire.query(NEW)) == [text]
    assert talk.answer(wire.complete("SET"), wire.ready()) == [NEW]
    talk.answer(wire.complete("SELECT 0"), wire.ready())
    # In one section there is no waiting: the Sync that would bring the answer comes behind the text.
    assert talk.say(wire.parse(text), wire.bind(), wire.execute(), wire.parse(NEW), wire.SYNC) == [text, text, None]


def test_the_end_of_a_transaction_may_take_a_change_back(talk: Talk) -> None:
    for text, status in (("BEGIN", "T"), ("SET LOCAL standard_conforming_strings = off", "T")):
        talk.say(wire.query(text))
        talk.answer(wire.complete("SET"), wire.ready(status))
    assert talk.say(wire.query("COMMIT"), wire.query(NEW)) == ["COMMIT"]
    assert talk.answer(wire.complete("COMMIT"), wire.ready()) == [NEW]
    talk.answer(wire.complete("SELECT 0"), wire.ready())
    assert talk.say(wire.query("COMMIT"), wire.query(NEW)) == ["COMMIT", NEW]


def test_texts_are_read_in_the_clients_encoding(talk: Talk) -> None:
    talk.answer(wire.parameter_status("client_encoding", "LATIN1"))
    assert talk.say(wire.query(b"SELECT '\xe9'")) == ["SELECT 'é'"]
    talk.answer(wire.ready(), wire.parameter_status("client_encoding", "SQL_ASCII"))
    assert talk.say(wire.query(b"SELECT '\xe9'")) == [None]
    talk.answer(wire.ready(), wire.parameter_status("client_encoding", "SJIS"))
    assert talk.say(wire.query(b"SELECT 1")) == [None]


def test_the_session_follows_the_parameters_that_the_server_tells(talk: Talk) -> None:
    talk.conversation.set_search_path(("public",))
    talk.say(wire.query(OLD))
    assert talk.asked[-1].session.search_path == ("public",)
    talk.answer(
        wire.parameter_status("standard_conforming_strings", "off"), wire.parameter_status("search_path", '"$user"'), wire.ready()
    )
    talk.say(wire.query(OLD))
    assert talk.asked[-1].session.search_path is None
    assert talk.asked[-1].session.standard_conforming_strings is False
    assert talk.asked[-1].session.server_version == "18.6"


def test_the_poison_portal_can_not_be_bound() -> None:
    from hostguard.protocols.postgres.link import Link

    name = Link(Limits(), b"\x01\x02\x03\x04\x05\x06\x07\x08").poison_portal
    play(opened, [client(wire.bind("s", name), gives=[to_server(wire.TERMINATE), "fatal 08P01", "close client"])])


def test_too_many_statements_end_the_flow() -> None:
    talk = Talk(opened(Limits(max_statements=3)))
    for number in range(3):
        prepared(talk, name=f"s{number}")
    prepared(talk, name="s0")
    assert b"54000" in b"".join(getattr(effect, "data", b"") for effect in talk.conversation.from_client(wire.parse(OLD, "s3")))


def test_too_many_portals_end_the_flow() -> None:
    conversation = opened(Limits(max_portals=3))
    for number in range(3):
        conversation.from_client(wire.bind("s", f"p{number}"))
    assert b"54000" in b"".join(getattr(effect, "data", b"") for effect in conversation.from_client(wire.bind("s", "p3")))


def test_held_parameters_are_bounded_but_those_of_portals_that_ended_do_not_count() -> None:
    talk = Talk(opened(Limits(max_held_bytes=10_000)))
    for _ in range(10):
        talk.say(wire.bind("s", "p", (b"x" * 3000,)), wire.SYNC)
        talk.answer(wire.BIND_COMPLETE, wire.ready())
    big = [wire.bind("s", f"p{number}", (b"x" * 3000,)) for number in range(4)]
    effects = talk.conversation.from_client(b"".join(big))
    assert b"54000" in b"".join(getattr(effect, "data", b"") for effect in effects)


def test_a_description_is_of_the_portal_that_it_was_asked_for() -> None:
    steps: list[Step] = [
        client(wire.parse(OLD), gives=[f"ask 1 prepare {OLD}"]),
        allow(1, [to_server(wire.parse(OLD))]),
        client(wire.bind(), wire.describe(), wire.execute(), wire.SYNC,
               gives=[to_server(wire.bind(), wire.describe()), f"ask 2 execute {OLD}"]),
        decide(2, ALLOW, [to_server(wire.execute(), wire.SYNC)]),
        server(wire.PARSE_COMPLETE, wire.BIND_COMPLETE, wire.NO_DATA, wire.complete("SET"), wire.ready(),
               gives=[to_client(wire.PARSE_COMPLETE, wire.BIND_COMPLETE, wire.NO_DATA, wire.complete("SET"), wire.ready()),
                      "replied 1 ok  rows=0", "replied 2 ok SET rows=0"]),
    ]  # fmt: skip
    play(opened, steps)


@pytest.mark.parametrize(
    "text",
    [
        "INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING",
        "INSERT INTO t VALUES (1) ON CONFLICT (id) DO\nUPDATE SET x = 1",
        "SELECT reset_token, first_names FROM t",
        "SELECT donation FROM t",
        "SELECT 1",
    ],
)
def test_everyday_texts_change_nothing_out_of_sight(text: str) -> None:
    assert hidden.of(text) in (hidden.NOTHING, hidden.Hidden(any_name=True))
