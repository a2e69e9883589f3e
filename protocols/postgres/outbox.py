"""The effects of one call, in order, adjacent bytes of one direction joined."""

from __future__ import annotations

from ..events import Close, Effect, Ends, Opaque, Replied, ToClient, ToServer


class Outbox:
    """Collects effects. Bytes to one side that nothing separates leave as one effect, so as one write.

    `Replied` is bookkeeping, not order on the wire: it follows all other effects of the call (and precedes `Close`), so that it
    does not cut a write in two.
    """

    __slots__ = ("_client", "_close", "_effects", "_replied", "_server")

    def __init__(self) -> None:
        self._effects: list[Effect] = []
        self._server: list[bytes] = []
        self._client: list[bytes] = []
        self._replied: list[Effect] = []
        self._close: Ends | None = None

    def to_server(self, data: bytes) -> None:
        if self._client:
            self._flush()
        self._server.append(data)

    def to_client(self, data: bytes) -> None:
        if self._server:
            self._flush()
        self._client.append(data)

    def add(self, effect: Effect) -> None:
        """Any effect but bytes, `Replied` and `Close`."""
        self._flush()
        self._effects.append(effect)

    def replied(self, effect: Replied) -> None:
        self._replied.append(effect)

    def close(self, effect: Close) -> None:
        self._close = effect

    def let_go(self, effect: Opaque) -> None:
        """The last effect of all, as `Close` is."""
        self._close = effect

    def take(self) -> list[Effect]:
        """Everything since the last call."""
        self._flush()
        effects = self._effects
        self._effects = []
        if self._replied:
            effects += self._replied
            self._replied = []
        if self._close:
            effects.append(self._close)
            self._close = None
        return effects

    def _flush(self) -> None:
        if self._server:
            data = self._server[0] if len(self._server) == 1 else b"".join(self._server)
            self._effects.append(ToServer(data))
            self._server = []
        if self._client:
            data = self._client[0] if len(self._client) == 1 else b"".join(self._client)
            self._effects.append(ToClient(data))
            self._client = []
