"""The combined bundle: whom the system trusts, with this host's own authorities.

Never ours alone: a program that is told of a bundle forgets the system's (``SSL_CERT_FILE`` replaces, it does not add).
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterable
from pathlib import Path

BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""Where systems have all their roots in one PEM file: Debian, Red Hat, SUSE, Alpine."""
_CERTIFICATE = re.compile(rb"-----BEGIN (?:TRUSTED )?CERTIFICATE-----([^-]*)-----END (?:TRUSTED )?CERTIFICATE-----")


def system_bundle() -> Path | None:
    """The system's own; None where there is none in a place that is known."""
    return next((Path(place) for place in BUNDLES if Path(place).is_file()), None)


def certificates(text: bytes) -> dict[bytes, bytes]:
    """Each certificate in a PEM text once: its DER to its PEM. What is no certificate is left out."""
    found: dict[bytes, bytes] = {}
    for match in _CERTIFICATE.finditer(text):
        try:
            found.setdefault(base64.b64decode(match[1], validate=False), match[0])
        except ValueError:
            continue
    return found


def combined(roots: bytes, authorities: Iterable[bytes]) -> bytes:
    """All certificates of both, PEM, each once."""
    found = certificates(roots)
    for text in authorities:
        found = found | certificates(text)
    return b"".join(certificate + b"\n" for certificate in found.values())


def write(place: Path, data: bytes) -> bool:
    """Have a file for everybody to read say this, whole at any moment; whether it said something else. Raises OSError."""
    try:
        if place.read_bytes() == data:
            return False
    except FileNotFoundError:
        pass
    aside = place.with_name(f".{place.name}.{os.getpid()}")
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    with os.fdopen(fd, "wb") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(data)
    aside.rename(place)
    return True
