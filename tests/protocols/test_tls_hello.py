"""What is read of ClientHellos: those that real libraries send, and all that none of them would."""

from __future__ import annotations

import contextlib
import ssl
import struct
from typing import Any

import handshakes
import pytest
from handshakes import alpn, hello, records, sni, vector, versions
from hypothesis import given
from hypothesis import strategies as st

from hostguard.protocols.tls import client_hello, server_hello
from hostguard.protocols.tls.client_hello import ClientHello, parse
from hostguard.protocols.tls.fingerprint import ja4
from hostguard.protocols.tls.records import MAX_MESSAGE_BYTES, Malformed, Records

GREASE = 0x1A1A


def read(data: bytes, piece: int = 0) -> ClientHello:
    """Through records, in pieces of so many bytes."""
    said = Records()
    for at in range(0, len(data), piece or len(data)):
        said.feed(data[at : at + (piece or len(data))])
        while (record := said.next()) is not None:
            message = said.collect(record[1])
            if message is not None:
                assert said.take() == data
                return parse(message)
    raise AssertionError("not whole")


@pytest.mark.parametrize("protocols", [(), ("h2", "http/1.1"), ("http/1.0",)])
@pytest.mark.parametrize("highest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_openssls_hello(protocols: tuple[str, ...], highest: ssl.TLSVersion) -> None:
    found = read(handshakes.client(*protocols, highest=highest).step())
    assert found.server_name == "api.example.com"
    assert found.protocols == tuple(protocol.encode() for protocol in protocols)
    assert found.version == int(highest)
    assert not found.hides_name
    assert found.signatures


def test_scapy_reads_the_same() -> None:
    """An oracle: another parser of the same bytes."""
    from scapy.layers.tls.handshake import TLSClientHello  # slow to import

    data = handshakes.client("h2", "http/1.1").step()
    scapys: Any = TLSClientHello
    found, other = read(data), scapys(data[5:])
    kinds = [extension.type for extension in other.ext]
    assert (list(found.ciphers), list(found.extensions)) == (other.ciphers, kinds)
    names = next(extension for extension in other.ext if extension.type == 0).servernames
    assert [name.servername.decode() for name in names] == [found.server_name]


@pytest.mark.parametrize("size", [1, 2, 3, 100, 1 << 14])
def test_a_hello_in_records_of_any_size_cut_anywhere(size: int) -> None:
    message = hello([sni(b"API.Example.com"), alpn(b"h2"), versions(0x0304, 0x0303)])
    data = records(message, size)
    for piece in (0, 1, 5, 7):
        found = read(data, piece)
        assert (found.server_name, found.protocols, found.version) == ("api.example.com", (b"h2",), 0x0304)


def test_grease_is_nothing() -> None:
    message = hello(
        [(GREASE, b""), sni(b"a.b"), versions(GREASE, 0x0304), alpn(struct.pack(">H", GREASE), b"h2"), (0x2A2A, b"\0")],
        ciphers=(GREASE, 0x1301),
    )
    found = parse(message)
    assert (found.version, found.protocols) == (0x0304, (b"h2",))
    assert ja4(found) == ja4(parse(hello([sni(b"a.b"), versions(0x0304), alpn(b"h2")])))


def test_without_extensions_there_is_no_name() -> None:
    for message in (hello(None), hello([])):
        found = parse(message)
        assert (found.server_name, found.protocols, found.version) == ("", (), 0x0303)


@pytest.mark.parametrize("kind", [0xFE0D, 0xFE08, 0xFFCE])
def test_a_name_that_is_hidden_is_seen_to_be(kind: int) -> None:
    assert parse(hello([sni(b"public.example"), (kind, b"\0\1\2")])).hides_name


@pytest.mark.parametrize(
    "message",
    [
        hello([sni(b"a.b"), sni(b"c.d")]),
        hello([(0, b"")]),
        hello([(0, vector(2, b""))]),
        hello([sni(b"")]),
        hello([(0, vector(2, b"\1" + vector(2, b"a.b")))]),
        hello([(0, vector(2, b"\0" + vector(2, b"a.b") + b"\0" + vector(2, b"c.d")))]),
        hello([(0, vector(2, b"\0" + vector(2, b"a.b")) + b"more")]),
        hello([alpn(b"h2", b"")]),
        hello([(16, vector(2, vector(1, b"h2")) + b"more")]),
        hello([(43, b"\1\3")]),
        hello([versions(GREASE)]),
        hello([], ciphers=()),
        hello([], compression=b""),
        hello([], session=bytes(33)),
        hello([]) + b"\1",
        hello([]) + hello([sni(b"evil.example")]),
        b"\2" + hello([])[1:],
        hello(None)[:1] + vector(3, hello(None)[4:] + b"\0\5abcd"),
        hello([])[:1] + vector(3, hello([])[4:] + b"left over"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(message: bytes) -> None:
    with pytest.raises(Malformed):
        read(records(message))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "no TLS: the first byte of a record is 0x47"),
        (b"\x80\x2e\x01\x03\x01", "no TLS: the first byte of a record is 0x80"),
        (b"\x16\x02", "no TLS: a record of version 2"),
        (b"\x16\x03\x01\0\0", "an empty record"),
        (b"\x16\x03\x01\x40\x01", "a record of 16385 bytes"),
        (b"\x16\x03\x01\0\4\1" + (MAX_MESSAGE_BYTES + 1).to_bytes(3), "a message of 65537 bytes, more than 65536"),
        (records(hello([]), 20)[:25] + b"\x14\x03\x03\0\1\1", "a record of another type within a message"),
    ],
)
def test_what_is_no_hello_is_refused_as_soon_as_that_can_be_seen(data: bytes, said: str) -> None:
    with pytest.raises(Malformed, match=said):
        read(data, 1)


def test_ja4_as_its_authors_have_it() -> None:
    """The example of their technical details."""
    ciphers = (0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8, 0xC013, 0xC014, 0x9C, 0x9D, 0x2F, 0x35)
    kinds = (0x1B, 0x0, 0x33, 0x10, 0x4469, 0x17, 0x2D, 0xD, 0x5, 0x23, 0x12, 0x2B, 0xFF01, 0xB, 0xA, 0x15)
    signatures = (0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601)
    found = ClientHello("a.b", (b"h2", b"http/1.1"), 0x0304, False, (0x2A2A, *ciphers), (0x3A3A, *kinds), signatures)
    assert ja4(found) == "t13d1516h2_8daaf6152771_e5627efa2ab1"
    bare = ClientHello("", (), 0x0303, False, (), (), ())
    assert ja4(bare) == "t12i000000_000000000000_000000000000"


@given(st.binary(max_size=200))
def test_any_bytes_are_a_hello_or_malformed(data: bytes) -> None:
    for parser in (client_hello.parse, server_hello.parse):
        for message in (data, b"\1" + vector(3, data), b"\2" + vector(3, data)):
            with contextlib.suppress(Malformed):
                parser(message)


WHOLE = hello([sni(b"api.example.com"), alpn(b"h2", b"http/1.1"), versions(0x0304)], session=bytes(32))


@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255), st.integers(0, len(WHOLE)))
def test_a_damaged_hello_is_a_hello_or_malformed(at: int, byte: int, size: int) -> None:
    damaged = WHOLE[:at] + bytes([byte]) + WHOLE[at + 1 :]
    for message in (damaged, WHOLE[:size]):
        with contextlib.suppress(Malformed):
            assert isinstance(parse(message), ClientHello)


@given(
    name=st.text("abcdefghijklmnopqrstuvwxyz0123456789-.", min_size=1, max_size=80),
    protocols=st.lists(st.binary(min_size=1, max_size=9), max_size=4),
    size=st.integers(1, 300),
)
def test_what_is_written_is_read(name: str, protocols: list[bytes], size: int) -> None:
    said = [sni(name.encode()), alpn(*protocols)] if protocols else [sni(name.encode())]
    found = read(records(hello(said), size), 11)
    known = [one for one in protocols if not (len(one) == 2 and client_hello.is_grease(int.from_bytes(one)))]
    assert (found.server_name, list(found.protocols)) == (name, known)
