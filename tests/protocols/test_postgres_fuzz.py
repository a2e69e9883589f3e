"""Whatever either side sends, a conversation answers with effects.

Never an exception, never an unread byte passed on, never unbounded.
"""

from __future__ import annotations

import struct

import wire
from hypothesis import given, settings
from hypothesis import strategies as st
from sessions import opened

from hostguard.protocols.disclosure import Mask, ReplyPlan
from hostguard.protocols.events import Ask, Close, Decision, Effect, Replied, ToClient, ToServer, Verdict, Withdrawn
from hostguard.protocols.postgres.conversation import PostgresConversation
from hostguard.protocols.postgres.limits import Limits
from hostguard.protocols.postgres.messages import FRONTEND

SECRET = b"5ecret"
NAMES = st.sampled_from(["", "a", "b", "n" * 70])
TEXTS = st.sampled_from(["SELECT 1", "COMMIT", "DEALLOCATE a", "DECLARE a CURSOR FOR x", "SET client_encoding TO x", b"\xff"])
CLIENT = st.one_of(
    st.builds(wire.query, TEXTS),
    st.builds(wire.parse, TEXTS, NAMES),
    st.builds(wire.bind, NAMES, NAMES, st.lists(st.one_of(st.none(), st.binary(max_size=4)), max_size=2)),
    st.builds(wire.describe, NAMES, st.sampled_from([b"S", b"P"])),
    st.builds(wire.close, NAMES, st.sampled_from([b"S", b"P"])),
    st.builds(wire.execute, NAMES, st.integers(0, 2)),
    st.sampled_from([wire.SYNC, wire.SYNC, wire.FLUSH, wire.COPY_DONE, wire.copy_fail("x"), wire.function_call(1, b"x")]),
    st.builds(wire.copy_data, st.binary(max_size=9)),
)


def columns_of(attributes: list[int]) -> st.SearchStrategy[bytes]:
    """RowDescriptions with columns of these attribute numbers."""
    column = st.builds(
        wire.column,
        st.just("c"),
        st.sampled_from([0, 7, 8]),
        st.sampled_from(attributes),
        st.sampled_from([25, 23, 3802]),
        st.integers(0, 2),
    )
    return st.lists(column, max_size=3).map(lambda columns: wire.row_description(*columns))


ROWS = st.lists(st.one_of(st.none(), st.just(SECRET)), max_size=3).map(lambda values: wire.data_row(*values))
REPLIES = st.sampled_from(
    [
        wire.PARSE_COMPLETE,
        wire.BIND_COMPLETE,
        wire.CLOSE_COMPLETE,
        wire.NO_DATA,
        wire.EMPTY,
        wire.SUSPENDED,
        wire.COPY_IN,
        wire.COPY_OUT,
        wire.COPY_DONE,
        wire.ready(),
        wire.ready("T"),
        wire.ready("E"),
        wire.notification("a", "b"),
        wire.error("42P02"),
        wire.error("34000"),
        wire.error("57P01", severity="FATAL"),
        wire.notice("n"),
        wire.message(b"V", b"\0\0\0\0"),
        wire.complete("SELECT 1"),
        wire.parameter_status("client_encoding", "LATIN1"),
        wire.parameter_description(23),
    ]
)
SERVER = st.one_of(REPLIES, columns_of([0, 1, 2, -1]), ROWS, st.builds(wire.copy_data, st.binary(max_size=9)))
VALUES = st.one_of(
    columns_of([0, 1, 2]), ROWS, st.just(wire.copy_data(SECRET)), st.just(wire.COPY_OUT), st.just(wire.complete("x"))
)
HIDE = ReplyPlan(masks={(7, 1): Mask("redact"), (7, 2): Mask("hash", key=b"k")}, computed=Mask("null"), scrub_errors=True)
DECISIONS = st.sampled_from(
    [
        Decision(Verdict.ALLOW),
        Decision(Verdict.ALLOW, plan=HIDE),
        Decision(Verdict.ALLOW, ends_portals=True),
        Decision(Verdict.DENY, "no"),
    ]
)


@st.composite
def mutated(draw: st.DrawFn, messages: st.SearchStrategy[bytes]) -> bytes:
    """Some messages, at times with bytes changed, cut out or repeated."""
    data = bytearray(b"".join(draw(st.lists(messages, min_size=1, max_size=4))))
    if draw(st.integers(0, 3)) == 0:
        at = draw(st.integers(0, len(data) - 1))
        match draw(st.sampled_from(["change", "cut", "repeat"])):
            case "change":
                data[at] = draw(st.sampled_from([0, 1, 3, 0x7F, 0x80, 0xFF, *b"QPBDES"]))
            case "cut":
                del data[at : at + draw(st.integers(1, 6))]
            case "repeat":
                data[at:at] = data[at : at + draw(st.integers(1, 12))]
    return bytes(data)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("client"), mutated(CLIENT)),
        st.tuples(st.just("server"), mutated(SERVER)),
        st.tuples(st.just("resume"), DECISIONS),
        st.tuples(st.just("probe"), st.none()),
        st.tuples(st.just("withdraw"), st.none()),
    ),
    max_size=25,
)


