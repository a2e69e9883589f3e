"""Links that the broker carries, to real servers: client certificates, passwords as they are, nothing to who is not verified."""

from __future__ import annotations

import asyncio
import datetime
import os
import shutil
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import brokering
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from servers import Server, server

from hostguard.agent.broker.keeper import BrokerAway, Keeper
from hostguard.policy.credential_sections import ServerTls

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)
PASSWORD = "plain-words-7c1d"
Key = ec.EllipticCurvePrivateKey


class Company:
    """A company's authority, as an administrator has it: not ours."""

    def __init__(self, name: str) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._sign(name, self.key, NOW + 100 * DAY, ca=True)

    def _sign(self, name: str, key: Key, until: datetime.datetime, *, ca: bool, names: tuple[str, ...] = ()) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if ca else self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - 10 * DAY)
            .not_valid_after(until)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in names or (name,)]), critical=False)
        )
        return builder.sign(self.key, hashes.SHA256())

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def issue(self, folder: Path, name: str, until: datetime.datetime = NOW + DAY) -> tuple[Path, Path]:
        """Files of a certificate for this name, with its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(name, key, until, ca=False)
        places = folder / f"{name}.pem", folder / f"{name}.key"
        places[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        kind = serialization.PrivateFormat.PKCS8
        places[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption()))
        places[1].chmod(0o600)
        return places


@pytest.fixture(scope="module")
def company() -> Company:
    return Company("company")


@pytest.fixture(scope="module")
def pki(company: Company) -> Iterator[Path]:
    """A folder that the server's user can get to."""
    folder = Path("/tmp") / f"hostguard-pki-{os.getpid()}"
    folder.mkdir(mode=0o755)
    (folder / "company.pem").write_text(company.pem)
    company.issue(folder, "db.example")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def encrypted(pki: Path) -> Iterator[Server]:
    """A PostgreSQL with TLS, that asks each user in another way."""
    shutil.chown(pki / "db.example.key", "postgres")
    settings = {
        "ssl": "on",
        "ssl_cert_file": f"{pki}/db.example.pem",
        "ssl_key_file": f"{pki}/db.example.key",
        "ssl_ca_file": f"{pki}/company.pem",
    }
    with server(15, settings) as running:
        with running.connect() as connection:
            for user in ("app_certificate", "app_clear", "app_scram"):
                connection.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{PASSWORD}'")
        hba = running.folder / "data" / "pg_hba.conf"
        lines = (
            "hostssl all app_certificate all cert\nhostssl all app_clear all password\nhostssl all app_scram all scram-sha-256\n"
        )
        hba.write_text(lines + hba.read_text())
        with running.connect() as connection:
            connection.execute("SELECT pg_reload_conf()")
        yield running


@pytest.fixture
def toml(tmp_path: Path, pki: Path, company: Company) -> str:
    """Three credentials, and a resource that may have them."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "password").write_text(PASSWORD)
    certificate, key = company.issue(tmp_path / "secrets", "app_certificate")
    return f"""
