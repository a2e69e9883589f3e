"""Sessions of TLS over memory: the same plain bytes however the wire cuts them, and an end for whatever is no TLS."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import ssl
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator

import pytest
from certificates import Authority, Certificate
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from hostguard.agent.leaves import Leaf, Roots
from hostguard.agent.messages import Tls
from hostguard.agent.tls.agents import Reception, Shown
from hostguard.agent.tls.ends import MAX_OWED_BYTES, End, Transport
from hostguard.agent.tls.material import Material
from hostguard.agent.tls.servers import Dialling
from hostguard.agent.tls.session import Session, TlsFault
from hostguard.policy.credential_sections import ServerTls

ALPN = "postgresql"
AUTHORITY = Authority()
RECEPTION = Reception(ALPN)


def shown(certificate: Certificate) -> Shown:
    return RECEPTION.read(Leaf("shop", certificate.chain, certificate.key, 0.0))


GOOD = shown(AUTHORITY.issue("db.test", "127.0.0.1"))
DIALLING = Dialling(AUTHORITY.pem, ALPN)
Cut = Callable[[bytes], Iterator[bytes]]


def whole(data: bytes) -> Iterator[bytes]:
    yield data


def bytewise(data: bytes) -> Iterator[bytes]:
    return (data[at : at + 1] for at in range(len(data)))


def hear(session: Session, data: bytes, cut: Cut = whole) -> tuple[bytes, bytes]:
    """What pieces of `data` come to in all: (plain, what goes back)."""
    plain, back = b"", b""
    for piece in cut(data):
        more, out = session.receive(piece)
        plain, back = plain + more, back + out
    return plain, back


def shake(server: Session, client: Session, cut: Cut = whole) -> tuple[Session, Session]:
    """Both sides, after a handshake."""
    out = client.begin()
    while out:
        _, back = hear(server, out, cut)
        _, out = hear(client, back, cut)
    assert server.established
    assert client.established
    return server, client


def pair(
    mode: ServerTls = "verify-full", name: str = "db.test", cut: Cut = whole, dialling: Dialling = DIALLING
) -> tuple[Session, Session]:
    return shake(RECEPTION.session(GOOD), dialling.session(mode, name), cut)


@pytest.mark.parametrize("cut", [whole, bytewise])
def test_what_one_side_says_the_other_hears_however_it_is_cut(cut: Cut) -> None:
    server, client = pair(cut=cut)
    for words in (b"x", b"words" * 4000):
        assert hear(server, client.send(words), cut) == (words, b"")
        assert hear(client, server.send(words), cut) == (words, b"")
    assert (server.ended, client.ended) == (False, False)
    hear(server, client.close(), cut)
    assert (server.ended, client.ended) == (True, False)
    hear(client, server.close(), cut)
    assert client.ended
    assert server.receive(b"more") == (b"", b"")


@pytest.mark.parametrize("first", ["server", "client"])
def test_the_end_is_heard_by_a_side_that_has_not_ended(first: str) -> None:
    server, client = pair()
    ends, hears = (server, client) if first == "server" else (client, server)
    last = ends.send(b"last words") + ends.close()
    assert hears.receive(last) == (b"last words", b"")
    assert hears.ended
    assert not ends.ended


def test_both_sides_know_what_was_agreed_on() -> None:
    server, client = pair()
    assert (server.facts.version, server.facts.alpn, server.facts.name) == ("TLSv1.3", ALPN, "db.test")
    assert (client.facts.version, client.facts.alpn, client.facts.name) == ("TLSv1.3", ALPN, "db.test")
    assert server.facts.cipher == client.facts.cipher
    assert server.facts.certificate == client.facts.certificate == GOOD.der


@settings(max_examples=25, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=40_000), min_size=1, max_size=6), st.data())
def test_records_may_come_in_any_pieces(words: list[bytes], data: st.DataObject) -> None:
    server, client = pair()
    wire = b"".join(map(client.send, words))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(wire)), max_size=8)) | {0, len(wire)})
    plain, _ = hear(server, wire, lambda whole: (whole[a:b] for a, b in itertools.pairwise(cuts)))
    assert plain == b"".join(words)


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=600), st.booleans())
def test_any_bytes_in_place_of_a_handshake_end_it_or_are_not_enough(junk: bytes, to_server: bool) -> None:
    session = RECEPTION.session(GOOD) if to_server else DIALLING.session("verify-full", "db.test")
    if not to_server:
        session.begin()
    try:
        assert session.receive(junk)[0] == b""
    except TlsFault:
        assert session.broken
        assert session.receive(b"more") == (b"", b"")
    assert not session.established
    assert session.send(b"words") == session.close() == b""


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_byte_that_is_another_breaks_the_session_with_an_alert(at: int, flip: int) -> None:
    server, client = pair()
    wire = bytearray(client.send(b"words" * 10))
    # Not the record's length: with another one, more is waited for.
    at = at % (len(wire) - 5) + 5
    wire[at] ^= flip
    with pytest.raises(TlsFault, match="the agent's TLS is broken") as fault:
        server.receive(bytes(wire))
    assert fault.value.alert
    assert server.send(b"words") == b""


@pytest.mark.parametrize(
    ("certificate", "words"),
    [
        (AUTHORITY.issue("db.test", begins=-5), "its certificate has expired"),
        (AUTHORITY.issue("db.test", begins=5), "its certificate is not valid yet"),
        (AUTHORITY.issue("other.test"), r"its certificate is not for db\.test"),
        (Authority("another").issue("db.test"), "an authority that hostguard does not trust"),
    ],
)
def test_a_server_that_can_not_be_verified_ends_the_handshake_with_an_alert(certificate: Certificate, words: str) -> None:
    server, client = RECEPTION.session(shown(certificate)), DIALLING.session("verify-full", "db.test")
    _, back = server.receive(client.begin())
    with pytest.raises(TlsFault, match=words) as fault:
        client.receive(back)
    with pytest.raises(TlsFault, match="no TLS with the agent"):
        server.receive(fault.value.alert)


def test_less_than_verify_full_asks_for_less() -> None:
    pair("verify-ca", "other.test")
    pair("require", "", dialling=Dialling("", ALPN))
    with pytest.raises(TlsFault, match="does not trust"):
        pair("verify-ca", "", dialling=Dialling(Authority("another").pem, ALPN))


def older(version: ssl.TLSVersion) -> Session:
    """A client with this version of TLS alone."""
    dialling = Dialling(AUTHORITY.pem, ALPN)
    dialling.session("require", "")
    context = dialling._contexts["require"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")
    return dialling.session("require", "")


def test_tls_1_2_is_the_oldest_that_is_spoken() -> None:
    server, client = shake(RECEPTION.session(GOOD), older(ssl.TLSVersion.TLSv1_2))
    assert client.facts.version == server.facts.version == "TLSv1.2"
    assert "ECDHE" in server.facts.cipher
    with pytest.raises(TlsFault, match=r"it offers no version of TLS from 1\.2 on"):
        RECEPTION.session(GOOD).receive(older(ssl.TLSVersion.TLSv1_1).begin())


def test_nothing_is_renegotiated_and_no_ticket_given() -> None:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    client, server = SSL.Connection(context, None), RECEPTION.session(GOOD)
    client.set_connect_state()
    heard = drive(client, server)
    # NewSessionTicket (RFC 5077 §3.3) would be a handshake message of type 4 beside Finished.
    assert b"\x16\x03\x03\x00" not in heard[-1][60:]
    client.renegotiate()
    with pytest.raises(SSL.Error, match="no renegotiation"):
        drive(client, server)


def drive(client: SSL.Connection, server: Session) -> list[bytes]:
    """A handshake with a client of pyOpenSSL's; what the server said in it."""
    heard = []
    while True:
        try:
            client.do_handshake()
        except SSL.WantReadError:
            _, back = server.receive(client.bio_read(65536))
            heard.append(back)
            client.bio_write(back)
        else:
            return heard