class Watched:
    """A conversation, and what must hold of it after each call."""

    def __init__(self) -> None:
        self.conversation: PostgresConversation = opened(Limits(max_message_bytes=512, max_backlog_bytes=2048, max_in_flight=20))
        self.asked: int | None = None
        self.closed = False
        self.open_operations: set[int] = set()
        self.to_server = b""

    def take(self, effects: list[Effect]) -> None:
        for effect in effects:
            assert not self.closed, "nothing follows Close"
            match effect:
                case Ask(operation=operation):
                    assert self.asked is None, "one operation is asked about at a time"
                    self.asked = operation.id
                    self.open_operations.add(operation.id)
                case Replied(operation_id=number):
                    self.open_operations.remove(number)
                case Withdrawn(operation_id=number):
                    self.open_operations.remove(number)
                    self.asked = None
                case ToServer(data=data):
                    self.to_server += data
                case ToClient():
                    pass
                case Close():
                    self.closed = True
        assert self.conversation.client_backlog <= 2048
        if self.closed:
            assert not self.open_operations, "each operation's end is told"

    def step(self, kind: str, value: bytes | Decision | None) -> None:
        conversation = self.conversation
        if kind == "client":
            assert isinstance(value, bytes)
            self.take(conversation.from_client(value))
        elif kind == "server":
            assert isinstance(value, bytes)
            self.take(conversation.from_server(value))
        elif kind == "probe":
            self.take(conversation.probe("p", "SELECT 1"))
        elif self.asked is not None:
            number, self.asked = self.asked, None
            if kind == "withdraw":
                self.take(conversation.withdraw("canceled", b"57014"))
            else:
                assert isinstance(value, Decision)
                self.take(conversation.resume(number, value))


@settings(max_examples=400, deadline=None)
@given(STEPS)
def test_only_effects_come_out(steps: list[tuple[str, bytes | Decision | None]]) -> None:
    watched = Watched()
    for kind, value in steps:
        watched.step(kind, value)
    watched.take(watched.conversation.client_closed())
    assert watched.closed
    # What reached the server is whole, legal messages; only the last may be a CopyData that was cut off.
    rest = watched.to_server
    while rest:
        size = 1 + struct.unpack_from(">I", rest, 1)[0]
        assert rest[0] in FRONTEND
        assert len(rest) >= size or rest[:1] == b"d"
        rest = rest[size:]


@settings(max_examples=200, deadline=None)
@given(st.lists(VALUES, max_size=10), st.data())
def test_no_value_passes_under_a_plan_that_hides_everything(replies: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(replies)
    cut = data.draw(st.integers(0, len(stream)))
    conversation = opened()
    conversation.from_client(wire.query("SELECT"))
    plan = ReplyPlan(computed=Mask("null"), scrub_errors=True)
    conversation.resume(1, Decision(Verdict.ALLOW, plan=plan))
    effects = conversation.from_server(stream[:cut]) + conversation.from_server(stream[cut:])
    assert not any(isinstance(effect, ToClient) and SECRET in effect.data for effect in effects)


@settings(deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=200))
def test_random_bytes_from_the_start(client: bytes, server: bytes) -> None:
    conversation = PostgresConversation(Limits(), b"\0" * 8)
    effects = conversation.from_client(client)
    if effects and not isinstance(effects[-1], Close) and conversation.client_backlog:
        conversation.start()
    effects += conversation.from_server(server)
    for effect in effects:
        assert not isinstance(effect, ToServer)


@settings(max_examples=200, deadline=None)
@given(st.lists(CLIENT, min_size=1, max_size=8), st.data())
def test_how_the_client_is_cut_changes_nothing(messages: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(messages)
    cut = data.draw(st.integers(0, len(stream)))

    def sent(pieces: list[bytes]) -> bytes:
        conversation = opened()
        out = b""
        queue: list[Effect] = []
        for piece in pieces:
            queue += conversation.from_client(piece)
            while queue:
                effect = queue.pop(0)
                if isinstance(effect, ToServer):
                    out += effect.data
                if isinstance(effect, Ask):
                    queue += conversation.resume(effect.operation.id, Decision(Verdict.ALLOW))
        return out

    assert sent([stream[:cut], stream[cut:]]) == sent([stream])
