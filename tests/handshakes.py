"""Real TLS handshakes in memory, and ClientHellos made by hand."""

from __future__ import annotations

import datetime
import ssl
import struct
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NAME = "api.example.com"


class Certificate(NamedTuple):
    """A certificate that signed itself, with its key, as PEM."""

    certificate: bytes
    key: bytes

    def write(self, folder: Path) -> tuple[Path, Path]:
        """The paths of both in the folder."""
        paths = folder / "server.pem", folder / "server.key"
        for path, text in zip(paths, self, strict=True):
            path.write_bytes(text)
        return paths


@cache
def certificate(*names: str) -> Certificate:
    """For these names."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number(), now - day, now + day)
    alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    signed = builder.add_extension(alternatives, critical=False).add_extension(
        x509.BasicConstraints(ca=True, path_length=None), critical=True
    )
    pem = signed.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    form = serialization.PrivateFormat.PKCS8
    return Certificate(pem, key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))


class End:
    """One end of a connection in memory: bytes in, bytes out."""

    def __init__(self, context: ssl.SSLContext, name: str | None = None, *, server: bool = False) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=server, server_hostname=name)
        self.done = False

    def step(self, data: bytes = b"") -> bytes:
        """Take bytes, go on with the handshake as far as possible, give what is to be sent."""
        self.incoming.write(data)
        try:
            self.tls.do_handshake()
            self.done = True
        except ssl.SSLWantReadError:
            pass
        return self.outgoing.read()


def client(*protocols: str, name: str | None = NAME, highest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> End:
    """A client that trusts the certificate of `server` alone, offering these protocols by ALPN."""
    context = ssl.create_default_context(cadata=certificate(NAME).certificate.decode())
    context.check_hostname = name is not None
    context.maximum_version = highest
    if protocols:
        context.set_alpn_protocols(protocols)
    return End(context, name)


def server(folder: Path, *protocols: str, curve: str = "") -> End:
    """A server for `NAME`; with a curve that a client offers but sends no key for, it asks for another hello."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate(NAME).write(folder))
    if curve:
        context.set_ecdh_curve(curve)
    if protocols:
        context.set_alpn_protocols(protocols)
    return End(context, server=True)


# By hand: what no library would send.


def vector(size: int, data: bytes) -> bytes:
    """A length of `size` bytes, then the data."""
    return len(data).to_bytes(size) + data


def sni(name: bytes) -> tuple[int, bytes]:
    return 0, vector(2, b"\0" + vector(2, name))


def alpn(*protocols: bytes) -> tuple[int, bytes]:
    return 16, vector(2, b"".join(vector(1, protocol) for protocol in protocols))


def versions(*offered: int) -> tuple[int, bytes]:
    return 43, vector(1, struct.pack(f">{len(offered)}H", *offered))


def hello(
    extensions: Sequence[tuple[int, bytes]] | None = (),
    *,
    ciphers: Sequence[int] = (0x1301,),
    version: int = 0x0303,
    session: bytes = b"",
    compression: bytes = b"\0",
) -> bytes:
    """The handshake message; extensions None: without even their length."""
    body = struct.pack(">H", version) + bytes(range(32)) + vector(1, session)
    body += vector(2, struct.pack(f">{len(ciphers)}H", *ciphers)) + vector(1, compression)
    if extensions is not None:
        body += vector(2, b"".join(struct.pack(">H", kind) + vector(2, data) for kind, data in extensions))
    return b"\1" + vector(3, body)


def answer(extensions: Sequence[tuple[int, bytes]] = (), *, random: bytes = bytes(32), version: int = 0x0303) -> bytes:
    """A ServerHello, or with the random for it a HelloRetryRequest."""
    listed = b"".join(struct.pack(">H", kind) + vector(2, data) for kind, data in extensions)
    return b"\2" + vector(3, struct.pack(">H", version) + random + b"\0" + b"\x13\x01\0" + vector(2, listed))


def records(message: bytes, size: int = 1 << 14, kind: int = 22) -> bytes:
    """The message in records of at most `size` bytes."""
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(bytes([kind, 3, 1]) + vector(2, piece) for piece in pieces)
