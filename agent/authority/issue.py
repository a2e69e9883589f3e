"""Makes certificates: an authority that can vouch for nothing but resources' names, leaves that end within hours.

RFC 5280 throughout. Keys are on P-256: every client has it, and a handshake signs once. An authority's name constraints
(§4.2.1.10) permit the host names and the addresses that it was made for; a kind of name for which there is none is excluded as a
whole, since what is not mentioned would be free.
"""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .names import Names

BACKDATED = datetime.timedelta(hours=1)
"""Clocks of agents may be slow: what is made now is valid since then."""
_ORGANIZATION = "hostguard"
_SERVER_ONLY = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
_NETWORKS = (ipaddress.IPv4Network, ipaddress.IPv6Network)
_ALL_IPS = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))


@dataclass(frozen=True, slots=True)
class Leaf:
    """A certificate with its key, as a TLS library takes them."""

    chain: bytes
    """PEM: the leaf, then the authority that signed it."""
    key: bytes
    """PEM, PKCS #8, not encrypted."""
    until: float
    """Seconds since 1970."""


def make_authority(host: str, number: int, names: Names, days: int, now: datetime.datetime) -> tuple[x509.Certificate, bytes]:
    """A new authority: its certificate, its key (PEM, PKCS #8). `now`: UTC."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, _ORGANIZATION),
            x509.NameAttribute(NameOID.COMMON_NAME, f"hostguard on {host} {number}"[:64]),
        ]
    )
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(_SERVER_ONLY, critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(_constraints(names), critical=True)
        .sign(key, hashes.SHA256())
    )
    return made, _pem(key)


def make_leaf(authority: x509.Certificate, key: bytes, names: Names, hours: int, now: datetime.datetime) -> Leaf:
    """A certificate for a server of these names. `key`: the authority's, PEM. `now`: UTC."""
    signer = serialization.load_pem_private_key(key, None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    own = ec.generate_private_key(ec.SECP256R1())
    until = min(now + datetime.timedelta(hours=hours), authority.not_valid_after_utc)
    made = (
        x509.CertificateBuilder()
        # No common name: some would check it against the constraints as if it were a host's.
        .subject_name(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, _ORGANIZATION)]))
        .issuer_name(authority.subject)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(max(now - BACKDATED, authority.not_valid_before_utc))
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(_SERVER_ONLY, critical=False)
        .add_extension(x509.SubjectAlternativeName(_general(names)), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False)
        .add_extension(_authority_identifier(authority), critical=False)
        .sign(signer, hashes.SHA256())
    )
    chain = made.public_bytes(serialization.Encoding.PEM) + authority.public_bytes(serialization.Encoding.PEM)
    return Leaf(chain, _pem(own), until.timestamp())


def permitted(authority: x509.Certificate) -> Names:
    """What its name constraints let it vouch for."""
    found = authority.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees or ()
    dns = sorted(each.value for each in found if isinstance(each, x509.DNSName))
    networks = [each.value for each in found if isinstance(each, x509.IPAddress)]
    ips = sorted(str(network.network_address) for network in networks if isinstance(network, _NETWORKS))
    return Names(tuple(dns), tuple(ips))


def permits(authority: x509.Certificate, names: Names) -> bool:
    """Whether it may vouch for all of these; a permitted host name stands for those below it, too (§4.2.1.10)."""
    own = permitted(authority)
    inside = all(any(name == each or name.endswith(f".{each}") for each in own.dns) for name in names.dns)
    return inside and set(names.ips) <= set(own.ips)


def _constraints(names: Names) -> x509.NameConstraints:
    permitted: list[x509.GeneralName] = [x509.DNSName(name) for name in names.dns]
    permitted += [x509.IPAddress(ipaddress.ip_network(ip)) for ip in names.ips]
    excluded: list[x509.GeneralName] = [] if names.dns else [x509.DNSName("")]
    # The families are one kind of name: where one is permitted, the other's addresses match nothing.
    if not names.ips:
        excluded += [x509.IPAddress(network) for network in _ALL_IPS]
    return x509.NameConstraints(permitted or None, excluded or None)


def _general(names: Names) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = [x509.DNSName(name) for name in names.dns]
    return found + [x509.IPAddress(ipaddress.ip_address(ip)) for ip in names.ips]


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_identifier(authority: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    own = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
