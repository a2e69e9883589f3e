"""The two ends of a flow as the event loop knows them: they only pass on what happens."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from . import unread
from .tls.ends import Truncated

if TYPE_CHECKING:
    from .relay import Relay


CARRIED_AWAY: Final = (
    "the link to the server has ended: hostguard's broker carried it, and such links end with it,"
    " also when hostguard is restarted; connect again"
)
_CONNECTION_FAILURE: Final = b"08006"


class ClientEnd(asyncio.Protocol):
    """The agent's side of a flow."""

    __slots__ = ("relay",)

    def __init__(self, relay: Relay) -> None:
        self.relay = relay

    def data_received(self, data: bytes) -> None:
        self.relay.feed_client(data)

    def eof_received(self) -> bool:
        return unread.half_close(self.relay, client=True)

    def pause_writing(self) -> None:
        self.relay.hold_reading_server(True)

    def resume_writing(self) -> None:
        self.relay.hold_reading_server(False)

    def connection_lost(self, exc: Exception | None) -> None:
        self.relay.client_lost(_how(exc))


class ServerEnd(asyncio.Protocol):
    """The server's side of a flow."""

    __slots__ = ("relay",)

    def __init__(self, relay: Relay) -> None:
        self.relay = relay

    def data_received(self, data: bytes) -> None:
        self.relay.feed_server(data)

    def eof_received(self) -> bool:
        return unread.half_close(self.relay, client=False)

    def pause_writing(self) -> None:
        self.relay.server_is_full(True)

    def resume_writing(self) -> None:
        self.relay.server_is_full(False)

    def connection_lost(self, exc: Exception | None) -> None:
        self.relay.server_lost(_how(exc))


class CarriedEnd(ServerEnd):
    """The server's side where the broker carries the link. That it ended is said: the server may know nothing of it."""

    __slots__ = ()

    def connection_lost(self, exc: Exception | None) -> None:
        self.relay.terminate(CARRIED_AWAY, _CONNECTION_FAILURE)
        super().connection_lost(exc)


def _how(exc: Exception | None) -> str:
    return f" {exc}" if isinstance(exc, Truncated) else ""
