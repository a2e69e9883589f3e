"""Logins to real servers: every method, with and without TLS, passwords that are written in odd ways."""

from __future__ import annotations

import datetime
import os
import shutil
import socket
import ssl
import struct
from collections.abc import Callable, Iterator

import psycopg
import pytest
import servers
import wire
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from hostguard.protocols.postgres.binding import end_point
from hostguard.protocols.postgres.login import DEFAULT_METHODS, METHODS, Login, LoginRefused, Password

SECRET = "correct horse battery staple"
HBA = """
host all postgres 127.0.0.1/32 trust
host all cleartext 127.0.0.1/32 password
host all digest 127.0.0.1/32 md5
host all scram 127.0.0.1/32 scram-sha-256
host all trusted 127.0.0.1/32 trust
"""
ROLES = """
SET password_encryption = 'scram-sha-256';
CREATE ROLE cleartext LOGIN PASSWORD 'correct horse battery staple';
CREATE ROLE scram LOGIN PASSWORD 'correct horse battery staple';
CREATE ROLE trusted LOGIN;
SET password_encryption = 'md5';
CREATE ROLE digest LOGIN PASSWORD 'correct horse battery staple';
"""


@pytest.fixture(scope="module", params=[18, 15])
def postgres(request: pytest.FixtureRequest) -> Iterator[servers.Server]:
    with servers.server(request.param) as running:
        with running.connect() as connection:
            connection.execute(ROLES)
        (running.folder / "data" / "pg_hba.conf").write_text(HBA)
        with running.connect() as connection:
            connection.execute("SELECT pg_reload_conf()")
        yield running


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
    ("user", "codes"), [("scram", [10, 11, 12, 0]), ("digest", [5, 0]), ("cleartext", [3, 0]), ("trusted", [0])]
)
def test_every_method(postgres: servers.Server, user: str, codes: list[int]) -> None:
    assert log_in(postgres, user, login_of(user, methods=METHODS)) == codes
    if user != "trusted":
        with pytest.raises(Refused, match="28P01"):
            log_in(postgres, user, login_of(user, "wrong", methods=METHODS))


def test_a_method_that_is_not_allowed_gets_nothing(postgres: servers.Server) -> None:
    with pytest.raises(LoginRefused, match="password"):
        log_in(postgres, "cleartext", login_of("cleartext", methods=DEFAULT_METHODS))


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
        connection.execute(psycopg.sql.SQL("ALTER ROLE scram PASSWORD {}").format(psycopg.sql.Literal(ODD[number])))
        try:
            assert log_in(postgres, "scram", login_of("scram", ODD[number])) == [10, 11, 12, 0]
        finally:
            connection.execute(psycopg.sql.SQL("ALTER ROLE scram PASSWORD {}").format(psycopg.sql.Literal(SECRET)))


KEYS: dict[
    str, Callable[[], tuple[rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, dict[str, object]]]
] = {
    "ECDSA with SHA-256": lambda: (ec.generate_private_key(ec.SECP256R1()), {"algorithm": hashes.SHA256()}),
    "ECDSA with SHA-384": lambda: (ec.generate_private_key(ec.SECP384R1()), {"algorithm": hashes.SHA384()}),
    "RSA with SHA-512": lambda: (rsa.generate_private_key(65537, 2048), {"algorithm": hashes.SHA512()}),
    "RSA-PSS with SHA-512": lambda: (
        rsa.generate_private_key(65537, 2048),
        {"algorithm": hashes.SHA512(), "rsa_padding": padding.PSS(padding.MGF1(hashes.SHA512()), 32)},
    ),
    "Ed25519": lambda: (ed25519.Ed25519PrivateKey.generate(), {"algorithm": None}),
}


@pytest.fixture(scope="module")
def encrypted() -> Iterator[servers.Server]:
    """PostgreSQL 15: the wheel's 18 is built without TLS."""
    with servers.server(15) as running:
        with running.connect() as connection:
            connection.execute(ROLES)
        (running.folder / "data" / "pg_hba.conf").write_text(HBA)
        yield running


def serve_with(server: servers.Server, kind: str) -> None:
    """Have the server show a new certificate with a key of this kind."""
    key, how = KEYS[kind]()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "db.test")])
    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(start)
    signed = builder.not_valid_after(start + datetime.timedelta(days=2)).sign(key, **how)  # type: ignore[arg-type]
    folder = server.folder / "data"
    (folder / "server.crt").write_bytes(signed.public_bytes(Encoding.PEM))
    (folder / "server.key").touch(0o600)
    (folder / "server.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    if os.geteuid() == 0:
        shutil.chown(folder / "server.key", "postgres")
    # A reload takes a moment and a process that was forked before has the old one, so the whole certificate is waited for.
    with server.connect(sslmode="disable") as connection:
        connection.execute("ALTER SYSTEM SET ssl = on")
        connection.execute("SELECT pg_reload_conf()")
    wanted = signed.public_bytes(Encoding.DER)
    for _ in range(1000):
        if shown(server) == wanted:
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
    assert log_in(encrypted, "scram", login_of("scram", require_binding=required), tls=True) == [10, 11, 12, 0]


def test_a_channel_bound_to_another_certificate_is_refused_by_the_server(encrypted: servers.Server) -> None:
    serve_with(encrypted, "ECDSA with SHA-256")

    def misled(bound: bytes | None) -> Login:
        assert bound is not None
        return Login("scram", Password(SECRET.encode()), os.urandom(18), binding=bytes(len(bound)))

    with pytest.raises(Refused, match="28000"):
        log_in(encrypted, "scram", misled, tls=True)


def test_the_server_finds_out_that_its_offer_was_taken_away(encrypted: servers.Server) -> None:
    serve_with(encrypted, "ECDSA with SHA-256")

    class WithoutOffer(Login):
        def answer(self, request: bytes):  # type: ignore[no-untyped-def]
            return super().answer(request.replace(b"SCRAM-SHA-256-PLUS\0", b""))

    with pytest.raises(Refused, match="28000"):
        log_in(
            encrypted,
            "scram",
            lambda bound: WithoutOffer("scram", Password(SECRET.encode()), os.urandom(18), binding=bound),
            tls=True,
        )
