"""Tickets: requests for approval that outlive the flow that asked, in the store of grants.

A ticket that is approved is a grant of its exact operation, made in the same transaction: after a crash there are both or none.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ..policy.requests import Request
from .ledger import Ledger
from .waiting import Ticket

MAX_BYTES = 1 << 20
"""Of a ticket, statement and parameters included: what is longer can wait, but can't be kept."""
KEPT_OVER = 1000
"""Tickets that are over and still known; the oldest are forgotten first."""
SCHEMA = """
    CREATE TABLE tickets (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        agent TEXT NOT NULL,
        digest TEXT NOT NULL,
        state TEXT NOT NULL,
        expires_at REAL NOT NULL,
        request BLOB NOT NULL,
        ticket BLOB NOT NULL,
        needs BLOB NOT NULL
    ) STRICT;
    CREATE INDEX asked_for ON tickets (agent, digest);
"""


class Kept(msgspec.Struct, frozen=True):
    """One ticket as it is kept."""

    request: Request
    ticket: Ticket
    needs: tuple[str, ...]
    """The actions that need the approval."""


class Tickets:
    """All tickets, open ones and those that are over."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def add(self, kept: Kept) -> None:
        """A new one. Raises LedgerUnavailable."""
        request = kept.request
        row = (
            request.id,
            request.agent,
            request.digest,
            request.state.value,
            request.expires_at,
            *map(msgspec.msgpack.encode, (request, kept.ticket, kept.needs)),
        )
        with self._ledger.change() as connection:
            columns = "id, agent, digest, state, expires_at, request, ticket, needs"
            connection.execute(f"INSERT INTO tickets ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
            connection.execute(
                "DELETE FROM tickets WHERE number IN (SELECT number FROM tickets WHERE state NOT IN ('pending', 'approved')"
                " ORDER BY number DESC LIMIT -1 OFFSET ?)",
                (KEPT_OVER,),
            )

    def change(self, connection: Any, request: Request) -> None:
        """What has become of it, within a transaction of the ledger's. Statement and parameters stay as they were filed."""
        (body,) = connection.execute("SELECT request FROM tickets WHERE id = ?", (request.id,)).fetchone()
        filed = msgspec.msgpack.decode(body, type=Request)
        whole = msgspec.structs.replace(request, text=filed.text, parameters=filed.parameters, prepared=filed.prepared)
        connection.execute(
            "UPDATE tickets SET state = ?, expires_at = ?, request = ? WHERE id = ?",
            (request.state.value, request.expires_at, msgspec.msgpack.encode(whole), request.id),
        )

    def save(self, request: Request) -> None:
        """As `change`, in a transaction of its own. Raises LedgerUnavailable."""
        with self._ledger.change() as connection:
            self.change(connection, request)

    def whole(self, request_id: str) -> Request | None:
        """The request with all of its statement. Raises LedgerUnavailable."""
        rows = self._ledger.rows("SELECT request FROM tickets WHERE id = ?", (request_id,))
        return msgspec.msgpack.decode(rows[0][0], type=Request) if rows else None

    def ticket(self, request_id: str) -> Ticket | None:
        """What has to be known of its operation. Raises LedgerUnavailable."""
        rows = self._ledger.rows("SELECT ticket FROM tickets WHERE id = ?", (request_id,))
        return msgspec.msgpack.decode(rows[0][0], type=Ticket) if rows else None

    def asked_for(self, agent: str, digest: str, now: float) -> Request | None:
        """The newest ticket of this operation whose time is not over, whatever became of it. Raises LedgerUnavailable."""
        rows = self._ledger.rows(
            "SELECT request FROM tickets WHERE agent = ? AND digest = ? AND expires_at > ? ORDER BY number DESC LIMIT 1",
            (agent, digest, now),
        )
        return msgspec.msgpack.decode(rows[0][0], type=Request) if rows else None

    def open(self) -> list[Kept]:
        """Those that users can still do something about, or agents; the oldest first. Raises LedgerUnavailable."""
        query = "SELECT request, ticket, needs FROM tickets WHERE state IN ('pending', 'approved') ORDER BY number"
        return [
            Kept(
                msgspec.msgpack.decode(request, type=Request),
                msgspec.msgpack.decode(ticket, type=Ticket),
                msgspec.msgpack.decode(needs, type=tuple[str, ...]),
            )
            for request, ticket, needs in self._ledger.rows(query)
        ]

    def names(self) -> set[str]:
        """Ids of all that are known: a new request must not have one of these. Raises LedgerUnavailable."""
        return {name for (name,) in self._ledger.rows("SELECT id FROM tickets")}
