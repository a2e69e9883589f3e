"""SCRAM-SHA-256: the keys, the grammar of its messages, the rules that both sides share (RFC 5802, RFC 7677).

`scram_client` and `scram_server` are the two sides. PostgreSQL's profile of it (PostgreSQL 18 docs §54.3, "SASL Authentication"):
the user's name is the start-up packet's and the one in the exchange is ignored, channel binding is ``tls-server-end-point``
or none, a password is prepared by `saslprep`.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re
from typing import Final

import msgspec

from .saslprep import prepare

PLAIN: Final = b"SCRAM-SHA-256"
PLUS: Final = b"SCRAM-SHA-256-PLUS"
BINDING_TYPE: Final = b"tls-server-end-point"
KEY_BYTES: Final = 32
DEFAULT_ITERATIONS: Final = 4096
ITERATIONS: Final = range(DEFAULT_ITERATIONS, 1_000_001)
"""Counts that a client carries out. RFC 7677 §4 sets the lower end, below which whoever plays the server learns a proof that is
cheap to try passwords on; the upper end is half a second of one core, which is what a hostile server can ask for at will."""

# printable = %x21-2B / %x2D-7E: no comma.
_PRINTABLE = re.compile(rb"[\x21-\x2b\x2d-\x7e]+")
# posit-number = %x31-39 *DIGIT; ten digits are more than any count that is allowed, and no work to read.
_COUNT = re.compile(rb"[1-9][0-9]{0,9}")
_SHOWN_BYTES = 80


class ScramFault(Exception):
    """The other side's message is malformed, forged, or wants what may not be; the exchange is over.

    ``code`` is the SQLSTATE that a server says it with. The text holds nothing secret.
    """

    def __init__(self, text: str, code: bytes = b"08P01") -> None:
        super().__init__(text)
        self.code = code


class Verifier(msgspec.Struct, frozen=True):
    """What a server keeps of a password (RFC 5802 §3: StoredKey, ServerKey, salt, iteration count)."""

    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes


def derive(password: bytes, salt: bytes, iterations: int) -> bytes:
    """SaltedPassword: 32 bytes. About half a microsecond of work for each iteration, outside of Python's lock."""
    return hashlib.pbkdf2_hmac("sha256", prepare(password), salt, iterations, KEY_BYTES)


def client_key(salted: bytes) -> bytes:
    """ClientKey: what a client proves to have. Whoever knows it can log in."""
    return _mac(salted, b"Client Key")


def server_key(salted: bytes) -> bytes:
    """ServerKey: what a server proves to have."""
    return _mac(salted, b"Server Key")


def stored_key(key: bytes) -> bytes:
    """StoredKey of a ClientKey."""
    return hashlib.sha256(key).digest()


def verifier(password: bytes, salt: bytes, iterations: int = DEFAULT_ITERATIONS) -> Verifier:
    """The server's half of a password."""
    salted = derive(password, salt, iterations)
    return Verifier(salt, iterations, stored_key(client_key(salted)), server_key(salted))


def signature(key: bytes, messages: tuple[bytes, bytes, bytes]) -> bytes:
    """HMAC over AuthMessage: client-first-message-bare, server-first-message, client-final-message-without-proof."""
    return _mac(key, b",".join(messages))


def xor(one: bytes, other: bytes) -> bytes:
    """Of two strings of 32 bytes."""
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).to_bytes(KEY_BYTES, "big")


def encode(data: bytes) -> bytes:
    """Base64 without line ends."""
    return binascii.b2a_base64(data, newline=False)


def decode(text: bytes, what: str) -> bytes:
    """Base64 as `encode` makes it; any other spelling of the same bytes is a fault."""
    try:
        data = binascii.a2b_base64(text, strict_mode=True) if text else b""
    except binascii.Error:
        raise ScramFault(f"malformed SCRAM message: {what} is not base64") from None
    if encode(data) != text:
        raise ScramFault(f"malformed SCRAM message: {what} is not base64")
    return data


def attributes(message: bytes, wanted: bytes) -> list[bytes]:
    """The values of the attributes `wanted`, one letter each, which the message must begin with, in this order; then those that
    follow as they stand. Raises ScramFault."""
    parts = message.split(b",")
    if len(parts) < len(wanted):
        raise ScramFault("malformed SCRAM message: an attribute is missing")
    for letter, part in zip(wanted, parts, strict=False):
        if part[:2] != bytes((letter, ord("="))):
            raise ScramFault(f'malformed SCRAM message: attribute "{chr(letter)}" expected')
    return [part[2:] if at < len(wanted) else part for at, part in enumerate(parts)]


def printable(value: bytes, what: str) -> bytes:
    """The value, if it is `printable` as RFC 5802 §7 says. Raises ScramFault."""
    if not _PRINTABLE.fullmatch(value):
        raise ScramFault(f"malformed SCRAM message: {what} is not printable")
    return value


def count(value: bytes) -> int:
    """A positive number of at most ten digits. Raises ScramFault."""
    if not _COUNT.fullmatch(value):
        raise ScramFault("malformed SCRAM message: invalid iteration count")
    return int(value)


def shown(text: bytes) -> str:
    """What the other side said, as it may stand in a sentence."""
    cut = text[:_SHOWN_BYTES].decode("ascii", "replace")
    return "".join(letter if letter.isprintable() else "?" for letter in cut)


def _mac(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, "sha256")
