"""The grants of this host, in a store that outlives the daemon.

Every use is counted by one statement that compares and sets (`Grants.use`), committed before anybody is told: two connections
can't both have the last one, and a crash at any instant loses a use at most. Nothing is kept in memory.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from sqlite3 import Connection
from typing import Any

import msgspec

from ..policy.grants import Grant, NotThere, UnknownGrant
from ..policy.requests import LETTERS, BookFull
from . import tickets
from .ledger import Ledger

KEPT_OVER = 10_000
"""Grants that are over and still shown; the oldest are forgotten first."""
SCHEMA = (
    """
    CREATE TABLE grants (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        agent TEXT NOT NULL,
        digest TEXT NOT NULL,
        body BLOB NOT NULL,
        not_before REAL NOT NULL,
        until REAL NOT NULL,
        uses_left INTEGER NOT NULL CHECK (uses_left >= 0),
        used_at REAL NOT NULL DEFAULT 0,
        revoked_at REAL NOT NULL DEFAULT 0,
        revoked_by TEXT NOT NULL DEFAULT '',
        revoked_reason TEXT NOT NULL DEFAULT ''
    ) STRICT;
    CREATE INDEX covering ON grants (agent, digest);
    CREATE TABLE issuers (grant_id TEXT NOT NULL REFERENCES grants (id) ON DELETE CASCADE, position INTEGER NOT NULL,
        user TEXT NOT NULL, PRIMARY KEY (grant_id, user)) STRICT;
    """,
    tickets.SCHEMA,
    "ALTER TABLE issuers ADD COLUMN groups TEXT NOT NULL DEFAULT '[]';",
)
_COLUMNS = "id, body, uses_left, used_at, revoked_at, revoked_by, revoked_reason"
_OPEN = "revoked_at = 0 AND uses_left > 0 AND until > ?"


Also = Callable[[Connection], None]


def nothing_else(_: Connection) -> None:
    """For a transaction that is complete."""


class Grants:
    """All grants, open ones and those that are over."""

    def __init__(self, ledger: Ledger, max_open: int) -> None:
        self._ledger = ledger
        self._max_open = max_open

    @property
    def changes(self) -> int:
        """A number that grows whenever a grant changes (and when a ticket does, which are in the same store)."""
        return self._ledger.changes

    def new_id(self) -> str:
        """One that no grant has."""
        while True:
            number = int.from_bytes(os.urandom(8))
            name = "G-" + "".join(LETTERS[number >> 5 * place & 31] for place in range(5))
            if not self._ledger.rows("SELECT 1 FROM grants WHERE id = ?", (name,)):
                return name

    def check_room(self, now: float) -> None:
        """Raises BookFull, LedgerUnavailable."""
        ((count,),) = self._ledger.rows(f"SELECT count(*) FROM grants WHERE {_OPEN}", (now,))
        if count >= self._max_open:
            raise BookFull(f"{count} grants are open already, as many as may be: revoke some (approvals.max_grants).")

    def add(self, grant: Grant, also: Also = nothing_else) -> None:
        """A new one, with its issuers, and whatever else belongs into that transaction. Raises LedgerUnavailable."""
        with self._ledger.change() as connection:
            connection.execute(
                "INSERT INTO grants (id, agent, digest, body, not_before, until, uses_left) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (grant.id, grant.agent, grant.digest, _body(grant), grant.not_before, grant.until, grant.left),
            )
            vouched = dict(grant.vouched)
            for position, user in enumerate(grant.issuers):
                _stands(connection, grant.id, position, user, vouched.get(user, ()))
            also(connection)
            over = "revoked_at > 0 OR uses_left = 0 OR until <= ?"
            connection.execute(
                f"DELETE FROM grants WHERE number IN (SELECT number FROM grants WHERE {over} ORDER BY number DESC"
                " LIMIT -1 OFFSET ?)",
                (grant.issued_at, KEPT_OVER),
            )

    def endorse(self, name: str, user: str, now: float, vouched: Sequence[str] = ()) -> Grant:
        """One more user stands for it. `vouched`: groups that their sign-in gave them.

        Raises UnknownGrant, NotThere, LedgerUnavailable.
        """
        grant = self.get(name)
        if grant.state(now) not in ("usable", "waiting"):
            raise NotThere(f"{name} is {grant.state(now)}.")
        if user in grant.issuers:
            raise NotThere(f"{user} stands for {name} already.")
        with self._ledger.change() as connection:
            _stands(connection, name, len(grant.issuers), user, vouched)
        return self.get(name)

    def covering(self, agent: str, digests: Sequence[str], now: float) -> list[Grant]:
        """Those that the agent may use now for what has these digests, in the digests' order; who is to end first comes first."""
        marks = ", ".join("?" for _ in digests)
        where = f"agent = ? AND digest IN ({marks}) AND not_before <= ? AND {_OPEN}"
        rows = self._ledger.rows(f"SELECT {_COLUMNS} FROM grants WHERE {where} ORDER BY until", (agent, *digests, now, now))
        return sorted(map(self._grant, rows), key=lambda grant: digests.index(grant.digest))

    def use(self, name: str, now: float) -> int | None:
        """Count one use: how many are left then, once that is durable; None when there is none to be had.

        The one place where a use is spent. Raises LedgerUnavailable; the use may be spent all the same.
        """
        with self._ledger.change() as connection:
            spent = connection.execute(
                f"UPDATE grants SET uses_left = uses_left - 1, used_at = ? WHERE id = ? AND not_before <= ? AND {_OPEN}"
                " RETURNING uses_left",
                (now, name, now, now),
            ).fetchall()
        return int(spent[0][0]) if spent else None

    def revoke(self, name: str, user: str, reason: str, now: float) -> Grant:
        """End it. Raises UnknownGrant, NotThere, LedgerUnavailable."""
        grant = self.get(name)
        with self._ledger.change() as connection:
            ended = connection.execute(
                f"UPDATE grants SET revoked_at = ?, revoked_by = ?, revoked_reason = ? WHERE id = ? AND {_OPEN}",
                (now, user, reason, name, now),
            ).rowcount
        if not ended:
            raise NotThere(f"{name} is {grant.state(now)} already.")
        return self.get(name)

    def get(self, name: str) -> Grant:
        """Raises UnknownGrant, LedgerUnavailable."""
        rows = self._ledger.rows(f"SELECT {_COLUMNS} FROM grants WHERE id = ?", (name,))
        if not rows:
            raise UnknownGrant(f"There is no grant {name}.")
        return self._grant(rows[0])

    def list(self, now: float, *, everything: bool) -> list[Grant]:
        """Open ones, or all that are known; the oldest first. Raises LedgerUnavailable."""
        where, values = ("1", ()) if everything else (_OPEN, (now,))
        return [
            self._grant(row) for row in self._ledger.rows(f"SELECT {_COLUMNS} FROM grants WHERE {where} ORDER BY number", values)
        ]

    def count(self, now: float) -> int:
        """How many are open. Raises LedgerUnavailable."""
        ((count,),) = self._ledger.rows(f"SELECT count(*) FROM grants WHERE {_OPEN}", (now,))
        return int(count)

    def _grant(self, row: Sequence[Any]) -> Grant:
        name, body, left, used_at, revoked_at, revoked_by, revoked_reason = row
        issuers = self._ledger.rows("SELECT user, groups FROM issuers WHERE grant_id = ? ORDER BY position", (name,))
        return msgspec.structs.replace(
            msgspec.msgpack.decode(body, type=Grant),
            issuers=tuple(user for user, _ in issuers),
            vouched=tuple((user, tuple(json.loads(groups))) for user, groups in issuers if groups != "[]"),
            left=left,
            used_at=used_at,
            revoked_at=revoked_at,
            revoked_by=revoked_by,
            revoked_reason=revoked_reason,
        )


def _stands(connection: Connection, name: str, position: int, user: str, vouched: Sequence[str]) -> None:
    row = (name, position, user, json.dumps(list(vouched)))
    connection.execute("INSERT INTO issuers (grant_id, position, user, groups) VALUES (?, ?, ?, ?)", row)


def _body(grant: Grant) -> bytes:
    """What never changes of it."""
    return msgspec.msgpack.encode(msgspec.structs.replace(grant, issuers=(), vouched=(), left=0))
