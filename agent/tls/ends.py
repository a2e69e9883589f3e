"""A session on a connection of the event loop: ciphertext on the wire, plain bytes for who works with them.

`Transport` stands in the place of the connection's transport, `End` in the place of its protocol. Nothing is kept here: what a
read brings goes on at once, what is written is encrypted at once, so the pauses of the two below and above are each other's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .session import Session, TlsFault

MAX_OWED_BYTES = 1 << 20
"""What a peer may make us answer (key updates, RFC 8446 §4.6.3) without taking the answers."""


CUT = "without ending its TLS session: what it sent last may be cut off"


class Truncated(Exception):
    """The connection ended without the peer's word that it would: what came last may be cut off."""


class Transport(asyncio.Transport):
    """Writes to the peer through the session."""

    def __init__(self, wire: asyncio.Transport, session: Session) -> None:
        super().__init__()
        self.wire = wire
        self.session = session

    def write(self, data: bytes | bytearray | memoryview) -> None:
        out = self.session.send(bytes(data))
        if out:
            self.wire.write(out)

    def write_eof(self) -> None:
        self._say_end()

    def close(self) -> None:
        self._say_end()
        self.wire.close()

    def _say_end(self) -> None:
        out = self.session.close()
        if out and not self.wire.is_closing():
            self.wire.write(out)

    def abort(self) -> None:
        self.wire.abort()

    def is_closing(self) -> bool:
        return self.wire.is_closing()

    def pause_reading(self) -> None:
        self.wire.pause_reading()

    def resume_reading(self) -> None:
        self.wire.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.wire.set_write_buffer_limits(high=high, low=low)

    def get_write_buffer_size(self) -> int:
        return self.wire.get_write_buffer_size()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.wire.set_protocol(protocol)


class End(asyncio.Protocol):
    """Hears the peer through the session, for the protocol `inner`."""

    def __init__(
        self,
        transport: Transport,
        inner: asyncio.Protocol,
        established: Callable[[], None],
        failed: Callable[[TlsFault], None],
    ) -> None:
        """`established`: called when the handshake is done, before `inner` hears anything; `failed`: ends the connection."""
        self._transport = transport
        self.inner = inner
        self._established = established
        self._failed = failed

    def data_received(self, data: bytes) -> None:
        session, wire = self._transport.session, self._transport.wire
        before = session.established
        try:
            plain, out = session.receive(data)
        except TlsFault as fault:
            self._fail(fault)
            return
        if out:
            wire.write(out)
            if wire.get_write_buffer_size() > MAX_OWED_BYTES:
                self._fail(TlsFault("it takes none of the answers that it asks for"))
                return
        if session.established and not before:
            self._established()
        if plain:
            self.inner.data_received(plain)
        if session.ended and not wire.is_closing() and not self.inner.eof_received():
            self._transport.close()

    def _fail(self, fault: TlsFault) -> None:
        if fault.alert and not self._transport.wire.is_closing():
            self._transport.wire.write(fault.alert)
        self._failed(fault)

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        self.inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        session = self._transport.session
        self.inner.connection_lost(exc if session.ended or not session.established else Truncated(CUT))
