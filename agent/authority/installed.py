"""Whether the system trusts this host's authorities."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from .bundle import certificates, system_bundle


def not_in_system(authorities: Iterable[bytes]) -> list[str]:
    """SHA-256 of each authority (PEM) that the system's bundle does not have; all, where there is no bundle."""
    place = system_bundle()
    try:
        has = certificates(place.read_bytes()) if place is not None else {}
    except OSError:
        has = {}
    missing = [certificate for pem in authorities for certificate in certificates(pem) if certificate not in has]
    return [hashlib.sha256(certificate).hexdigest() for certificate in missing]
