"""Logins to real servers: every method, with and without TLS, passwords that are written in odd ways."""

from __future__ import annotations

import os
import socket
import ssl
import struct
from collections.abc import Callable, Iterator

import certificates
import logins
import psycopg
import pytest
import servers
import wire
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from logins import SECRET

from hostguard.protocols.postgres.binding import end_point
from hostguard.protocols.postgres.login import DEFAULT_METHODS, METHODS, Login, LoginRefused, Password


@pytest.fixture(scope="module", params=["postgres18", "postgres15"])
def postgres(request: pytest.FixtureRequest) -> Iterator[servers.Server]:
    running: servers.Server = request.getfixturevalue(request.param)
    with logins.roles(running):
        yield running


@pytest.fixture(scope="module")
def encrypted(encrypted15: servers.Server) -> Iterator[servers.Server]:
    with logins.roles(encrypted15):
        yield encrypted15


class Refused(Exception):
    """The server ended the login; holds its code."""


def log_in(server: servers.Server, user: str, make: Callable[[bytes | None], Login], tls: bool = False) -> list[int]:
    """Log in by raw messages; the codes of the server's requests. `make` gets the server's channel binding."""
    with socket.create_connection((server.host, server.port), timeout=30) as sock:
        stream: socket.socket = sock
        bound = None
        if tls:
            sock.sendall(wire.SSL_REQUEST)
            assert sock.recv(1) == b"S"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # its certificate is the test's own
            stream = context.wrap_socket(sock)
            certificate = stream.getpeercert(binary_form=True)
            assert certificate is not None
            bound = end_point(certificate)
        with stream:
            return _converse(stream, user, make(bound))


def _converse(stream: socket.socket, user: str, login: Login) -> list[int]:
    stream.sendall(wire.startup(user=user, database="postgres"))
    codes = []
    done = False
    while True:
        tag, body = _read(stream)
        if tag == b"R":
            codes.append(int.from_bytes(body[:4], "big"))
            answer = login.answer(body)
            assert not done or codes[-1] == 0
            done = answer.done
            if answer.say:
                stream.sendall(answer.say)
        elif tag == b"E":
            fields = {part[:1]: part[1:] for part in body.split(b"\0")}
            raise Refused(fields[b"C"].decode())
        elif tag == b"Z":
            assert done
            stream.sendall(wire.TERMINATE)
            return codes


def _read(stream: socket.socket) -> tuple[bytes, bytes]:
    head = _exactly(stream, 5)
    return head[:1], _exactly(stream, struct.unpack(">I", head[1:])[0] - 4)


def _exactly(stream: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = stream.recv(size - len(data))
        assert more, "the server ended the connection"
        data += more
    return data


def login_of(user: str, secret: str = SECRET, **how: object) -> Callable[[bytes | None], Login]:
    return lambda bound: Login(user, Password(secret.encode()), os.urandom(18), binding=bound, **how)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("user", "codes"), [("scrammer", [10, 11, 12, 0]), ("digester", [5, 0]), ("plain", [3, 0]), ("trusted", [0])]
)
def test_every_method(postgres: servers.Server, user: str, codes: list[int]) -> None:
    assert log_in(postgres, user, login_of(user, methods=METHODS)) == codes
    if user != "trusted":
        with pytest.raises(Refused, match="28P01"):
            log_in(postgres, user, login_of(user, "wrong", methods=METHODS))


def test_a_method_that_is_not_allowed_gets_nothing(postgres: servers.Server) -> None:
    with pytest.raises(LoginRefused, match="password"):
        log_in(postgres, "plain", login_of("plain", methods=DEFAULT_METHODS))


ODD = [
    "IX",
    "I\u00adX",  # RFC 4013 §3: soft hyphen, mapped to nothing
    "user\u00aa",  # the same: NFKC
    "\u2168",  # the same: Roman numeral nine
    "e\u0301te\u0301",
    "été",
    "ﬁne",
    "a\u00a0b",  # NO-BREAK SPACE
    "a\u200bb",  # ZERO WIDTH SPACE: a space to one table, nothing to another
    "\u200b",
    "\u00ad",  # nothing at all is left of it
    "\t tabs and \x07 bells",
    "é\tü",  # a control character beside what is not ASCII: prohibited, so taken as it is
    "pass🔑word",  # unassigned in Unicode 3.2
    "\u0627\u0644\u0645",
    "\u06271",  # from right to left, but does not end so
    "\u0627a\u0627",  # both directions
    "\u2f868 \uf951",  # characters whose normal form was corrected after Unicode 3.2
    "\ufb1d\u0340",
    "\u3000wide\u2003",
    "日本語",
    "x" * 3000 + "é",
]


