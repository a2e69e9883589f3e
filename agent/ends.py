"""The two ends of a flow as the event loop knows them: they only pass on what happens."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from . import unread

if TYPE_CHECKING:
    from .relay import Relay


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
        self.relay.client_lost()


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
        self.relay.server_lost()
