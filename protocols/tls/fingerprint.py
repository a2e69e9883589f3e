"""JA4, the fingerprint of a TLS client: one program with one library has one, whoever is called.

FoxIO, JA4 technical details (JA4: TLS client): numbers of GREASE are left out, ciphers and extensions are sorted.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from .client_hello import ALPN, SERVER_NAME, ClientHello, is_grease

_VERSIONS = {0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10", 0x0300: "s3"}


def ja4(hello: ClientHello) -> str:
    """As ``t13d1516h2_8daaf6152771_e5627efa2ab1``."""
    ciphers = [cipher for cipher in hello.ciphers if not is_grease(cipher)]
    kinds = [kind for kind in hello.extensions if not is_grease(kind)]
    named = "d" if SERVER_NAME in kinds else "i"
    counts = f"{min(len(ciphers), 99):02}{min(len(kinds), 99):02}"
    shown = _listed(sorted(kind for kind in kinds if kind not in (SERVER_NAME, ALPN)))
    signatures = _listed(number for number in hello.signatures if not is_grease(number))
    return "_".join(
        [
            f"t{_VERSIONS.get(hello.version, '00')}{named}{counts}{_ends(hello.protocols)}",
            _hash(_listed(sorted(ciphers))),
            _hash(f"{shown}_{signatures}" if signatures else shown),
        ]
    )


def _ends(protocols: tuple[bytes, ...]) -> str:
    """First and last character of the first protocol, in hexadecimal where one is no letter or digit."""
    if not protocols:
        return "00"
    first = protocols[0]
    ends = bytes([first[0], first[-1]])
    return ends.decode() if ends.isalnum() else first.hex()[0] + first.hex()[-1]


def _listed(numbers: Iterable[int]) -> str:
    return ",".join(f"{number:04x}" for number in numbers)


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:12] if text else "0" * 12
