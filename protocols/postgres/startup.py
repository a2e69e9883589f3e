"""The first packets of a connection, which have no tag (PostgreSQL 18 docs §54.2.1, §54.2.10, §54.2.11)."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import msgspec

from ..events import Session

# The code in the place of the protocol version: major 1234, minor as the request.
_CANCEL = 80877102
_SSL = 80877103
_GSS = 80877104
# Truncated silently by servers before 17, refused by later ones: either way not the name that policy would judge.
_MAX_NAME_BYTES = 63


class NotStartup(Exception):
    """The bytes are no start-up packet that may pass; ``code`` is the SQLSTATE to tell, ``text`` the reason."""

    def __init__(self, code: bytes, text: str, fault: str = "client") -> None:
        super().__init__(text)
        self.code = code
        self.fault = fault


class EncryptionRequest(msgspec.Struct, frozen=True):
    """SSLRequest or GSSENCRequest: to be answered by one byte."""

    name: str


class Cancel(msgspec.Struct, frozen=True):
    """CancelRequest."""

    key: bytes
    """Process id and secret, as they stand in BackendKeyData: 4 + 4 bytes, up to 4 + 256 in protocol 3.2."""


class Startup(msgspec.Struct, frozen=True):
    """StartupMessage."""

    parameters: Mapping[str, str]
    session: Session


def size(head: bytes) -> int | None:
    """Length of the packet, itself included; None while the first four bytes are not here. Raises NotStartup."""
    if head[:1] == b"\x16":
        # A TLS ClientHello: sslnegotiation=direct of libpq 17 and later.
        raise NotStartup(
            b"08P01", "direct TLS is not available through hostguard; connect with sslmode=disable or prefer", "unsafe"
        )
    if len(head) < 4:
        return None
    (length,) = struct.unpack_from(">I", head)
    return int(length)


def read(packet: bytes) -> EncryptionRequest | Cancel | Startup:
    """What one whole packet asks for. Raises NotStartup."""
    if len(packet) < 8:
        raise NotStartup(b"08P01", "the start-up packet is too short")
    (code,) = struct.unpack_from(">I", packet, 4)
    if code in (_SSL, _GSS):
        if len(packet) != 8:
            raise NotStartup(b"08P01", "bytes inside an encryption request", "unsafe")
        return EncryptionRequest("SSLRequest" if code == _SSL else "GSSENCRequest")
    if code == _CANCEL:
        if not 16 <= len(packet) <= 12 + 256:
            raise NotStartup(b"08P01", "the cancel request has an impossible key")
        return Cancel(packet[8:])
    if code >> 16 != 3:
        raise NotStartup(
            b"0A000", f"unsupported frontend protocol {code >> 16}.{code & 0xFFFF}: hostguard supports 3.0 and later"
        )
    return _startup(packet)


def _startup(packet: bytes) -> Startup:
    if packet[-1]:
        raise NotStartup(b"08P01", "invalid startup packet layout: expected terminator as last byte")
    body = packet[8:-1]
    words = body.split(b"\0")
    # Each word ends in NUL, so the last piece is empty; names and values alternate.
    if body and (words[-1] or len(words) % 2 == 0):
        raise NotStartup(b"08P01", "invalid startup packet layout: a parameter lacks its value")
    pairs = dict(zip(words[0:-1:2], words[1:-1:2], strict=True))
    if b"" in pairs:
        raise NotStartup(b"08P01", "invalid startup packet layout: bytes behind the last parameter")
    if len(pairs) != (len(words) - 1) // 2:
        raise NotStartup(b"08P01", "a start-up parameter is given twice")
    if not _is_false(pairs.get(b"replication", b"off")):
        raise NotStartup(b"42501", "replication connections are not permitted through hostguard")
    user = _name(pairs, b"user")
    if not user:
        raise NotStartup(b"28000", "no PostgreSQL user name specified in startup packet")
    parameters = {
        name.decode("utf-8", "backslashreplace"): value.decode("utf-8", "backslashreplace") for name, value in pairs.items()
    }
    return Startup(parameters, Session(database=_name(pairs, b"database") or user, user=user))


def under(packet: bytes, user: str, database: str) -> bytes:
    """The StartupMessage `packet` with another user, all else as it was.

    `database` is told as well where the client did not: its default is the name of the user that the client gave, which is not
    what the server would make of the other one.
    """
    words = packet[8:-2].split(b"\0")
    pairs = dict(zip(words[0::2], words[1::2], strict=True)) | {b"user": user.encode(), b"database": database.encode()}
    body = b"".join(name + b"\0" + value + b"\0" for name, value in pairs.items()) + b"\0"
    return struct.pack(">I", 8 + len(body)) + packet[4:8] + body


def _is_false(value: bytes) -> bool:
    """What PostgreSQL's ``parse_bool`` takes for false: any prefix of false and no, ``of`` and ``off``, 0. All else is
    refused."""
    word = value.lower()
    return bool(word) and (b"false".startswith(word) or b"no".startswith(word) or word in (b"of", b"off", b"0"))


def _name(pairs: Mapping[bytes, bytes], key: bytes) -> str:
    value = pairs.get(key, b"")
    if len(value) > _MAX_NAME_BYTES:
        raise NotStartup(b"08P01", f"the {key.decode()} name is longer than {_MAX_NAME_BYTES} bytes")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise NotStartup(b"08P01", f"the {key.decode()} name is not UTF-8") from None
