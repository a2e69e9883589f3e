"""One TLS session over memory: what came from the peer in, what was inside of it out.

The handshake is part of it: until it is done nothing comes out but what goes back to the peer. An `Engine` does the cryptography.
Renegotiation is off, versions before 1.2 are (RFC 8996), and no session is resumed: a ticket would be one more secret to keep.

A peer may end in order (close_notify, RFC 8446 §6.1) or not; what it sent is whole only in the first case, and `ended` tells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

READ_BYTES = 16 * 1024
"""A record holds no more (RFC 8446 §5.1), and a read brings of one record only."""


class TlsFault(Exception):
    """The session is over, for this reason. ``alert``: what the peer is to get first, as bytes for the wire."""

    def __init__(self, text: str, alert: bytes = b"") -> None:
        super().__init__(text)
        self.alert = alert


class Over(Exception):
    """An engine found the peer's close_notify."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a handshake came to."""

    version: str
    """As OpenSSL writes it: ``TLSv1.3``."""
    cipher: str
    alpn: str = ""
    """The protocol that was agreed on; empty for none."""
    name: str = ""
    """What the client said it is looking for (SNI, RFC 6066 §3); empty for nothing."""
    certificate: bytes = b""
    """The server's, in DER."""


class Engine(Protocol):
    """A TLS library's session on memory buffers. Methods raise TlsFault for what is broken, without its alert."""

    def put(self, data: bytes) -> None:
        """Bytes from the wire."""
        ...

    def take(self) -> bytes:
        """Bytes for the wire, all that there are."""
        ...

    def handshake(self) -> bool:
        """Go on with it; whether it is done."""
        ...

    def read(self) -> bytes:
        """At most `READ_BYTES` of what came; empty when there is nothing whole. Raises Over."""
        ...

    def write(self, data: bytes) -> None: ...

    def close(self) -> None:
        """Have the peer hear that nothing follows."""
        ...

    def facts(self) -> Facts:
        """After the handshake."""
        ...


class Session:
    """Of one connection. After a TlsFault there is nothing more to be had from it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.established = False
        self.ended = False
        """The peer said that nothing follows."""
        self.broken = False
        self._closed = False

    @property
    def facts(self) -> Facts:
        """Of an established session."""
        return self._engine.facts()

    def begin(self) -> bytes:
        """A client's first words."""
        self._engine.handshake()
        return self._engine.take()

    def receive(self, data: bytes) -> tuple[bytes, bytes]:
        """Bytes from the wire: (what was inside, what goes back). Raises TlsFault; bytes behind the peer's end are dropped."""
        if self.broken or self.ended:
            return b"", b""
        try:
            if data:
                self._engine.put(data)
            plain = self._read()
        except TlsFault as fault:
            self.broken = True
            raise TlsFault(str(fault), self._engine.take()) from None
        return plain, self._engine.take()

    def _read(self) -> bytes:
        if not self.established:
            self.established = self._engine.handshake()
            if not self.established:
                return b""
        found = []
        try:
            while piece := self._engine.read():
                found.append(piece)
        except Over:
            self.ended = True
        return found[0] if len(found) == 1 else b"".join(found)

    def send(self, data: bytes) -> bytes:
        """What puts `data` to the peer; nothing before the handshake is done, and after the end: there are no words for it."""
        if not self.established or self.broken or self._closed or not data:
            return b""
        self._engine.write(data)
        return self._engine.take()

    def close(self) -> bytes:
        """What tells the peer that nothing follows."""
        if not self.established or self.broken or self._closed:
            return b""
        self._closed = True
        self._engine.close()
        return self._engine.take()
