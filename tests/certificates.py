"""Certificates for one test: self-signed, for one name, valid for two days around now."""

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
