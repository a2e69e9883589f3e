"""Bundles for programs that have roots of their own: these with this host's authorities, renewed when those change.

A bundle lies beside the roots that it was made from, both under a name that comes from the roots. Programs start (`extended`) and
authorities change (`renew`) at the same time: who starts a program has its roots in place before it reads the authorities, and
reads them again after, so that one of both sees what the other did.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from .bundle import certificates, combined, write

ROOTS = ".roots"


def extended(folder: Path, roots: bytes, authorities: Path) -> Path | None:
    """A file with these roots (PEM) and the authorities of a file; None where the roots have them. Raises OSError."""
    ours = authorities.read_bytes()
    if certificates(ours).keys() <= certificates(roots).keys():
        return None
    folder.mkdir(mode=0o755, exist_ok=True)
    place = folder / f"{hashlib.sha256(roots).hexdigest()[:32]}.pem"
    write(place.with_suffix(ROOTS), combined(roots, []))
    while True:
        ours = authorities.read_bytes()
        write(place, combined(roots, [ours]))
        if authorities.read_bytes() == ours:
            return place


def renew(folder: Path, ours: bytes) -> None:
    """Have all bundles in a folder, if there are any, hold these authorities and none from before. Raises OSError."""
    for roots in folder.glob(f"*{ROOTS}"):
        write(roots.with_suffix(".pem"), combined(roots.read_bytes(), [ours]))