[resources.shop]
protocol = "postgres"
addresses = ["db.example:5432"]
server_roots = "{pki}/company.pem"
[credentials.certificate]
user = "app_certificate"
certificate = "{certificate}"
key = "command:/bin/cat {key}"
[credentials.clear]
user = "app_clear"
secret = "file:{tmp_path}/secrets/password"
methods = ["cleartext"]
[credentials.scram]
user = "app_scram"
secret = "file:{tmp_path}/secrets/password"
methods = ["scram-sha-256", "cleartext"]
[credentials.unwilling]
user = "app_clear"
secret = "file:{tmp_path}/secrets/password"
certificate = "{certificate}"
key = "file:{key}"
"""


def run(folder: Path, toml: str, test: Callable[[Keeper], Awaitable[None]]) -> None:
    async def play() -> None:
        async with brokering.broker(folder, toml) as keeper:
            await test(keeper)

    asyncio.run(play())


async def carried(
    keeper: Keeper, to: tuple[str, int], variant: str, roots: str, *, name: str = "db.example", mode: ServerTls = "verify-full"
) -> tuple[socket.socket, str]:
    return await keeper.carry(1, variant, mode, name, roots, socket.create_connection(to))


async def read_until(sock: socket.socket, mark: bytes) -> bytes:
    sock.setblocking(False)
    found = b""
    while mark not in found:
        data = await asyncio.get_running_loop().sock_recv(sock, 65_536)
        if not data:
            break
        found += data
    return found


@pytest.mark.parametrize(("variant", "user"), [("certificate", "app_certificate"), ("clear", "app_clear")])
def test_the_worker_sees_a_server_that_asks_for_nothing(
    tmp_path: Path, toml: str, encrypted: Server, company: Company, variant: str, user: str
) -> None:
    async def test(keeper: Keeper) -> None:
        plain, how = await carried(keeper, (encrypted.host, encrypted.port), variant, company.pem)
        assert how == "TLSv1.3, verify-full"
        with plain:
            plain.sendall(brokering.startup(user))
            said = await read_until(plain, b"Z\0\0\0\5I")
            assert said.startswith(b"R\0\0\0\x08\0\0\0\0S"), said
            query = (
                b"SELECT ssl::text || usename FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE pid = pg_backend_pid()\0"
            )
            plain.sendall(b"Q" + (len(query) + 4).to_bytes(4, "big") + query)
            assert f"true{user}".encode() in await read_until(plain, b"Z\0\0\0\5I")
            assert PASSWORD.encode() not in said

    run(tmp_path, toml, test)


def test_scram_goes_through_the_worker_bound_to_the_channel_that_it_can_not_see(
    tmp_path: Path, toml: str, encrypted: Server, company: Company
) -> None:
    async def test(keeper: Keeper) -> None:
        plain, _ = await carried(keeper, (encrypted.host, encrypted.port), "scram", company.pem)
        with plain:
            plain.sendall(brokering.startup("app_scram"))
            asked = await read_until(plain, b"SCRAM-SHA-256\0\0")
            answer = await keeper.log_in(1, "scram", asked[5:], b"", begins=True)
            assert b"SCRAM-SHA-256-PLUS\0" in answer.say
            plain.sendall(answer.say)
            continued = await read_until(plain, b",i=4096")
            answer = await keeper.log_in(1, "scram", continued[5:], b"", begins=False)
            plain.sendall(answer.say)
            assert b"v=" in await read_until(plain, b"Z\0\0\0\5I")

    run(tmp_path, toml, test)


def test_a_password_is_not_said_in_the_clear_unless_the_configuration_says_so(
    tmp_path: Path, toml: str, encrypted: Server, company: Company
) -> None:
    async def test(keeper: Keeper) -> None:
        plain, _ = await carried(keeper, (encrypted.host, encrypted.port), "unwilling", company.pem)
        with plain:
            plain.sendall(brokering.startup("app_clear"))
            said = await read_until(plain, b"never")
            assert b"SFATAL\0VFATAL\0C28000\0Mthe server asks for" in said
            assert PASSWORD.encode() not in said

    run(tmp_path, toml, test)


def test_no_link_to_a_server_that_is_not_verified(
    tmp_path: Path, toml: str, encrypted: Server, company: Company, postgres15: Server
) -> None:
    there = encrypted.host, encrypted.port
    cases: list[tuple[str, tuple[str, int], str, str, ServerTls]] = [
        ("self-signed certificate in certificate chain; see", there, Company("other").pem, "db.example", "verify-full"),
        ("self-signed certificate in certificate chain; see", there, Company("other").pem, "", "verify-ca"),
        (
            "Hostname mismatch, certificate is not valid for 'else.example'; see",
            there,
            company.pem,
            "else.example",
            "verify-full",
        ),
        ("the server has no TLS", (postgres15.host, postgres15.port), company.pem, "db.example", "verify-full"),
        ("is not verified", there, company.pem, "db.example", "require"),
        ("is not verified", there, company.pem, "db.example", "prefer"),
    ]

    async def test(keeper: Keeper) -> None:
        for words, to, roots, name, mode in cases:
            with pytest.raises(BrokerAway) as caught:
                await carried(keeper, to, "clear", roots, name=name, mode=mode)
            assert words in str(caught.value)
        plain, how = await carried(keeper, there, "clear", company.pem, name="", mode="verify-ca")
        plain.close()
        assert how == "TLSv1.3, verify-ca"

    run(tmp_path, toml, test)


def test_bytes_stuffed_behind_the_answer_are_no_part_of_the_session(tmp_path: Path, toml: str, company: Company) -> None:
    """CVE-2021-23222: what comes before the handshake must not count as said within it."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.write(b"SR\0\0\0\x08\0\0\0\x03")
        await reader.read(10_000)
        writer.close()

    async def test(keeper: Keeper) -> None:
        listener = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with listener:
            to = listener.sockets[0].getsockname()[:2]
            with pytest.raises(BrokerAway, match="no TLS with the server"):
                await asyncio.wait_for(_carried_beside(keeper, to, company), 20)

    async def _carried_beside(keeper: Keeper, to: tuple[str, int], company: Company) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, to)
        await keeper.carry(1, "clear", "verify-full", "db.example", company.pem, sock)

    run(tmp_path, toml, test)
