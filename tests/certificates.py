"""Certificates for one test: self-signed ones, and an authority of its own with what it signs, valid for some days around now."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class Certificate:
    """With its key; as PEM, and the certificate as DER."""

    chain: bytes
    key: bytes
    der: bytes

    def context(self) -> ssl.SSLContext:
        """A server's context that shows it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "pem"
            path.write_bytes(self.chain + self.key)
            context.load_cert_chain(path)
        return context


def self_signed(key: Key | None = None, **how: Any) -> Certificate:
    """For 127.0.0.1 and localhost. `how`: what `x509.CertificateBuilder.sign` takes, ECDSA with SHA-256 by default."""
    if key is None:
        key, how = ec.generate_private_key(ec.SECP256R1()), {"algorithm": hashes.SHA256()}
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "db.test")])
    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).add_extension(names, False)
    )
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(start)
    signed = builder.not_valid_after(start + datetime.timedelta(days=2)).sign(key, **how)
    return Certificate(
        signed.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        signed.public_bytes(Encoding.DER),
    )


class Authority:
    """One that has nothing to do with hostguard's: whoever runs the servers has it."""

    def __init__(self, name: str = "authority.test") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._certificate = self._signed(self._name, self._key, [x509.BasicConstraints(ca=True, path_length=None)], 0, 30)

    @property
    def pem(self) -> str:
        return self._certificate.public_bytes(Encoding.PEM).decode()

    def issue(self, *names: str, begins: int = 0, days: int = 2) -> Certificate:
        """For these host names and addresses, valid for `days` days from yesterday on, or `begins` days later."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        signed = self._signed(subject, key, [x509.SubjectAlternativeName([_general(name) for name in names])], begins, days)
        return Certificate(
            signed.public_bytes(Encoding.PEM),
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            signed.public_bytes(Encoding.DER),
        )

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, says: list[x509.ExtensionType], begins: int, days: int
    ) -> x509.Certificate:
        start = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=begins - 1)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(start)
        for each in says:
            builder = builder.add_extension(each, critical=isinstance(each, x509.BasicConstraints))
        return builder.not_valid_after(start + datetime.timedelta(days=days)).sign(self._key, hashes.SHA256())


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
