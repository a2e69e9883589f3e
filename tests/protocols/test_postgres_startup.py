"""The start of a PostgreSQL conversation: encryption requests, cancel, start-up parameters, authentication, first probes."""

from __future__ import annotations

import os

import pytest
import wire
from playbook import Step, act, client, play, server, to_client, to_server

from hostguard.protocols.events import Close, Started
from hostguard.protocols.postgres.conversation import PostgresConversation
from hostguard.protocols.postgres.limits import Limits

STARTUP = wire.startup()


def fresh() -> PostgresConversation:
    return PostgresConversation(Limits(), os.urandom(8))


def starts(packet: bytes = STARTUP) -> list[Step]:
    return [
        client(packet, gives=["started alice@shop"]),
        act("start", lambda conversation: conversation.start(), [to_server(packet)]),
    ]


def passes(*messages: bytes) -> Step:
    return server(*messages, gives=[to_client(*messages)])


PROCEED = act("proceed", lambda conversation: conversation.proceed(), [to_client(wire.ready())])
OK = wire.authentication(0)

DIALOGUES: dict[str, list[Step]] = {
    "SSLRequest, then GSSENCRequest, then plain": [
        client(wire.SSL_REQUEST, gives=[to_client(b"N")]),
        client(wire.GSS_REQUEST, gives=[to_client(b"N")]),
        *starts(),
    ],
    "GSSENCRequest twice": [
        client(wire.GSS_REQUEST, gives=[to_client(b"N")]),
        client(wire.GSS_REQUEST, gives=["fatal 08P01", "close client"]),
    ],
    "cancel request with a key of protocol 3.0": [
        client(
            wire.cancel_request(b"pidpsecr"),
            gives=[f"cancel requested {b'pidpsecr'!r} {wire.cancel_request(b'pidpsecr')!r}"],
        ),
    ],
    "cancel request with a key of protocol 3.2": [
        client(
            wire.cancel_request(b"pidp" + b"k" * 256),
            gives=[f"cancel requested {b'pidp' + b'k' * 256!r} {wire.cancel_request(b'pidp' + b'k' * 256)!r}"],
        ),
    ],
    "protocol 3.2, negotiated down": [
        *starts(wire.startup(0x30002)),
        passes(wire.message(b"v", b"\0\3\0\0\0\0\0\0")),
        passes(OK),
    ],
    "protocol 2": [client(wire.startup(0x20000), gives=["fatal 0A000", "close client"])],
    "trust": [
        *starts(),
        passes(OK, wire.parameter_status("server_version", "18.6")),
        server(wire.key_data(b"pidpsecr"), gives=[to_client(wire.key_data(b"pidpsecr")), f"cancel key {b'pidpsecr'!r}"]),
        server(wire.ready(), gives=["ready"]),
        PROCEED,
    ],
    "SCRAM": [
        *starts(),
        passes(wire.authentication(10, b"SCRAM-SHA-256\0\0")),
        client(wire.password(b"first"), gives=[to_server(wire.password(b"first"))]),
        passes(wire.authentication(11, b"challenge")),
        client(wire.password(b"second"), gives=[to_server(wire.password(b"second"))]),
        passes(wire.authentication(12, b"proof"), OK),
        server(wire.ready(), gives=["ready"]),
        PROCEED,
    ],
    "a password nobody asked for": [
        *starts(),
        client(wire.password(b"secret"), gives=["fatal 08P01", "close client"]),
    ],
    "two passwords for one request": [
        *starts(),
        passes(wire.authentication(3)),
        client(wire.password(b"one"), gives=[to_server(wire.password(b"one"))]),
        client(wire.password(b"two"), gives=["fatal 08P01", "close client"]),
    ],
    "a query instead of a password": [
        *starts(),
        passes(wire.authentication(3)),
        client(wire.query("SELECT 1"), gives=["fatal 08P01", "close client"]),
    ],
    "a wrong password": [
        *starts(),
        passes(wire.authentication(5, b"salt")),
        client(wire.password(b"no"), gives=[to_server(wire.password(b"no"))]),
        server(wire.error("28P01", severity="FATAL"), gives=["fatal 28P01"]),
        act("server closed", lambda conversation: conversation.server_closed(), ["close"]),
    ],
    "an authentication method from the future": [
        *starts(),
        server(wire.authentication(99), gives=["fatal 08P01", "close server"]),
    ],
    "ReadyForQuery without authentication": [
        *starts(),
        server(wire.ready(), gives=["fatal 08P01", "close server"]),
    ],
    "a server that speaks first": [server(b"N", gives=["fatal 08P01", "close server"])],
    "a query that came early waits for the release": [
        *starts(),
        passes(OK),
        client(wire.query("SELECT 1")),
        server(wire.ready(), gives=["ready"]),
        act("proceed", lambda conversation: conversation.proceed(), [to_client(wire.ready()), "ask 1 query SELECT 1"]),
    ],
    "the client goes away during authentication": [
        *starts(),
        act("client closed", lambda conversation: conversation.client_closed(), ["close"]),
    ],
}


