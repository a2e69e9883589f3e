"""TLS on the two links of a flow: begun, on record, refused with a sentence that says why.

Towards the agent it begins when the conversation says so (`Encrypt`). Towards the server it begins right behind the dial, before
anything of the agent's is sent; the supervisor says how sure of the server it has to be (`messages.Link`).
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast

from ..policy.credential_sections import VERIFIED
from ..protocols.events import Close, Effect, Encrypt
from ..protocols.postgres import encryption
from ..protocols.postgres.binding import end_point
from ..recorder import entry
from . import messages
from .ends import ClientEnd, ServerEnd
from .tls.ends import End, Transport
from .tls.session import Facts, Session, TlsFault

if TYPE_CHECKING:
    from .relay import Relay

HANDSHAKE_S = 10.0
"""For a server's answer to the request for TLS, with all that follows from it."""
_NO_CERTIFICATE: Final = "hostguard has no certificate for {} to show you: hostguard status tells why"
_UNABLE: Final = b"58000"
"""SQLSTATE system_error."""
_VIOLATION: Final = b"08P01"


Following = Callable[[], asyncio.Protocol]
Failed = Callable[[TlsFault], None]


class NotSecured(OSError):
    """The link to a server does not come to what configuration asks for; a sentence for the agent."""


# -- towards the agent -----------------------------------------------------------------------------------------------------------


def client(relay: Relay, effect: Encrypt) -> list[Effect]:
    """Begin TLS with the agent."""
    material = relay.loop.material
    shown = material.shown(relay.flow.resource)
    if shown is None:
        return relay.conversation.terminate(_NO_CERTIFICATE.format(relay.flow.resource), _UNABLE)
    wire = relay.client
    if effect.answer:
        wire.write(effect.answer)
    transport = Transport(wire, material.reception.session(shown))

    def established() -> None:
        facts = transport.session.facts
        _note(relay, "client", facts)
        relay.conversation.client_encrypted(shown.binding)
        if not effect.answer and facts.alpn != encryption.ALPN:
            reason = f"direct TLS must name its protocol (ALPN): {encryption.ALPN}"
            relay.terminate(reason, _VIOLATION)

    end = End(transport, ClientEnd(relay), established, lambda fault: relay.close(Close(str(fault), "client")))
    relay.client = transport
    wire.set_protocol(end)
    if effect.data:
        end.data_received(effect.data)
    return []


# -- towards the server ----------------------------------------------------------------------------------------------------------


async def server(relay: Relay, sock: socket.socket, link: messages.Link) -> asyncio.Transport:
    """The connection to the flow's server, secured as `link` says. Raises NotSecured; that is on record then."""
    try:
        transport = await _secured(
            relay, sock, link, lambda: ServerEnd(relay), lambda fault: relay.close(Close(str(fault), "server"))
        )
    except NotSecured as error:
        relay.loop.gate.note(relay.flow, entry.Fault(where="server_tls", error=str(error)))
        relay.loop.fault(relay.flow, Close(str(error), "server"))
        raise
    if isinstance(transport, Transport):
        facts = transport.session.facts
        _note(relay, "server", facts, link.tls)
        relay.server_binding = end_point(facts.certificate) or b""
        relay.conversation.server_encrypted()
    return transport


def carried(relay: Relay, how: str) -> None:
    """The broker speaks TLS with the server, as it says; nothing for a link in the clear."""
    if how:
        version, _, mode = how.partition(", ")
        relay.loop.gate.note(relay.flow, entry.Encrypted(side="server", version=version, mode=mode))
        relay.conversation.server_encrypted()


