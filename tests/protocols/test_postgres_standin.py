"""hostguard's own login in the client's place: who is told what, in which order, cut at every byte."""

from __future__ import annotations

import hashlib
import struct

import pytest
import wire
from hypothesis import given, settings
from hypothesis import strategies as st
from playbook import Step, act, client, play, server, to_client, to_server

from hostguard.protocols.events import Authenticate, Close, CredentialRefused, Effect, Opaque, Started, ToClient, ToServer
from hostguard.protocols.postgres import scram
from hostguard.protocols.postgres.conversation import PostgresConversation
from hostguard.protocols.postgres.limits import Limits
from hostguard.protocols.postgres.scram import ScramFault
from hostguard.protocols.postgres.scram_client import ScramClient
from hostguard.protocols.postgres.standin import Credential

TOKEN = b"t" * 18
VERIFIER = scram.verifier(b"word", b"0123456789abcdef")
PLAIN = Credential("shop-app", "app_ro")
ASKED = Credential("shop-app", "app_ro", VERIFIER)
FINGERPRINT = hashlib.sha256(b"leaf").digest()
# What the server gets: the client's packet with another user.
STARTUP, SENT = wire.startup(application_name="bot"), wire.startup(user="app_ro", application_name="bot")
OK = wire.authentication(0)
SASL = wire.authentication(10, b"SCRAM-SHA-256\0\0")
CONTINUE, FINAL = wire.authentication(11, b"challenge"), wire.authentication(12, b"proof")
FIRST, SECOND = wire.password(b"first"), wire.password(b"second")
SETTLED = [wire.parameter_status("server_version", "18.6"), wire.key_data(b"pidpsecr")]


def fresh(credential: Credential = PLAIN) -> PostgresConversation:
    return PostgresConversation(Limits(), TOKEN, credential)


STARTS = [
    client(STARTUP, gives=["started app_ro@shop"]),
    act("start", lambda conversation: conversation.start(), [to_server(SENT)]),
]


def asks(*messages: bytes) -> Step:
    """The server says this; the first of it is asked about, the rest waits."""
    return server(*messages, gives=[f"authenticate {messages[0][5:]!r}"])


def answer(say: bytes, *, done: bool, gives: list[str]) -> Step:
    return act("authenticated", lambda conversation: conversation.authenticated(say, done=done), gives)


PROCEED = act("proceed", lambda conversation: conversation.proceed(), [to_client(wire.ready())])
SETTLES = [
    server(*SETTLED, gives=[to_client(*SETTLED), f"cancel key {b'pidpsecr'!r}"]),
    server(wire.ready(), gives=["ready"]),
    PROCEED,
]
SCRAM = [
    asks(SASL),
    answer(FIRST, done=False, gives=[to_server(FIRST)]),
    asks(CONTINUE),
    answer(SECOND, done=False, gives=[to_server(SECOND)]),
]

