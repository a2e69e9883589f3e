"""A conversation that nobody reads: every byte passes as it comes.

For flows that are observed, whose record says why nothing of them could be read, and for what is encrypted between its two ends
once policy has allowed it (`settled`). Until `start` both directions wait here, because the record comes first; the owner reads
no more from either side meanwhile than it has to.
"""

from __future__ import annotations

from .events import Close, Decision, Effect, Session, Terms, ToClient, ToServer


class Wordless:
    """What of `events.Conversation` is nothing where no word of either side is read: logins, statements, notices."""

    def client_encrypted(self, binding: bytes | None) -> None:
        """By others than hostguard, or before it became unreadable."""

    def server_encrypted(self) -> None:
        """As above."""

    def authenticated(self, say: bytes, *, done: bool) -> list[Effect]:
        """No login is seen, so none is made."""
        return []

    def probe(self, name: str, text: str, terms: Terms | None = None) -> list[Effect]:
        return []

    @property
    def quiet(self) -> bool:
        """There is nothing to be asked."""
        return False

    @property
    def session(self) -> Session | None:
        """None is read."""
        return None

    def proceed(self) -> list[Effect]:
        return []

    def notice(self, text: str, hint: str) -> list[Effect]:
        return []

    def set_search_path(self, path: tuple[str, ...] | None) -> None:
        """Nobody reads statements."""


class Passage(Wordless):
    """Implements `events.Conversation` for bytes of any protocol."""

    def __init__(self, to_server: bytes = b"", to_client: bytes = b"", *, settled: bool = False) -> None:
        """What was held back of each direction goes first."""
        self._to_server = bytearray(to_server)
        self._to_client = bytearray(to_client)
        self.settled = settled
        """Policy has allowed it: it passes whether or not its workload is observed."""
        self.open = False
        """Bytes pass: it is on record, and the server is there."""
        self.half_closed = False
        """One side sends no more; the owner's to note."""
        self._closed = False
        self._passed = 0

    def from_client(self, data: bytes) -> list[Effect]:
        if self.open:
            return [ToServer(data)]
        self._to_server += data
        return []

    def from_server(self, data: bytes) -> list[Effect]:
        self._passed += len(data)
        if self.open:
            return [ToClient(data)]
        self._to_client += data
        return []

    def start(self) -> list[Effect]:
        """It is on record, and the server is there: let everything pass."""
        if self._closed:
            return []
        self.open = True
        effects: list[Effect] = []
        if self._to_server:
            effects.append(ToServer(bytes(self._to_server)))
        if self._to_client:
            effects.append(ToClient(bytes(self._to_client)))
        self._to_server = self._to_client = bytearray()
        return effects

    def client_closed(self) -> list[Effect]:
        return self._close("the client closed the connection")

    def server_closed(self) -> list[Effect]:
        return self._close("the server closed the connection")

    def terminate(self, reason: str, code: bytes) -> list[Effect]:
        """Its protocol is unknown, so the reason is for the record alone."""
        return self._close(reason)

    def _close(self, reason: str) -> list[Effect]:
        if self._closed:
            return []
        self._closed = True
        return [Close(reason)]

    # What only conversations that are read know.

    def observe(self, observed: bool) -> None:
        """It is; the owner ends it when that changes."""

    def reached(self) -> list[Effect]:
        return []

    def resume(self, operation_id: int, decision: Decision) -> list[Effect]:
        """Of an operation that it was asked about before it became unreadable: that has passed."""
        return []

    def withdraw(self, reason: str, code: bytes) -> list[Effect]:
        return []

    @property
    def begun(self) -> bool:
        """Who speaks first is not known."""
        return True

    @property
    def idle(self) -> bool:
        """Not to anybody's knowledge."""
        return False

    @property
    def underway(self) -> tuple[int, int]:
        """All bytes of the server's."""
        return 0, self._passed

    @property
    def client_backlog(self) -> int:
        return len(self._to_server)
