"""Who encrypts a session, as its two sides settle that before it begins (PostgreSQL 18 docs §54.2.10, §54.2.11).

Towards the client hostguard is the server: it answers an SSLRequest with S where `client_tls` lets it, a GSSENCRequest with N,
and takes TLS from the first byte on. Nothing may stand behind a request: its sender must wait for the answer, and what it sent
before might be taken for part of the encrypted session (CVE-2021-23214).

A session that is only observed is the client's with the server: its request passes, to be answered there.

Towards the server hostguard is the client: it asks with an SSLRequest, and the answer is one byte. What comes along with it
nobody vouches for (CVE-2021-23222).
"""

from __future__ import annotations

from typing import Final

from ...reassembly.frames import FrameBuffer
from ..events import Encrypt, Reach
from .link import ENCRYPTING, Link, PeerFault
from .startup import NotStartup

SSL_REQUEST: Final = bytes.fromhex("0000000804d2162f")
ALPN: Final = "postgresql"
"""The protocol's name in TLS (IANA); a session of TLS from its first byte on needs it."""
TLS_HANDSHAKE: Final = b"\x16"
"""Content type of a TLS record (RFC 8446 §5.1): sslnegotiation=direct of libpq 17 and later. No length begins so."""
_ACCEPTED: Final = b"S"
_REFUSED: Final = b"N"
_ERROR: Final = b"E"
_SSL = "SSLRequest"
_UNREAD = "the session is encrypted, by an {} that the server agreed to"


class Encryption:
    """Of one flow."""

    def __init__(self, link: Link, client_tls: str) -> None:
        """`client_tls`: as configured: ``offer``, ``require``, ``off``."""
        self._link = link
        self._client_tls = client_tls
        self._asked: set[str] = set()
        self._passing = ""
        """Name of the request that the server is to answer, of an observed flow."""
        self._packet = b""
        self._reached = False

    @property
    def _servers(self) -> bool:
        """It is settled between the client and its server. With a credential the session there is hostguard's own."""
        return self._link.observed and self._link.standin is None and not self._link.client_encrypted

    # The client's side

    def asked(self, name: str, packet: bytes, buffer: FrameBuffer) -> None:
        """The client sent an encryption request; `buffer` is behind it. Raises NotStartup."""
        link = self._link
        if self._servers:
            self._pass(name, packet)
            return
        if len(buffer):
            raise NotStartup(b"08P01", f"bytes behind an {name} before its answer", "unsafe")
        if link.client_encrypted:
            raise NotStartup(b"08P01", f"an {name} inside of TLS")
        if name in self._asked:
            raise NotStartup(b"08P01", f"a second {name}")
        self._asked.add(name)
        if name == _SSL and self._client_tls != "off":
            link.out.add(Encrypt(answer=_ACCEPTED, data=b""))
        else:
            link.out.to_client(_REFUSED)

    def direct(self, buffer: FrameBuffer) -> None:
        """The client speaks TLS without having asked. Raises NotStartup."""
        if self._servers or self._client_tls == "off":
            reason = "direct TLS is not available through hostguard; connect with sslmode=disable or prefer"
            raise NotStartup(b"08P01", reason, "unsafe")
        if self._link.client_encrypted or self._asked:
            raise NotStartup(b"08P01", "TLS that was not asked for behind other bytes", "unsafe")
        self._link.out.add(Encrypt(answer=b"", data=buffer.take_some(len(buffer))))

    def check(self) -> None:
        """The client begins its session. Raises NotStartup if that may not be in the clear."""
        if self._client_tls == "require" and not self._link.client_encrypted and not self._servers:
            reason = 'this resource is to be spoken to by TLS (client_tls = "require"): connect with sslmode=require or stronger'
            raise NotStartup(b"28000", reason)

    # An observed flow's

    def _pass(self, name: str, packet: bytes) -> None:
        """Have the server answer, as it would without us; what the client sent behind it waits."""
        self._passing = name
        self._link.phase = ENCRYPTING
        self._packet = packet
        if self._reached:
            self._link.out.to_server(packet)
        else:
            self._link.out.add(Reach())

    def reached(self) -> None:
        """The server is there."""
        self._reached = True
        self._link.out.to_server(self._packet)

    def answered(self, buffer: FrameBuffer) -> None:
        """One byte: N, then all goes on in the clear. Anything else passes unread, or ends what is not observed any more."""
        self._packet = b""
        if len(buffer) > 1 or buffer.data[buffer.pos :] != _REFUSED:
            raise PeerFault("unsafe", _UNREAD.format(self._passing))
        buffer.take(1)
        buffer.release()
        self._link.out.to_client(_REFUSED)

    @property
    def packet(self) -> bytes:
        """The request that the server has not got yet."""
        return self._packet


class Unencrypted(Exception):
    """The server does not begin TLS; ``can`` tells whether it goes on in the clear. The text is what it did."""

    def __init__(self, text: str, *, can: bool = False) -> None:
        super().__init__(text)
        self.can = can


def answer(data: bytes) -> None:
    """What the server said to an SSLRequest of hostguard's own; returns if TLS may begin. Raises Unencrypted."""
    if data[:1] == _REFUSED and len(data) == 1:
        raise Unencrypted("it has no TLS, or somebody on the way to it says so", can=True)
    if data[:1] == _ACCEPTED and len(data) > 1:
        raise Unencrypted("bytes came along with its consent to TLS, which nobody vouches for: somebody may be on the way to it")
    if data[:1] == _ERROR:
        raise Unencrypted("it answers the request for TLS with an error: it may serve nobody at the moment, or be too old")
    if data != _ACCEPTED:
        raise Unencrypted("it answers the request for TLS with what is no answer: it may be no PostgreSQL")