def test_a_client_that_offers_other_protocols_meant_another_service() -> None:
    with pytest.raises(TlsFault, match=r"it offers protocols \(ALPN\), but not postgresql"):
        RECEPTION.session(GOOD).receive(Dialling("", "h2").session("require", "").begin())


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["h2", ALPN, "http/1.1"], ALPN),
        (["postgresq", "postgresqll", ALPN], ALPN),
        (["x" * 255, ALPN], ALPN),
        (["postgresq", "postgresqll"], None),
        (["POSTGRESQL"], None),
    ],
)
def test_a_protocol_is_chosen_by_its_whole_name(offered: list[str], chosen: str | None) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(offered)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client, server = context.wrap_bio(incoming, outgoing), RECEPTION.session(GOOD)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    if chosen is None:
        with pytest.raises(TlsFault, match="but not postgresql"):
            server.receive(outgoing.read())
    else:
        incoming.write(server.receive(outgoing.read())[1])
        client.do_handshake()
        server.receive(outgoing.read())
        assert client.selected_alpn_protocol() == server.facts.alpn == chosen


NO_NEW_CODE = """
import ctypes
assert ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) == 0  # PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN (Linux 6.3)
from OpenSSL import SSL
try:
    SSL.Context(SSL.TLS_SERVER_METHOD).set_alpn_select_callback(lambda *_: b"")
except MemoryError:
    from hostguard.agent.tls.agents import Reception
    Reception("postgresql")
    print("chosen without")
"""


