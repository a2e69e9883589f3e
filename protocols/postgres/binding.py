"""What a TLS channel is bound to: the certificate of its server (RFC 5929 §4.1, tls-server-end-point)."""

from __future__ import annotations

import functools
import hashlib
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

_TOO_WEAK: Final = frozenset(("md5", "sha1"))


@functools.lru_cache(maxsize=16)  # a few servers show the same certificates over and over, and parsing one takes its time
def end_point(certificate: bytes) -> bytes | None:
    """The binding of a certificate in DER: its hash by the hash of its own signature, SHA-256 in the place of MD5, SHA-1.

    None where the signature has no single hash (Ed25519): the RFC defines no binding then, and PostgreSQL has none. Raises
    ValueError for bytes that are no certificate.
    """
    parsed = x509.load_der_x509_certificate(certificate)
    try:
        algorithm = parsed.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return None
    if algorithm is None:
        return None
    name = "sha256" if algorithm.name in _TOO_WEAK else algorithm.name.replace("-", "_")
    return hashlib.new(name, certificate).digest()
