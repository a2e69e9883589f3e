"""The text of the operation that a ClientHello is: what policy reads, people approve, records keep.

``connect sni=api.example.com asked=api.example.com alpn=h2,http/1.1 version=1.3 ja4=…``: words with a key each, in this order,
lists by commas. Left out is what there is none of. Bytes other than ``A-Za-z0-9._-/`` are written ``%2C``, so that no name can be
mistaken for another key. `policy.connect` reads it.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import quote_from_bytes

from .client_hello import VERSIONS, ClientHello
from .fingerprint import ja4

MAX_ASKED = 3
"""Names that are shown of those by which the agent knows the server, where the one it calls is not among them."""


def connect(hello: ClientHello, names: Collection[str]) -> str:
    """The text. `names`: for which name servers gave the agent the server's address."""
    called = hello.server_name
    asked = [called] if called in names else sorted(names)[:MAX_ASKED]
    words = {
        "sni": _plain(called.encode("latin-1")),
        "asked": ",".join(_plain(name.encode()) for name in asked),
        "alpn": ",".join(_plain(protocol) for protocol in hello.protocols),
        "version": VERSIONS.get(hello.version, f"{hello.version:#06x}"),
        "hidden": "yes" if hello.hides_name else "",
        "ja4": _plain(ja4(hello).encode()),
    }
    return " ".join(["connect", *(f"{key}={value}" for key, value in words.items() if value)])


def _plain(data: bytes) -> str:
    return quote_from_bytes(data, safe="/").replace("~", "%7E")
