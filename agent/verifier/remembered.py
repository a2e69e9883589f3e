"""What of tokens outlives a crash: which were revoked, which were used once, which files are followed for which cgroups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from ..ledger import Ledger

STEPS = (
    """
    CREATE TABLE revoked (digest TEXT PRIMARY KEY, until REAL NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE used (mark TEXT PRIMARY KEY, holder TEXT NOT NULL, until REAL NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE places (
        agent TEXT NOT NULL, issuer TEXT NOT NULL, cgroup_id INTEGER NOT NULL, cgroup TEXT NOT NULL, file TEXT NOT NULL,
        PRIMARY KEY (agent, issuer, cgroup_id)
    ) STRICT, WITHOUT ROWID
    """,
)
MAX_USED = 100_000
"""Tokens for one use that have not expired; when there are so many, further ones are refused."""

Key = tuple[str, str, int]


class Remembered:
    """Times are seconds since 1970. All that changes something raises LedgerUnavailable, with nothing changed."""

    def __init__(self, path: Path) -> None:
        """Open the store. Raises Failure."""
        self._ledger = Ledger.open(path, STEPS)

    def close(self) -> None:
        """Close the store."""
        self._ledger.close()

    def is_revoked(self, digest: str) -> bool:
        """Whether this token was revoked. Raises LedgerUnavailable."""
        return bool(self._ledger.rows("SELECT 1 FROM revoked WHERE digest = ?", (digest,)))

    def revoke(self, digests: Mapping[str, float], now: float) -> None:
        """These tokens count no more, each until it expires by itself."""
        with self._ledger.change() as connection:
            connection.execute("DELETE FROM revoked WHERE until <= ?", (now,))
            connection.executemany("INSERT OR REPLACE INTO revoked VALUES (?, ?)", list(digests.items()))

    def use(self, mark: str, holder: str, until: float, now: float) -> str:
        """The holder uses a token for one use, be it again. Why it may not; empty when it may, and nobody else any more."""
        with self._ledger.change() as connection:
            connection.execute("DELETE FROM used WHERE until <= ?", (now,))
            ((count,),) = connection.execute("SELECT count(*) FROM used").fetchall()
            found = connection.execute("SELECT holder FROM used WHERE mark = ?", (mark,)).fetchall()
            if found:
                return "" if found[0][0] == holder else "it was used before, by another"
            if count >= MAX_USED:
                return "too many tokens are remembered to tell whether it was used before"
            connection.execute("INSERT INTO used VALUES (?, ?, ?)", (mark, holder, until))
            return ""

    def places(self) -> dict[Key, tuple[str, str]]:
        """Cgroups of `hostguard exec`: path, the file with the token. Raises LedgerUnavailable."""
        rows = self._ledger.rows("SELECT agent, issuer, cgroup_id, cgroup, file FROM places")
        return {(agent, issuer, cgroup_id): (cgroup, file) for agent, issuer, cgroup_id, cgroup, file in rows}

    def add_place(self, key: Key, cgroup: str, file: str) -> None:
        """Follow a file for a cgroup."""
        with self._ledger.change() as connection:
            connection.execute("INSERT OR REPLACE INTO places VALUES (?, ?, ?, ?, ?)", (*key, cgroup, file))

    def drop_places(self, keys: Iterable[Key]) -> None:
        """These cgroups are gone."""
        with self._ledger.change() as connection:
            connection.executemany("DELETE FROM places WHERE agent = ? AND issuer = ? AND cgroup_id = ?", list(keys))
