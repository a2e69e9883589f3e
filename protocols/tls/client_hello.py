"""The ClientHello: what a client says in the clear of whom it calls.

RFC 8446 §4.1.2 (TLS 1.3), RFC 5246 §7.4.1.2 (TLS 1.2), RFC 6066 §3 (server_name), RFC 7301 §3.1 (ALPN), RFC 8701 (GREASE).
"""

from __future__ import annotations

from typing import Final

import msgspec

from .fields import Fields, extensions, numbers
from .records import Malformed

TYPE: Final = 1
SERVER_NAME: Final = 0
SIGNATURE_ALGORITHMS: Final = 13
ALPN: Final = 16
SUPPORTED_VERSIONS: Final = 43
HIDDEN_NAME: Final = frozenset([0xFE08, 0xFE09, 0xFE0A, 0xFE0B, 0xFE0C, 0xFE0D, 0xFFCE])
"""Extensions that carry another name, encrypted: ECH (RFC 9849), with its drafts, of which the last is ESNI."""
VERSIONS: Final = {0x0300: "3.0", 0x0301: "1.0", 0x0302: "1.1", 0x0303: "1.2", 0x0304: "1.3"}


class ClientHello(msgspec.Struct, frozen=True):
    """What was read of one."""

    server_name: str
    """The host name as sent, in lower case, bytes that are no ASCII as U+0080 to U+00FF; empty for none."""
    protocols: tuple[bytes, ...]
    """By ALPN, in the client's order of preference; without GREASE."""
    version: int
    """The highest version offered, as in ``supported_versions``."""
    hides_name: bool
    """There is, or is made to seem, a second name that only the server can read."""
    ciphers: tuple[int, ...]
    extensions: tuple[int, ...]
    """Types, in their order."""
    signatures: tuple[int, ...]
    """Signature algorithms, in their order."""


def parse(message: bytes) -> ClientHello:
    """Read a whole handshake message that must be a ClientHello, with nothing behind it. Raises Malformed."""
    outer = Fields(message, "the ClientHello")
    if outer.number(1) != TYPE:
        raise Malformed(f"a handshake that begins with a message of type {message[0]}, no ClientHello", 10)
    body = Fields(outer.vector(3), "the ClientHello")
    if len(outer):
        raise Malformed("bytes behind the ClientHello, in its record", 10)
    legacy = body.number(2)
    body.take(32)
    if len(body.vector(1)) > 32:
        raise Malformed("a session id of more than 32 bytes")
    ciphers = numbers(body.vector(2), "the list of cipher suites")
    if not ciphers or not body.vector(1):
        raise Malformed("no cipher suite, or no compression method")
    found = extensions(body)
    return ClientHello(
        server_name=_server_name(found[SERVER_NAME]) if SERVER_NAME in found else "",
        protocols=_protocols(found[ALPN]) if ALPN in found else (),
        version=_version(legacy, found.get(SUPPORTED_VERSIONS)),
        hides_name=not HIDDEN_NAME.isdisjoint(found),
        ciphers=ciphers,
        extensions=tuple(found),
        signatures=_listed(found[SIGNATURE_ALGORITHMS], 2, "signature_algorithms") if SIGNATURE_ALGORITHMS in found else (),
    )


def is_grease(value: int) -> bool:
    """Whether a number of two bytes stands for nothing but itself: RFC 8701 §2."""
    return value & 0x0F0F == 0x0A0A and value >> 8 == value & 0xFF


def _server_name(body: bytes) -> str:
    """RFC 6066 allows a list with one name of each type, and knows one type. What else there is, servers read as they like."""
    outer = Fields(body, "server_name")
    names = Fields(outer.vector(2), "server_name")
    outer.done()
    kind, name = names.number(1), names.vector(2)
    if kind or not name or len(names):
        raise Malformed("a server_name that is not one host name")
    return name.lower().decode("latin-1")


def _protocols(body: bytes) -> tuple[bytes, ...]:
    outer = Fields(body, "ALPN")
    names = Fields(outer.vector(2), "ALPN")
    outer.done()
    found = []
    while len(names):
        name = names.vector(1)
        if not name:
            raise Malformed("an empty protocol in ALPN")
        if not (len(name) == 2 and is_grease(int.from_bytes(name))):
            found.append(name)
    return tuple(found)


def _version(legacy: int, supported: bytes | None) -> int:
    if supported is None:
        return legacy
    known = [version for version in _listed(supported, 1, "supported_versions") if not is_grease(version)]
    if not known:
        raise Malformed("no version of TLS", 70)
    return max(known)


def _listed(body: bytes, size: int, what: str) -> tuple[int, ...]:
    outer = Fields(body, what)
    listed = numbers(outer.vector(size), what)
    outer.done()
    return listed