DIALOGUES: dict[str, list[Step]] = {
    "SCRAM": [
        *STARTS,
        *SCRAM,
        asks(FINAL),
        answer(b"", done=True, gives=[]),
        server(OK, gives=[to_client(OK)]),
        *SETTLES,
    ],
    "what comes behind a request waits for its answer": [
        *STARTS,
        *SCRAM,
        asks(FINAL, OK, *SETTLED, wire.ready()),
        answer(b"", done=True, gives=[to_client(OK, *SETTLED), f"cancel key {b'pidpsecr'!r}", "ready"]),
        PROCEED,
    ],
    "trust": [*STARTS, asks(OK, SETTLED[0]), answer(b"", done=True, gives=[to_client(OK, SETTLED[0])])],
    "one answer is all": [
        *STARTS,
        asks(wire.authentication(5, b"salt")),
        answer(FIRST, done=True, gives=[to_server(FIRST)]),
        server(OK, gives=[to_client(OK)]),
        *SETTLES,
    ],
    "OK before the login is complete is asked about, not believed": [
        *STARTS,
        asks(SASL),
        answer(FIRST, done=False, gives=[to_server(FIRST)]),
        asks(OK),
        act("terminate", lambda conversation: conversation.terminate("forged", b"28000"), ["fatal 28000", "close"]),
    ],
    "another request after the login is complete": [
        *STARTS,
        asks(wire.authentication(5, b"salt")),
        answer(FIRST, done=True, gives=[to_server(FIRST)]),
        server(wire.authentication(3), gives=["fatal 08P01", "close server"]),
    ],
    "OK with bytes behind it": [
        *STARTS,
        asks(wire.authentication(5, b"salt")),
        answer(FIRST, done=True, gives=[to_server(FIRST)]),
        server(wire.authentication(0, b"x"), gives=["fatal 08P01", "close server"]),
    ],
    "a client that sends a password all the same": [
        *STARTS,
        client(wire.password(b"secret"), gives=["fatal 08P01", "close client"]),
    ],
    "a parameter before the login is complete": [
        *STARTS,
        server(SETTLED[0], gives=["fatal 08P01", "close server"]),
    ],
    "an error that is not about the credential passes": [
        *STARTS,
        server(wire.error("53300", severity="FATAL"), gives=["fatal 53300"]),
    ],
    "refused, and the secret is another now": [
        *STARTS,
        server(wire.message(b"v", b"\0\3\0\0\0\0\0\0"), gives=[to_client(wire.message(b"v", b"\0\3\0\0\0\0\0\0"))]),
        *SCRAM,
        server(wire.error("28P01", severity="FATAL"), gives=["credential refused 28P01"]),
        act("start", lambda conversation: conversation.start(), [to_server(SENT)]),
        server(wire.message(b"v", b"\0\3\0\0\0\0\0\0")),
        *SCRAM,
        asks(FINAL, OK),
        answer(b"", done=True, gives=[to_client(OK)]),
    ],
    "refused twice": [
        *STARTS,
        *SCRAM,
        server(wire.error("28000", severity="FATAL"), gives=["credential refused 28000"]),
        act("start", lambda conversation: conversation.start(), [to_server(SENT)]),
        server(wire.error("28P01", severity="FATAL"), gives=["credential refused 28P01 for good", "fatal 28P01", "close server"]),
    ],
    "refused without a question": [
        *STARTS,
        server(wire.error("28000", severity="FATAL"), gives=["credential refused 28000 for good", "fatal 28000", "close server"]),
    ],
    "refused, and nothing has changed": [
        *STARTS,
        *SCRAM,
        server(wire.error("28P01", severity="FATAL"), gives=["credential refused 28P01"]),
        act("terminate", lambda conversation: conversation.terminate("refused", b"28P01"), ["fatal 28P01", "close"]),
    ],
    "the client is gone while an answer is outstanding": [
        *STARTS,
        asks(SASL),
        act("client closed", lambda conversation: conversation.client_closed(), ["close"]),
        answer(FIRST, done=False, gives=[]),
    ],
    "a role that may not log in, told after the login": [
        *STARTS,
        asks(OK, wire.error("28000", severity="FATAL")),
        answer(b"", done=True, gives=[to_client(OK), "fatal 28000"]),
    ],
}


@pytest.mark.parametrize("name", DIALOGUES)
def test_dialogue(name: str) -> None:
    play(fresh, DIALOGUES[name])


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (b"user\0anyone\0\0", b"user\0app_ro\0database\0anyone\0\0"),
        (b"user\0anyone\0database\0\0\0", b"user\0app_ro\0database\0anyone\0\0"),
        (b"database\0shop\0user\0anyone\0\0", b"database\0shop\0user\0app_ro\0\0"),
        (
            b"options\0-c a=b\0user\0anyone\0database\0user\0_pq_.x\0y\0\0",
            b"options\0-c a=b\0user\0app_ro\0database\0user\0_pq_.x\0y\0\0",
        ),
    ],
)
def test_the_start_up_packet_keeps_all_but_the_user(given: bytes, sent: bytes) -> None:
    conversation = fresh()
    (started,) = conversation.from_client(wire.packet(0x30002, given))
    assert isinstance(started, Started)
    assert (started.session.user, started.parameters["user"]) == ("app_ro", "anyone")
    assert conversation.start() == [ToServer(wire.packet(0x30002, sent))]


