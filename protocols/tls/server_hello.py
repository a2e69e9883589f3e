"""The ServerHello: what a server chooses, as far as it says so in the clear.

RFC 8446 §4.1.3 (TLS 1.3), RFC 5246 §7.4.1.3 (TLS 1.2), RFC 7301 §3.1. In TLS 1.3 the protocol that ALPN comes to is encrypted.
"""

from __future__ import annotations

from typing import Final

import msgspec

from .client_hello import ALPN, SUPPORTED_VERSIONS
from .fields import Fields, extensions
from .records import Malformed

TYPE: Final = 2
RETRY: Final = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
"""SHA-256 of "HelloRetryRequest", in the place of the random: RFC 8446 §4.1.3."""


class ServerHello(msgspec.Struct, frozen=True):
    """What was read of one."""

    version: int
    protocol: bytes | None
    """By ALPN; None where it can't be seen, or none was chosen."""
    retry: bool
    """It is a HelloRetryRequest: the client is to say hello once more."""


def parse(message: bytes) -> ServerHello:
    """Read the ServerHello that a handshake's bytes begin with; others may follow in its record. Raises Malformed."""
    outer = Fields(message, "the ServerHello")
    if outer.number(1) != TYPE:
        raise Malformed(f"the server began with a message of type {message[0]}, no ServerHello", 10)
    body = Fields(outer.vector(3), "the ServerHello")
    version, random = body.number(2), body.take(32)
    body.vector(1)
    body.take(3)
    found = extensions(body)
    if SUPPORTED_VERSIONS in found:
        version = Fields(found[SUPPORTED_VERSIONS], "supported_versions").number(2)
    retry = random == RETRY
    if retry and len(outer):
        raise Malformed("bytes behind the HelloRetryRequest, in its record", 10)
    return ServerHello(version, _chosen(found[ALPN]) if ALPN in found else None, retry)


def _chosen(body: bytes) -> bytes:
    outer = Fields(body, "ALPN")
    names = Fields(outer.vector(2), "ALPN")
    outer.done()
    name = names.vector(1)
    names.done()
    return name