@pytest.mark.parametrize("number", range(len(ODD)))
def test_passwords_are_prepared_as_the_server_prepares_them(postgres: servers.Server, number: int) -> None:
    with postgres.connect() as connection:
        connection.execute("SET password_encryption = 'scram-sha-256'")
        connection.execute(psycopg.sql.SQL("ALTER ROLE scrammer PASSWORD {}").format(psycopg.sql.Literal(ODD[number])))
        try:
            assert log_in(postgres, "scrammer", login_of("scrammer", ODD[number])) == [10, 11, 12, 0]
        finally:
            connection.execute(psycopg.sql.SQL("ALTER ROLE scrammer PASSWORD {}").format(psycopg.sql.Literal(SECRET)))


KEYS: dict[str, Callable[[], tuple[certificates.Key, dict[str, object]]]] = {
    "ECDSA with SHA-256": lambda: (ec.generate_private_key(ec.SECP256R1()), {"algorithm": hashes.SHA256()}),
    "ECDSA with SHA-384": lambda: (ec.generate_private_key(ec.SECP384R1()), {"algorithm": hashes.SHA384()}),
    "RSA with SHA-512": lambda: (rsa.generate_private_key(65537, 2048), {"algorithm": hashes.SHA512()}),
    "RSA-PSS with SHA-512": lambda: (
        rsa.generate_private_key(65537, 2048),
        {"algorithm": hashes.SHA512(), "rsa_padding": padding.PSS(padding.MGF1(hashes.SHA512()), 32)},
    ),
    "Ed25519": lambda: (ed25519.Ed25519PrivateKey.generate(), {"algorithm": None}),
}


def serve_with(server: servers.Server, kind: str) -> None:
    """Have the server show a new certificate with a key of this kind."""
    key, how = KEYS[kind]()
    made = certificates.self_signed(key, **how)
    # A process that was forked before the reload has the old one, so the new one is waited for.
    logins.show(server, made)
    for _ in range(1000):
        if shown(server) == made.der:
            return
    raise AssertionError("the server does not show its new certificate")


def shown(server: servers.Server) -> bytes | None:
    """The certificate that the server shows now; None while it speaks no TLS."""
    with socket.create_connection((server.host, server.port), timeout=30) as sock:
        sock.sendall(wire.SSL_REQUEST)
        if sock.recv(1) != b"S":
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # its certificate is the test's own
        with context.wrap_socket(sock) as stream:
            return stream.getpeercert(binary_form=True)


@pytest.mark.parametrize("kind", KEYS)
def test_the_channel_is_bound_to_whatever_certificate_the_server_has(encrypted: servers.Server, kind: str) -> None:
    serve_with(encrypted, kind)
    required = kind != "Ed25519"
    assert log_in(encrypted, "scrammer", login_of("scrammer", require_binding=required), tls=True) == [10, 11, 12, 0]


def test_a_channel_bound_to_another_certificate_is_refused_by_the_server(encrypted: servers.Server) -> None:
    serve_with(encrypted, "ECDSA with SHA-256")

    def misled(bound: bytes | None) -> Login:
        assert bound is not None
        return Login("scrammer", Password(SECRET.encode()), os.urandom(18), binding=bytes(len(bound)))

    with pytest.raises(Refused, match="28000"):
        log_in(encrypted, "scrammer", misled, tls=True)


def test_the_server_finds_out_that_its_offer_was_taken_away(encrypted: servers.Server) -> None:
    serve_with(encrypted, "ECDSA with SHA-256")

    class WithoutOffer(Login):
        def answer(self, request: bytes):  # type: ignore[no-untyped-def]
            return super().answer(request.replace(b"SCRAM-SHA-256-PLUS\0", b""))

    with pytest.raises(Refused, match="28000"):
        log_in(
            encrypted,
            "scrammer",
            lambda bound: WithoutOffer("scrammer", Password(SECRET.encode()), os.urandom(18), binding=bound),
            tls=True,
        )
