"""Who may have TLS with hostguard, when in a conversation, and what a server's answer to being asked for it comes to."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
import wire
from hypothesis import given
from hypothesis import strategies as st
from playbook import Step, act, client, play, to_client

from hostguard.protocols.events import Close, Effect, Encrypt
from hostguard.protocols.postgres.conversation import PostgresConversation
from hostguard.protocols.postgres.encryption import SSL_REQUEST, Unencrypted, answer
from hostguard.protocols.postgres.limits import Limits
from hostguard.protocols.postgres.standin import Credential

STARTUP = wire.startup()
HELLO = b"\x16\x03\x01\x00\x05hello"
WISH = "encrypt b'S' b''"


def begin(conversation: PostgresConversation) -> list[Effect]:
    conversation.client_encrypted(b"binding")
    return []


BEGUN = act("TLS is there", begin)
STARTS = client(STARTUP, gives=["started alice@shop"])


def made(client_tls: str, credential: Credential | None = None, *, observed: bool = False) -> Callable[[], PostgresConversation]:
    def make() -> PostgresConversation:
        conversation = PostgresConversation(Limits(), os.urandom(8), credential, client_tls)
        conversation.observe(observed)
        return conversation

    return make


OWN = Credential("app", "app_ro")

CUT: dict[str, tuple[Callable[[], PostgresConversation], list[Step]]] = {
    "offered": (made("offer"), [client(wire.SSL_REQUEST, gives=[WISH]), BEGUN, STARTS]),
    "required": (made("require"), [client(wire.SSL_REQUEST, gives=[WISH]), BEGUN, STARTS]),
    "offered, not taken": (made("offer"), [STARTS]),
    "required, not taken": (made("require"), [client(STARTUP, gives=["fatal 28000", "close client"])]),
    "off": (made("off"), [client(wire.SSL_REQUEST, gives=[to_client(b"N")]), STARTS]),
    "GSSENCRequest first": (
        made("require"),
        [client(wire.GSS_REQUEST, gives=[to_client(b"N")]), client(wire.SSL_REQUEST, gives=[WISH]), BEGUN, STARTS],
    ),
    "SSLRequest inside of TLS": (
        made("offer"),
        [client(wire.SSL_REQUEST, gives=[WISH]), BEGUN, client(wire.SSL_REQUEST, gives=["fatal 08P01", "close client"])],
    ),
    "GSSENCRequest inside of TLS": (
        made("offer"),
        [client(wire.SSL_REQUEST, gives=[WISH]), BEGUN, client(wire.GSS_REQUEST, gives=["fatal 08P01", "close client"])],
    ),
    "cancel in the clear where TLS is required": (
        made("require"),
        [
            client(
                wire.cancel_request(b"pidpsecr"),
                gives=[f"cancel requested {b'pidpsecr'!r} {wire.cancel_request(b'pidpsecr')!r}"],
            )
        ],
    ),
    "observed, the server is asked": (made("require", observed=True), [client(wire.SSL_REQUEST, gives=["reach"])]),
    "observed, in the clear": (made("require", observed=True), [STARTS]),
    "observed, with a credential": (
        made("require", OWN, observed=True),
        [client(wire.SSL_REQUEST, gives=[WISH]), BEGUN, client(STARTUP, gives=["started app_ro@shop"])],
    ),
}


@pytest.mark.parametrize("name", CUT)
def test_dialogue(name: str) -> None:
    make, steps = CUT[name]
    play(make, steps)


@pytest.mark.parametrize("client_tls", ["offer", "require"])
@pytest.mark.parametrize("behind", [b"x", STARTUP, HELLO])
def test_bytes_behind_the_request_are_not_taken_for_part_of_the_session(client_tls: str, behind: bytes) -> None:
    # CVE-2021-23214.
    play(made(client_tls), [client(wire.SSL_REQUEST + behind, gives=["fatal 08P01", "close unsafe"])], cut=False)


def test_tls_from_the_first_byte_on_is_given_on_as_it_came() -> None:
    for size in (1, 5, len(HELLO)):
        (effect,) = made("offer")().from_client(HELLO[:size])
        assert effect == Encrypt(b"", HELLO[:size])


@pytest.mark.parametrize(
    ("make", "before"),
    [(made("off"), b""), (made("offer"), wire.GSS_REQUEST), (made("offer"), wire.SSL_REQUEST)],
    ids=["off", "behind GSSENCRequest", "behind SSLRequest"],
)
def test_tls_that_nobody_waits_for_is_refused(make: Callable[[], PostgresConversation], before: bytes) -> None:
    conversation = make()
    conversation.from_client(before)
    close = conversation.from_client(HELLO)[-1]
    assert isinstance(close, Close)
    assert close.fault == "unsafe"


def test_tls_inside_of_tls_is_refused() -> None:
    conversation = made("offer")()
    conversation.from_client(wire.SSL_REQUEST)
    conversation.client_encrypted(None)
    close = conversation.from_client(HELLO)[-1]
    assert isinstance(close, Close)
    assert close.fault == "unsafe"


def test_what_a_server_may_say_to_being_asked_for_tls() -> None:
    assert SSL_REQUEST == wire.SSL_REQUEST
    answer(b"S")
    with pytest.raises(Unencrypted, match="has no TLS") as refused:
        answer(b"N")
    assert refused.value.can
    for said, words in (
        (b"Sx", "nobody vouches for"),
        (b"E\0\0", "with an error"),
        (b"H", "no PostgreSQL"),
        (b"NN", "no answer"),
    ):
        with pytest.raises(Unencrypted, match=words) as refused:
            answer(said)
        assert not refused.value.can


@given(st.binary(min_size=1, max_size=50))
def test_nothing_but_one_byte_begins_tls(said: bytes) -> None:
    if said == b"S":
        return
    with pytest.raises(Unencrypted) as refused:
        answer(said)
    assert refused.value.can is (said == b"N")
