"""A login as a client: what each request of a server is answered with, which are refused, what no text tells."""

from __future__ import annotations

import hashlib
from functools import cache

import pytest
import wire
from hypothesis import given, settings
from hypothesis import strategies as st

from hostguard.protocols.postgres import scram
from hostguard.protocols.postgres.login import DEFAULT_METHODS, METHODS, Answer, Login, LoginRefused, Password
from hostguard.protocols.postgres.scram_server import ScramServer

SECRET = b"correct horse battery staple"
NONCE = b"n" * 18
FINGERPRINT = hashlib.sha256(b"certificate").digest()
SALT = b"0123456789abcdef"
VERIFIER = scram.verifier(SECRET, SALT)
ONLY_PLAIN, BOTH = b"SCRAM-SHA-256\0\0", b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"


def request(code: int, rest: bytes = b"") -> bytes:
    return wire.authentication(code, rest)[5:]


@cache
def derive(salt: bytes, iterations: int) -> bytes:
    return scram.derive(SECRET, salt, iterations)


def login(**how: object) -> Login:
    return Login("app", Password(SECRET, derive), NONCE, **how)  # type: ignore[arg-type]


def initial_response(say: bytes) -> tuple[bytes, bytes]:
    """Mechanism and data of a SASLInitialResponse."""
    mechanism, _, rest = say[5:].partition(b"\0")
    assert say == wire.password(mechanism + b"\0" + len(rest[4:]).to_bytes(4, "big") + rest[4:])
    return mechanism, rest[4:]


@pytest.mark.parametrize(
    ("binding", "offer", "mechanism"),
    [(None, ONLY_PLAIN, b"SCRAM-SHA-256"), (None, BOTH, b"SCRAM-SHA-256"), (FINGERPRINT, BOTH, b"SCRAM-SHA-256-PLUS")],
)
def test_scram_as_far_as_it_goes(binding: bytes | None, offer: bytes, mechanism: bytes) -> None:
    one, other = login(binding=binding), ScramServer(VERIFIER, b"s" * 18, binding)
    answer = one.answer(request(10, offer))
    chosen, first = initial_response(answer.say)
    assert chosen == mechanism
    assert not answer.done
    answer = one.answer(request(11, other.first(chosen, first)))
    assert not answer.done
    assert one.answer(request(12, other.final(answer.say[5:]))) == Answer(b"", done=True)
    assert one.answer(request(0)) == Answer(b"", done=True)


def test_md5_is_what_postgresql_computes() -> None:
    # SELECT 'md5' || md5(md5('correct horse battery staple' || 'app') || 'salt')
    digest = hashlib.md5(hashlib.md5(SECRET + b"app").hexdigest().encode() + b"salt").hexdigest()
    assert login().answer(request(5, b"salt")) == Answer(wire.password(b"md5" + digest.encode() + b"\0"), done=True)


def test_the_password_itself_is_sent_only_where_that_was_allowed() -> None:
    with pytest.raises(LoginRefused, match='the login "password", allowed is md5, none, scram-sha-256'):
        login().answer(request(3))
    assert login(methods=METHODS).answer(request(3)) == Answer(wire.password(SECRET + b"\0"), done=True)


def test_a_server_that_trusts_is_logged_in_to() -> None:
    assert login().answer(request(0)) == Answer(b"", done=True)