async def _secured(
    relay: Relay, sock: socket.socket, link: messages.Link, following: Following, failed: Failed
) -> asyncio.Transport:
    """`following`: makes the protocol that hears what the server says; `failed`: called when a session breaks that was up."""
    resource = relay.flow.resource
    try:
        session = relay.loop.material.dialling(resource).session(link.tls, link.name)
        opening = Opening(session, link, following, failed)
        wire, _ = await asyncio.get_running_loop().create_connection(lambda: opening, sock=sock)
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                return await opening.done
        except BaseException:
            wire.close()
            raise
    except TimeoutError:
        why = f"it did not answer the request for TLS within {HANDSHAKE_S:.0f} s"
    except TlsFault as fault:
        why = str(fault)
    raise NotSecured(f'hostguard does not connect you to the server of {resource} (server_tls = "{link.tls}"): {why}')


class Opening(asyncio.Protocol):
    """A connection to a server until its TLS is there; then `done` is the transport that goes on."""

    def __init__(self, session: Session, link: messages.Link, following: Following, failed: Failed) -> None:
        self._session = session
        self._link = link
        self._following = following
        self._failed = failed
        self._wire: asyncio.Transport | None = None
        self._end: End | None = None
        self.done: asyncio.Future[asyncio.Transport] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = cast(asyncio.Transport, transport)  # uvloop's are no subclasses
        if self._link.direct:
            self._begin(self._wire)
        else:
            self._wire.write(encryption.SSL_REQUEST)

    def data_received(self, data: bytes) -> None:
        """Before TLS: the server's answer. From it: what the server says though it has not been spoken to."""
        assert self._wire is not None
        if self._end is not None or self.done.done():
            return
        try:
            encryption.answer(data)
        except encryption.Unencrypted as error:
            if error.can and self._link.tls == "prefer":
                self._wire.set_protocol(self._following())
                self.done.set_result(self._wire)
            else:
                self._fail(TlsFault(f"{error}{_without(self._link)}" if error.can else str(error)))
            return
        self._begin(self._wire)

    def _begin(self, wire: asyncio.Transport) -> None:
        transport = Transport(wire, self._session)
        self._end = End(transport, self, lambda: self._established(transport), self._fail)
        wire.set_protocol(self._end)
        wire.write(self._session.begin())

    def _established(self, transport: Transport) -> None:
        assert self._end is not None
        if self.done.done():
            return
        if self._link.direct and self._session.facts.alpn != encryption.ALPN:
            self._fail(TlsFault(f"it did not agree to speak {encryption.ALPN} (ALPN): it may be no PostgreSQL from 17 on"))
            return
        self._end.inner = self._following()
        self.done.set_result(transport)

    def _fail(self, fault: TlsFault) -> None:
        if not self.done.done():
            self.done.set_exception(fault)
        elif not self.done.cancelled() and self.done.exception() is None:
            self._failed(fault)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(TlsFault("it closed the connection when it was asked for TLS"))


def _without(link: messages.Link) -> str:
    """What to do about a server without TLS."""
    return f': turn it on there, or say server_tls = "{"off" if link.tls in VERIFIED else "prefer"}" if the way to it is safe'


# -- on record -------------------------------------------------------------------------------------------------------------------


def _note(relay: Relay, side: str, facts: Facts, mode: str = "") -> None:
    relay.loop.gate.note(
        relay.flow,
        entry.Encrypted(
            side=side,
            version=facts.version,
            cipher=facts.cipher,
            protocol=facts.alpn,
            name=facts.name,
            mode=mode,
            certificate=hashlib.sha256(facts.certificate).hexdigest() if facts.certificate else "",
        ),
    )


# -- requests to cancel ----------------------------------------------------------------------------------------------------------


class _Told(asyncio.Protocol):
    """A server that takes a request and answers by closing."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set()


async def deliver(relay: Relay, order: messages.Deliver, sock: socket.socket) -> None:
    """Say it to the server by TLS; then the flow is over."""
    told = _Told()
    try:
        server = await _secured(relay, sock, order.link, lambda: told, lambda _: told.gone.set())
        server.write(order.request)
        async with asyncio.timeout(HANDSHAKE_S):
            await told.gone.wait()
        server.close()
    except (OSError, TimeoutError):
        pass  # as without hostguard: who cancels is told nothing
    relay.end("cancel request handled")