@pytest.mark.parametrize("name", DIALOGUES)
def test_dialogue(name: str) -> None:
    play(fresh, DIALOGUES[name])


@pytest.mark.parametrize(
    "value", ["true", "on", "yes", "1", "database", "TRUE", "t", "y", "maybe"], ids=lambda value: f"replication={value}"
)
def test_replication_start_up_is_refused_in_the_protocols_words(value: str) -> None:
    play(fresh, [client(wire.startup(replication=value), gives=["fatal 42501", "close client"])])


@pytest.mark.parametrize("value", ["false", "off", "no", "0", "f", "n", "of", "OFF"])
def test_replication_that_is_false_is_an_ordinary_start(value: str) -> None:
    play(fresh, starts(wire.startup(replication=value)), cut=False)


@pytest.mark.parametrize("request_packet", [wire.SSL_REQUEST, wire.GSS_REQUEST], ids=["SSLRequest", "GSSENCRequest"])
@pytest.mark.parametrize("stuffed", [b"x", STARTUP, b"\x16\x03\x01"])
def test_bytes_behind_an_encryption_request_before_its_answer_end_the_flow(request_packet: bytes, stuffed: bytes) -> None:
    # CVE-2021-23214. Only in one read: once N is out, what follows is a plain start-up.
    play(fresh, [client(request_packet + stuffed, gives=["fatal 08P01", "close unsafe"])], cut=False)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"\x16\x03\x01\x00\x80", "unsafe"),
        (b"GET / HTTP/1.1\r\n\r\n", "client"),
        (b"\0\0\0\0", "client"),
        (b"\0\0\0\7", "client"),
        (b"\xff\xff\xff\xff", "client"),
        (b"\x7f\xff\xff\xff", "client"),
        (wire.packet(80877103, b"more"), "unsafe"),
        (wire.packet(80877102, b"shortkey"[:4]), "client"),
        (wire.packet(80877102, b"k" * 261), "client"),
        (wire.packet(0x30000, b"user\0alice\0"), "client"),
        (wire.packet(0x30000, b"user\0alice"), "client"),
        (wire.packet(0x30000, b"user\0alice\0\0more\0\0"), "client"),
        (wire.packet(0x30000, b"user\0alice\0user\0bob\0\0"), "client"),
        (wire.packet(0x30000, b"database\0shop\0\0"), "client"),
        (wire.packet(0x30000, b"user\0" + b"a" * 64 + b"\0\0"), "client"),
        (wire.packet(0x30000, b"user\0\xff\xfe\0\0"), "client"),
    ],
)
def test_what_is_no_start_up_ends_the_flow(data: bytes, fault: str) -> None:
    for pieces in ([data], [data[at : at + 1] for at in range(len(data))]):
        conversation = fresh()
        effects = [effect for piece in pieces for effect in conversation.from_client(piece)]
        assert isinstance(effects[-1], Close)
        assert effects[-1].fault == fault
        assert not any(isinstance(effect, Started) for effect in effects)


def test_nothing_is_forwarded_before_the_owner_says_start() -> None:
    play(
        fresh,
        [
            client(STARTUP, gives=["started alice@shop"]),
            client(wire.query("SELECT 1")),
            act(
                "backlog",
                lambda conversation: [] if conversation.client_backlog == len(wire.query("SELECT 1")) else [Close("no")],
            ),
        ],
    )


def test_start_up_parameters_are_told_without_loss() -> None:
    conversation = fresh()
    (started,) = conversation.from_client(wire.startup(application_name="app", options="-c geqo=off"))
    assert isinstance(started, Started)
    assert started.parameters == {"user": "alice", "database": "shop", "application_name": "app", "options": "-c geqo=off"}


def test_a_session_without_a_database_is_in_the_one_named_like_its_user() -> None:
    conversation = fresh()
    (started,) = conversation.from_client(wire.packet(0x30000, b"user\0bob\0\0"))
    assert isinstance(started, Started)
    assert started.session.database == "bob"