REFUSED = {
    "no code": ([b"\0\0\0"], "too short"),
    "trust that is not allowed": ([request(0)], 'the login "none"'),
    "Kerberos": ([request(2)], "Kerberos V5"),
    "GSSAPI": ([request(7)], "GSSAPI"),
    "SSPI": ([request(9)], "SSPI"),
    "a number nobody knows": ([request(77)], "method 77"),
    "a list of mechanisms without an end": ([request(10, b"SCRAM-SHA-256\0")], "has no end"),
    "bytes behind the list": ([request(10, b"SCRAM-SHA-256\0\0x\0\0")], "bytes behind its end"),
    "an empty list": ([request(10, b"\0\0")], "bytes behind its end"),
    "only others": ([request(10, b"OAUTHBEARER\0SCRAM-SHA-1\0\0")], "OAUTHBEARER, SCRAM-SHA-1"),
    "only the binding one, without TLS": ([request(10, b"SCRAM-SHA-256-PLUS\0\0")], "SCRAM-SHA-256-PLUS"),
    "a salt of three bytes": ([request(5, b"sal")], "four bytes"),
    "md5 that is not allowed": ([request(5, b"salt")], 'the login "md5"'),
    "OK in the midst of SCRAM": ([request(10, ONLY_PLAIN), request(0)], "without having shown that it knows"),
    "the end of SCRAM before its middle": ([request(10, ONLY_PLAIN), request(12, b"v=AAAA")], "out of order"),
    "cleartext in the midst of SCRAM": ([request(10, ONLY_PLAIN), request(3)], "out of order"),
    "a continuation that nothing began": ([request(11, b"r=x")], "authentication method 11"),
    "a hostile count": ([request(10, ONLY_PLAIN), request(11, b"r=%bx,s=MDEy,i=999999999" % scram.encode(NONCE))], "iterations"),
    "OK with bytes behind it": ([request(0, b"x")], "behind its end"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    requests, words = REFUSED[name]
    one = login(methods=frozenset(("scram-sha-256",)) if "not allowed" in name else DEFAULT_METHODS)
    for body in requests[:-1]:
        assert not one.answer(body).done
    with pytest.raises(LoginRefused, match=words) as refused:
        one.answer(requests[-1])
    assert refused.value.fault == "server"


def test_a_second_request_after_the_answer_is_refused() -> None:
    for again in (request(5, b"salt"), request(3), request(10, ONLY_PLAIN)):
        one = login(methods=METHODS)
        one.answer(request(5, b"salt"))
        with pytest.raises(LoginRefused, match="out of order"):
            one.answer(again)


@pytest.mark.parametrize("body", [request(0), request(3), request(5, b"salt"), request(10, ONLY_PLAIN)])
def test_required_binding_is_not_done_without(body: bytes) -> None:
    one = login(binding=FINGERPRINT, require_binding=True, methods=METHODS)
    with pytest.raises(LoginRefused, match="channel binding is required"):
        one.answer(body)
    assert initial_response(login(binding=FINGERPRINT, require_binding=True).answer(request(10, BOTH)).say)[0] == scram.PLUS


@pytest.mark.parametrize("secret", [None, b"", b"a\0b"])
def test_a_credential_without_a_password_that_could_be_sent_says_so(secret: bytes | None) -> None:
    for body in (request(3), request(5, b"salt"), request(10, ONLY_PLAIN)):
        with pytest.raises(LoginRefused, match="the credential") as refused:
            Login("app", Password(secret), NONCE, methods=METHODS).answer(body)
        assert refused.value.fault == "credential"
    assert Login("app", Password(secret), NONCE).answer(request(0)).done


def test_what_a_server_says_at_each_step_is_read_byte_for_byte() -> None:
    """With one byte changed or cut off in any of its three messages no login comes to its end."""
    other = ScramServer(VERIFIER, b"s" * 18, None)
    one = login(iterations=range(4096, 4097))
    bodies = [request(10, ONLY_PLAIN)]
    mechanism, first = initial_response(one.answer(bodies[0]).say)
    bodies.append(request(11, other.first(mechanism, first)))
    bodies.append(request(12, other.final(one.answer(bodies[1]).say[5:])))
    for number, body in enumerate(bodies):
        for at in range(len(body)):
            for changed in (body[:at], body[:at] + bytes((body[at] ^ 1,)) + body[at + 1 :]):
                if changed == body:
                    continue
                with pytest.raises(LoginRefused):
                    hear([changed if which == number else said for which, said in enumerate(bodies)])


def hear(bodies: list[bytes]) -> None:
    """A login to a server that says this."""
    fresh = login(iterations=range(4096, 4097))
    for body in bodies:
        fresh.answer(body)


def test_no_text_holds_the_secret() -> None:
    one = login(methods=METHODS)
    said = [repr(one), repr(Password(SECRET)), str(vars(one))]
    for requests, _ in REFUSED.values():
        fresh = login(methods=METHODS)
        try:
            for body in requests:
                fresh.answer(body)
        except LoginRefused as refused:
            said += [str(refused), repr(refused)]
    salted = derive(SALT, 4096)
    for hidden in (SECRET, salted, scram.client_key(salted)):
        assert not any(hidden.decode("latin-1") in text or hidden.hex() in text for text in said)


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(st.binary(max_size=80), st.builds(request, st.sampled_from([0, 3, 5, 10, 11, 12]), st.binary(max_size=60)))
    )
)
def test_a_server_that_says_anything_gets_an_answer_or_a_refusal(bodies: list[bytes]) -> None:
    one = login(methods=frozenset(("scram-sha-256",)))
    for body in bodies:
        try:
            assert not one.answer(body).done
        except LoginRefused:
            continue
