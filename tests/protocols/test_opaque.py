"""Observed conversations: what can't be read ends in `Opaque` with every byte that has not passed, and refuses nothing."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostguard.protocols.events import CancelRequested, Close, Effect, Opaque, Reach, Started, ToClient, ToServer
from hostguard.protocols.opaque import Passage
from hostguard.protocols.postgres.conversation import PostgresConversation
from hostguard.protocols.postgres.limits import Limits

SSL = struct.pack(">II", 8, 80877103)
GSS = struct.pack(">II", 8, 80877104)
CANCEL = struct.pack(">II", 16, 80877102) + b"12345678"
STARTUP = struct.pack(">II", 17, 196608) + b"user\0me\0\0"
REPLICATION = struct.pack(">II", 8 + len(b"user\0me\0replication\0database\0\0"), 196608) + b"user\0me\0replication\0database\0\0"


def observed() -> PostgresConversation:
    conversation = PostgresConversation(Limits(), b"12345678")
    conversation.observe(True)
    return conversation


def fed(conversation: PostgresConversation, data: bytes, piece: int) -> tuple[list[Effect], bytes]:
    """Effects up to the end of it, and what was not fed then."""
    for at in range(0, len(data), piece):
        if effects := conversation.from_client(data[at : at + piece]):
            return effects, data[at + piece :]
    return [], b""


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", REPLICATION], ids=["HTTP", "TLS", "replication"]
)
@pytest.mark.parametrize("piece", [1, 3, 1000])
def test_what_is_no_start_up_packet_is_let_go_whole(data: bytes, piece: int) -> None:
    (opaque,), rest = fed(observed(), data, piece)
    assert isinstance(opaque, Opaque)
    assert opaque.to_server + rest == data
    assert opaque.reason


@pytest.mark.parametrize("piece", [1, 3, 1000])
def test_the_server_says_whether_it_encrypts(piece: int) -> None:
    conversation = observed()
    (reach,), _ = fed(conversation, SSL, piece)
    assert reach == Reach()
    assert conversation.reached() == [ToServer(SSL)]
    assert conversation.from_client(b"\x16hello") == []
    (opaque,) = conversation.from_server(b"S")
    assert isinstance(opaque, Opaque)
    assert (opaque.to_server, opaque.to_client, opaque.fault) == (b"\x16hello", b"S", "unsafe")
    assert conversation.from_client(b"more") == []


def test_where_it_does_not_all_goes_on_readable() -> None:
    conversation = observed()
    assert conversation.from_client(GSS) == [Reach()]
    assert conversation.reached() == [ToServer(GSS)]
    assert conversation.from_server(b"N") == [ToClient(b"N")]
    assert conversation.from_client(SSL) == [ToServer(SSL)]
    assert conversation.from_server(b"N") == [ToClient(b"N")]
    (started,) = conversation.from_client(STARTUP)
    assert isinstance(started, Started)
    assert conversation.start() == [ToServer(STARTUP)]


def test_a_request_to_cancel_is_one() -> None:
    assert observed().from_client(CANCEL) == [CancelRequested(b"12345678", CANCEL)]


def test_a_flow_that_is_no_longer_observed_refuses_as_ever() -> None:
    conversation = observed()
    conversation.from_client(SSL)
    conversation.reached()
    conversation.observe(False)
    *_, close = conversation.from_server(b"S")
    assert isinstance(close, Close)
    assert close.fault == "unsafe"


PIECES = st.sampled_from([b"a", b"bc", b"\0def"])


@given(st.lists(st.tuples(st.booleans(), PIECES), max_size=8), st.binary(max_size=4), st.binary(max_size=4), st.integers(0, 10))
def test_a_passage_keeps_every_byte_in_its_order(said: list[tuple[bool, bytes]], first: bytes, answer: bytes, start: int) -> None:
    passage, effects = Passage(first, answer), list[Effect]()
    for number, (client, data) in enumerate(said):
        if number == start:
            effects += passage.start()
        effects += passage.from_client(data) if client else passage.from_server(data)
    if len(said) <= start:
        assert effects == []
        effects += passage.start()
    assert b"".join(e.data for e in effects if isinstance(e, ToServer)) == first + b"".join(d for c, d in said if c)
    assert b"".join(e.data for e in effects if isinstance(e, ToClient)) == answer + b"".join(d for c, d in said if not c)
    assert passage.terminate("enough", b"") == [Close("enough")]
    assert passage.client_closed() == []