def test_the_client_hears_which_credential_and_the_record_what_the_server_said() -> None:
    conversation = fresh()
    conversation.from_client(STARTUP)
    conversation.start()
    conversation.from_server(SASL)
    conversation.authenticated(FIRST, done=False)
    words = 'password authentication failed for user "app_ro"'
    (effect,) = conversation.from_server(wire.error("28P01", words, severity="FATAL"))
    assert isinstance(effect, CredentialRefused)
    assert '"shop-app"' in effect.reason
    assert "app_ro" not in effect.reason
    assert effect.words == words


def test_a_server_that_does_not_wait_is_not_kept_in_memory() -> None:
    conversation = fresh()
    conversation.from_client(STARTUP)
    conversation.start()
    conversation.from_server(SASL)
    effects = conversation.from_server(wire.parameter_status("a", "b" * 70_000))
    assert [effect.fault for effect in effects if isinstance(effect, Close)] == ["server"]


# The client's own login, to hostguard.


def own_login(binding: bytes | None, *, plus: bool) -> tuple[ScramClient, bytes]:
    """A client that knows the word, and its first message."""
    one = ScramClient(
        lambda salt, count: scram.derive(b"word", salt, count), b"c" * 18, binding, plus=plus, iterations=scram.ITERATIONS
    )
    first = one.first()
    return one, wire.password(one.mechanism + b"\0" + struct.pack(">I", len(first)) + first)


def said(effects: list[Effect]) -> list[bytes]:
    """Bodies of the one message to the client in each of its effects."""
    return [effect.data[9:] for effect in effects if isinstance(effect, ToClient)]