def test_it_takes_no_memory_that_is_written_and_executed() -> None:
    """As MemoryDenyWriteExecute= of the unit demands, under which the library's own way fails."""
    done = subprocess.run([sys.executable, "-c", NO_NEW_CODE], capture_output=True, text=True, check=True)
    assert done.stdout == "chosen without\n", done.stderr


def test_material_keeps_what_did_not_change_and_forgets_what_is_gone() -> None:
    material = Material(ALPN)
    first = AUTHORITY.issue("db.test")
    leaf = Leaf("shop", first.chain, first.key, 1.0)
    material.take(Tls((leaf,), (Roots(("shop",), AUTHORITY.pem),)))
    kept = material.shown("shop")
    material.take(Tls((leaf, Leaf("other", first.chain, first.key, 1.0)), ()))
    assert material.shown("shop") is kept
    assert material.shown("other") is not None
    material.take(Tls((), ()))
    assert material.shown("shop") is None
    with pytest.raises(TlsFault, match="nobody can vouch for it"):
        material.dialling("shop").session("verify-full", "db.test")


def test_each_resource_shows_its_own_certificate_and_a_renewed_one_from_the_next_session_on() -> None:
    material = Material(ALPN)
    certificates = [AUTHORITY.issue("db.test") for _ in range(3)]
    one, two, renewed = (Leaf("two" if at == 1 else "one", each.chain, each.key, 1.0) for at, each in enumerate(certificates))

    def session(resource: str) -> tuple[Session, Session]:
        found = material.shown(resource)
        assert found is not None
        return shake(material.reception.session(found), DIALLING.session("verify-full", "db.test"))

    material.take(Tls((one, two), ()))
    before = session("one")
    seen = [before[1].facts.certificate, session("two")[1].facts.certificate]
    material.take(Tls((renewed, two), ()))
    seen += [session("one")[1].facts.certificate, session("two")[1].facts.certificate]
    assert seen[1] == seen[3]
    assert len(set(seen)) == 3
    assert before[1].receive(before[0].send(b"it goes on")) == (b"it goes on", b"")


def test_each_resource_believes_its_own_roots_and_renewed_ones_from_the_next_session_on() -> None:
    other = Authority()
    material = Material(ALPN)

    def takes(resource: str, authority: Authority) -> bool:
        server = RECEPTION.session(shown(authority.issue("db.test")))
        with contextlib.suppress(TlsFault):
            shake(server, material.dialling(resource).session("verify-full", "db.test"))
            return True
        return False

    def all_of(resource: str) -> list[bool]:
        return [takes(resource, authority) for authority in (AUTHORITY, other)]

    material.take(Tls((), (Roots(("one",), AUTHORITY.pem), Roots(("two",), other.pem))))
    assert (all_of("one"), all_of("two")) == ([True, False], [False, True])
    material.take(Tls((), (Roots(("one", "two"), other.pem),)))
    assert (all_of("one"), all_of("two")) == ([False, True], [False, True])


@pytest.mark.parametrize("roots", ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "words"])
def test_roots_that_are_none_and_names_that_are_none_are_told(roots: str) -> None:
    with pytest.raises(TlsFault, match="server_roots holds no certificate"):
        Dialling(roots, ALPN).session("verify-ca", "")
    with pytest.raises(TlsFault, match="no name that a certificate can be for"):
        DIALLING.session("verify-full", "a..b")


class Wire(asyncio.Transport):
    """A connection whose peer takes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def get_write_buffer_size(self) -> int:
        return len(self.written)

    def is_closing(self) -> bool:
        return False


def test_a_peer_that_takes_none_of_the_answers_that_it_asks_for_is_cut_off() -> None:
    wire, faults = Wire(), list[str]()
    transport = Transport(wire, RECEPTION.session(GOOD))
    end = End(transport, asyncio.Protocol(), lambda: None, lambda fault: faults.append(str(fault)))
    hello = DIALLING.session("verify-full", "db.test").begin()
    wire.written = bytes(MAX_OWED_BYTES)
    end.data_received(hello)
    assert faults == ["it takes none of the answers that it asks for"]
