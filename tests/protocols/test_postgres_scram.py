"""SCRAM-SHA-256, client against server: what each accepts, what neither does."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from functools import cache

import pytest
from certificates import self_signed
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from hostguard.protocols.postgres import scram
from hostguard.protocols.postgres.binding import end_point
from hostguard.protocols.postgres.scram import PLAIN, PLUS, ScramFault
from hostguard.protocols.postgres.scram_client import ScramClient
from hostguard.protocols.postgres.scram_server import ScramServer

CLIENT_NONCE, SERVER_NONCE = b"c" * 18, b"s" * 18
SALT = b"0123456789abcdef"
FINGERPRINT = hashlib.sha256(b"certificate").digest()
VERIFIER = scram.verifier(b"pencil", SALT)
Meddle = Callable[[int, bytes], bytes]
"""Somebody in the middle: number of the message, from 0, to what arrives of it."""


@cache
def derive(salt: bytes, iterations: int) -> bytes:
    return scram.derive(b"pencil", salt, iterations)


def client(binding: bytes | None = None, *, plus: bool = False, iterations: range = scram.ITERATIONS) -> ScramClient:
    return ScramClient(derive, CLIENT_NONCE, binding, plus=plus, iterations=iterations)


def server(binding: bytes | None = None) -> ScramServer:
    return ScramServer(VERIFIER, SERVER_NONCE, binding)


def exchange(one: ScramClient, other: ScramServer, meddle: Meddle = lambda _number, message: message) -> None:
    """A whole exchange; returns when both sides are content."""
    server_first = other.first(one.mechanism, meddle(0, one.first()))
    client_final = one.final(meddle(1, server_first))
    one.verify(meddle(3, other.final(meddle(2, client_final))))


def test_the_vector_of_rfc_7677() -> None:
    first_bare = b"n=user,r=rOprNGfwEbeRWgbNEkqO"
    nonce = b"rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    server_first = b"r=" + nonce + b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    messages = first_bare, server_first, b"c=biws,r=" + nonce
    salted = scram.derive(b"pencil", base64.b64decode(b"W22ZaJ0SNY7soEsUEjb6gQ=="), 4096)
    key = scram.client_key(salted)
    proof = scram.xor(key, scram.signature(scram.stored_key(key), messages))
    assert scram.encode(proof) == b"dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    assert scram.encode(scram.signature(scram.server_key(salted), messages)) == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


@pytest.mark.parametrize(
    ("ours", "theirs", "plus", "mechanism", "flag"),
    [
        (None, None, False, PLAIN, b"n,,"),
        (FINGERPRINT, None, False, PLAIN, b"y,,"),
        (None, FINGERPRINT, True, PLAIN, b"n,,"),
        (FINGERPRINT, FINGERPRINT, True, PLUS, b"p=tls-server-end-point,,"),
    ],
)
def test_both_sides_agree(ours: bytes | None, theirs: bytes | None, plus: bool, mechanism: bytes, flag: bytes) -> None:
    one = client(ours, plus=plus)
    assert one.mechanism == mechanism
    assert one.first().startswith(flag)
    exchange(one, server(theirs))


def test_a_server_offers_binding_only_where_there_is_something_to_bind_to() -> None:
    assert server().mechanisms == (PLAIN,)
    assert server(FINGERPRINT).mechanisms == (PLUS, PLAIN)


def meddlings() -> Iterator[tuple[str, Meddle]]:
    """Each byte of each message changed in three ways, each message cut at each byte."""
    longest = 200
    for number in range(4):
        for at in range(longest):
            for bits in (1, 0x20, 0x80):

                def changed(which: int, message: bytes, number: int = number, at: int = at, bits: int = bits) -> bytes:
                    if which != number or at >= len(message):
                        return message
                    return message[:at] + bytes((message[at] ^ bits,)) + message[at + 1 :]

                yield f"message {number}, byte {at}, bits {bits:#x}", changed

            def cut(which: int, message: bytes, number: int = number, at: int = at) -> bytes:
                return message[:at] if which == number else message

            yield f"message {number}, cut to {at}", cut


@pytest.mark.parametrize("binding", [None, FINGERPRINT], ids=["not bound", "bound"])
def test_no_byte_can_be_changed_or_cut_off_unnoticed(binding: bytes | None) -> None:
    tried = 0
    for name, meddle in meddlings():
        touched = False

        def watched(number: int, message: bytes, meddle: Meddle = meddle) -> bytes:
            nonlocal touched
            arrived = meddle(number, message)
            touched |= arrived != message
            return arrived

        one = client(binding, plus=binding is not None, iterations=range(4096, 4097))
        try:
            exchange(one, server(binding), watched)
        except ScramFault:
            tried += 1
            continue
        assert not touched, name
    assert tried > 1000


def test_a_wrong_password_is_refused_with_postgresqls_code() -> None:
    one = ScramClient(
        lambda salt, count: scram.derive(b"pen", salt, count), CLIENT_NONCE, None, plus=False, iterations=scram.ITERATIONS
    )
    with pytest.raises(ScramFault, match="password authentication failed") as refused:
        exchange(one, server())
    assert refused.value.code == b"28P01"


def test_a_server_that_does_not_know_the_password_is_found_out() -> None:
    forged = ScramServer(scram.Verifier(SALT, 4096, VERIFIER.stored_key, b"k" * 32), SERVER_NONCE, None)
    with pytest.raises(ScramFault, match="does not know the password"):
        exchange(client(), forged)


def test_a_proof_over_another_nonce_is_refused_though_the_password_is_right() -> None:
    one, other = client(), server()
    server_first = other.first(PLAIN, one.first())
    without_proof = b"c=biws,r=" + scram.encode(CLIENT_NONCE) + b"another"
    key = scram.client_key(derive(SALT, 4096))
    signed = scram.signature(VERIFIER.stored_key, (one.first()[3:], server_first, without_proof))
    with pytest.raises(ScramFault, match="nonce does not match"):
        other.final(without_proof + b",p=" + scram.encode(scram.xor(key, signed)))


def test_another_certificate_in_between_is_found_out() -> None:
    with pytest.raises(ScramFault, match="channel binding check failed"):
        exchange(client(hashlib.sha256(b"another").digest(), plus=True), server(FINGERPRINT))


def test_an_offer_of_binding_that_was_taken_out_is_found_out() -> None:
    with pytest.raises(ScramFault, match="negotiation error"):
        exchange(client(FINGERPRINT, plus=False), server(FINGERPRINT))


FIRST = b"n=,r=abcdefgh"
REFUSED_FIRST = {
    "an unknown mechanism": (b"SCRAM-SHA-1", b"n,," + FIRST, b"08P01"),
    "the better mechanism without its binding": (PLUS, b"n,," + FIRST, b"28000"),
    "the better mechanism, not bound on purpose": (PLUS, b"y,," + FIRST, b"28000"),
    "a binding under the lesser mechanism": (PLAIN, b"p=tls-server-end-point,," + FIRST, b"28000"),
    "another type of binding": (PLUS, b"p=tls-unique,," + FIRST, b"28000"),
    "an unknown flag": (PLAIN, b"x,," + FIRST, b"08P01"),
    "an empty flag": (PLAIN, b",," + FIRST, b"08P01"),
    "another identity": (PLAIN, b"n,a=admin," + FIRST, b"0A000"),
    "a mandatory extension": (PLAIN, b"n,,m=more," + FIRST, b"0A000"),
    "no header": (PLAIN, FIRST, b"08P01"),
    "no nonce": (PLAIN, b"n,,n=", b"08P01"),
    "an empty nonce": (PLAIN, b"n,,n=,r=", b"08P01"),
    "a nonce that is not printable": (PLAIN, b"n,,n=,r=a b", b"08P01"),
    "nothing": (PLAIN, b"", b"08P01"),
}


@pytest.mark.parametrize("name", REFUSED_FIRST)
def test_a_server_refuses(name: str) -> None:
    mechanism, message, code = REFUSED_FIRST[name]
    with pytest.raises(ScramFault) as refused:
        server(FINGERPRINT).first(mechanism, message)
    assert refused.value.code == code


def test_extensions_that_a_client_may_leave_unsaid_are_signed_with_the_rest() -> None:
    one, other = client(), server()
    server_first = other.first(PLAIN, one.first() + b",x=more")
    with pytest.raises(ScramFault, match="password authentication failed"):
        other.final(one.final(server_first))


NONCE = scram.encode(CLIENT_NONCE)
REFUSED_CONTINUE = {
    "a nonce of its own": (b"r=abcdefgh,s=MDEy,i=4096", "does not continue"),
    "our nonce alone": (b"r=%b,s=MDEy,i=4096" % NONCE, "does not continue"),
    "a salt that is not base64": (b"r=%bx,s=MDE,i=4096" % NONCE, "the salt is not base64"),
    "a salt spelt in another way": (b"r=%bx,s=MDF=,i=4096" % NONCE, "the salt is not base64"),
    "no salt": (b"r=%bx,s=,i=4096" % NONCE, "the salt is empty"),
    "a count below the limit": (b"r=%bx,s=MDEy,i=4095" % NONCE, "4096 to 1000000 are allowed"),
    "a thousand million rounds": (b"r=%bx,s=MDEy,i=1000000000" % NONCE, "4096 to 1000000 are allowed"),
    "more digits than are read": (b"r=%bx,s=MDEy,i=%b" % (NONCE, b"9" * 5000), "invalid iteration count"),
    "no rounds": (b"r=%bx,s=MDEy,i=0" % NONCE, "invalid iteration count"),
    "a sign": (b"r=%bx,s=MDEy,i=+4096" % NONCE, "invalid iteration count"),
    "an extension": (b"r=%bx,s=MDEy,i=4096,x=y" % NONCE, "behind its last attribute"),
    "a mandatory extension": (b"m=more,r=%bx,s=MDEy,i=4096" % NONCE, 'attribute "r" expected'),
    "an error": (b"e=other-error", "attribute is missing"),
    "nothing": (b"", "attribute is missing"),
}


@pytest.mark.parametrize("name", REFUSED_CONTINUE)
def test_a_client_refuses(name: str) -> None:
    message, words = REFUSED_CONTINUE[name]

    def derive_nothing(_salt: bytes, _iterations: int) -> bytes:
        raise AssertionError("work was done for a message that is refused")

    one = ScramClient(derive_nothing, CLIENT_NONCE, None, plus=False, iterations=scram.ITERATIONS)
    with pytest.raises(ScramFault, match=words):
        one.final(message)


def test_an_error_in_the_place_of_the_servers_proof_is_told() -> None:
    one = client()
    one.final(server().first(PLAIN, one.first()))
    with pytest.raises(ScramFault, match=r"ended the SCRAM exchange: invalid-proof\?$"):
        one.verify(b"e=invalid-proof\n")


@settings(deadline=None)
@given(st.binary(max_size=120), st.binary(max_size=120))
def test_random_bytes_are_refused_by_name(first: bytes, final: bytes) -> None:
    for mechanism in (PLAIN, PLUS):
        other = server(FINGERPRINT)
        try:
            other.first(mechanism, first)
            other.final(final)
        except ScramFault:
            continue
        raise AssertionError("random bytes logged in")
    one = client()
    server_first = server().first(PLAIN, one.first())
    one.final(server_first)
    for refuse, data in ((client().final, first), (one.verify, final)):
        with pytest.raises(ScramFault):
            refuse(data)


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from([b"n", b"y", b"p=tls-server-end-point", b"", b"n=", b"r=abc", b"m=x", b"c=biws", b"p=AAAA"]), max_size=8
    )
)
def test_words_of_the_grammar_in_any_order_are_read_or_refused(words: list[bytes]) -> None:
    for mechanism in (PLAIN, PLUS):
        other = server(FINGERPRINT)
        try:
            other.first(mechanism, b",".join(words))
        except ScramFault:
            continue
        with pytest.raises(ScramFault):
            other.final(b",".join(words))


def test_a_certificate_is_bound_to_by_the_hash_of_its_signature() -> None:
    curve = ec.generate_private_key(ec.SECP256R1())
    large = rsa.generate_private_key(65537, 2048)
    pss = padding.PSS(padding.MGF1(hashes.SHA512()), 32)
    for made, name in (
        (self_signed(curve, algorithm=hashes.SHA256()), "sha256"),
        (self_signed(curve, algorithm=hashes.SHA384()), "sha384"),
        (self_signed(curve, algorithm=hashes.SHA3_256()), "sha3_256"),
        (self_signed(large, algorithm=hashes.SHA512()), "sha512"),
        (self_signed(large, algorithm=hashes.SHA512(), rsa_padding=pss), "sha512"),
    ):
        assert end_point(made.der) == hashlib.new(name, made.der).digest(), name
    assert end_point(self_signed(ed25519.Ed25519PrivateKey.generate(), algorithm=None).der) is None
    with pytest.raises(ValueError):  # noqa: PT011 (its text is the library's)
        end_point(b"no certificate")