@pytest.mark.parametrize(
    ("binding", "offer"), [(None, b"SCRAM-SHA-256\0\0"), (FINGERPRINT, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0")]
)
def test_a_client_that_is_asked_says_the_word_before_anything_else(binding: bytes | None, offer: bytes) -> None:
    """Whole, then byte by byte: the same."""
    one, first = own_login(binding, plus=binding is not None)
    for size in (1000, 1):
        conversation = fresh(ASKED)
        if binding is not None:
            conversation.client_encrypted(binding)
        assert feed(conversation, STARTUP, size) == [ToClient(wire.authentication(10, offer))]
        (server_first,) = said(feed(conversation, first, size))
        proof = wire.password(one.final(server_first))
        *finals, started = feed(conversation, proof, size)
        one.verify(said(finals)[0])
        assert isinstance(started, Started)
        assert conversation.start() == [ToServer(SENT)]
        assert conversation.from_server(OK) == [Authenticate(OK[5:])]
        assert conversation.authenticated(b"", done=True) == [ToClient(OK)]


def feed(conversation: PostgresConversation, data: bytes, size: int) -> list[Effect]:
    effects: list[Effect] = []
    for at in range(0, len(data), size):
        effects += conversation.from_client(data[at : at + size])
    return effects


def ended(effects: list[Effect]) -> bytes:
    """The code with which the client was told that the flow ends."""
    assert isinstance(effects[-1], Close)
    told = effects[-2]
    assert isinstance(told, ToClient)
    return told.data.partition(b"VFATAL\0C")[2][:5]


def test_a_wrong_word_ends_the_flow_before_it_reaches_the_server() -> None:
    conversation = fresh(ASKED)
    conversation.from_client(STARTUP)
    other = ScramClient(
        lambda salt, count: scram.derive(b"no", salt, count), b"c" * 18, None, plus=False, iterations=scram.ITERATIONS
    )
    (server_first,) = said(conversation.from_client(own_login(None, plus=False)[1]))
    assert ended(conversation.from_client(wire.password(other.final(server_first)))) == b"28P01"


@pytest.mark.parametrize(
    "message",
    [
        wire.query("SELECT 1"),
        wire.password(b""),
        wire.password(b"SCRAM-SHA-256\0\xff\xff\xff\xff"),
        wire.password(b"SCRAM-SHA-256\0\0\0\0\x08n,,n=,r=x"),
        wire.password(b"SCRAM-SHA-1\0\0\0\0\x0an,,n=,r=x"),
        b"p" + struct.pack(">I", 70_000),
    ],
)
def test_whatever_else_a_client_says_ends_the_flow(message: bytes) -> None:
    conversation = fresh(ASKED)
    conversation.from_client(STARTUP)
    assert ended(conversation.from_client(message)) == b"08P01"


def test_each_flow_has_a_nonce_of_its_own() -> None:
    nonces = set()
    for token in (b"a" * 18, b"b" * 18):
        conversation = PostgresConversation(Limits(), token, ASKED)
        conversation.from_client(STARTUP)
        nonces.add(said(conversation.from_client(own_login(None, plus=False)[1]))[0])
    assert len(nonces) == 2


@settings(deadline=None, max_examples=300)
@given(
    st.lists(
        st.one_of(
            st.tuples(
                st.just("client"),
                st.one_of(st.binary(max_size=40), st.sampled_from([STARTUP, FIRST, wire.query("x"), wire.SSL_REQUEST])),
            ),
            st.tuples(
                st.just("server"),
                st.one_of(
                    st.binary(max_size=40),
                    st.sampled_from([OK, SASL, CONTINUE, FINAL, *SETTLED, wire.ready(), wire.error("28P01", severity="FATAL")]),
                ),
            ),
            st.tuples(st.just("answer"), st.sampled_from([b"", FIRST])),
        ),
        max_size=12,
    ),
    st.booleans(),
)
def test_only_effects_come_out(steps: list[tuple[str, bytes]], done: bool) -> None:
    """And no AuthenticationOk reaches the client before an answer said that the login is complete."""
    conversation, phase, finished = fresh(), "start", False
    for kind, data in [("client", STARTUP), *steps]:
        if kind == "client":
            effects = conversation.from_client(data)
        elif kind == "server":
            effects = conversation.from_server(data) if phase != "start" else []
        else:
            effects = conversation.authenticated(data, done=done) if phase == "asked" else []
            finished, phase = finished or (phase == "asked" and done), "open" if phase == "asked" else phase
        while effects:
            effect = effects.pop(0)
            if isinstance(effect, Started) or (isinstance(effect, CredentialRefused) and effect.again):
                finished, phase = False, "open"
                effects += conversation.start()
            elif isinstance(effect, Authenticate):
                phase = "asked"
            elif isinstance(effect, ToClient) and OK in effect.data:
                assert finished


@settings(deadline=None)
@given(st.binary(max_size=120))
def test_what_no_client_says_is_a_refusal(body: bytes) -> None:
    conversation = fresh(ASKED)
    conversation.from_client(STARTUP)
    assert ended(conversation.from_client(wire.password(body))) in (b"08P01", b"28000", b"0A000")


def test_faults_of_the_exchange_are_the_clients() -> None:
    with pytest.raises(ScramFault):
        scram.decode(b"!", "x")
    conversation = fresh(ASKED)
    conversation.from_client(STARTUP)
    close = conversation.from_client(wire.password(b"x"))[-1]
    assert isinstance(close, Close)
    assert close.fault == "client"


# Observed flows: the session is hostguard's all the same.


def observed() -> PostgresConversation:
    conversation = fresh()
    conversation.observe(True)
    return conversation


LOGGED_IN = [*STARTS, asks(OK), answer(b"", done=True, gives=[to_client(OK)])]
OBSERVED: dict[str, list[Step]] = {
    "the server's encryption is not the client's to ask for": [client(wire.SSL_REQUEST, gives=[to_client(b"N")]), *STARTS],
    "what can't be read before the login is refused": [
        *STARTS,
        client(wire.query("SELECT 1"), gives=["fatal 08P01", "close client"]),
    ],
}
UNREADABLE = bytes(4) + b"x"


@pytest.mark.parametrize("name", OBSERVED)
def test_observed(name: str) -> None:
    play(observed, OBSERVED[name], cut=False)


def test_what_can_not_be_read_after_the_login_passes_without_the_start_up_packet() -> None:
    conversation = observed()
    play(lambda: conversation, [*LOGGED_IN, *SETTLES], cut=False)
    (effect,) = conversation.from_client(UNREADABLE)
    assert isinstance(effect, Opaque)
    assert effect.to_server == UNREADABLE
