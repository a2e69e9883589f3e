"""A small durable store of the supervisor's: SQLite, opened whole or not at all.

For what has to outlive a crash and is changed in place, unlike the log: how many uses a grant has left, who was stopped. Each
subject has a file of its own below ``state_dir``, with a schema of its own, so that one can be restored without the others.

What is true when we crash: a transaction that `Ledger.change` has left without an error is on the disk (write-ahead log,
``synchronous=FULL``: sqlite.org/pragma.html), one that raised may be there or not, and never half of one. So who counts something
down does it before he lets something go: a crash loses a use, and adds none.

Calls take as long as the disk takes to sync, some milliseconds. There is one writer, the daemon that holds the run folder.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .failures import Failure

APPLICATION = 0x68677264
"""``hgrd``: what the file's header says that it belongs to (sqlite.org/fileformat2.html §1.3.16)."""
BUSY_S = 5.0
"""How long somebody who looks into the file by hand may keep us waiting."""


class LedgerUnavailable(Exception):
    """The store can't be read or written now; says why. What was to be written may be there all the same."""


class Ledger:
    """One open store."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self.changes = 0
        """How many transactions were written since it was opened."""
        self._connection = connection

    @classmethod
    def open(cls, path: Path, steps: Sequence[str]) -> Ledger:
        """Open the store, made if there is none, and bring it to the newest schema.

        `steps`: an SQL script for each version of the schema; what has been released is never changed, only followed by
        another. Raises Failure for a file that is damaged, another program's, or a later version's: nothing is mended in secret,
        since a count that nobody knows must not be taken for a full one.
        """
        try:
            _create(path)
            connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise Failure(f"{path} can't be opened: {error}") from None
        try:
            _prepare(path, connection, steps)
        except sqlite3.Error as error:
            connection.close()
            raise Failure(f"{path} can't be read: {error}. Restore it from a backup, or move it away to begin anew") from None
        except Failure:
            connection.close()
            raise
        return cls(path, connection)

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """One transaction, which nobody else writes beside; left by an exception, it has changed nothing.

        On the disk once it is left without one. Raises LedgerUnavailable.
        """
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
                self.changes += 1
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise LedgerUnavailable(f"{self.path}: {error}") from None

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """What a query finds. Raises LedgerUnavailable."""
        try:
            return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise LedgerUnavailable(f"{self.path}: {error}") from None

    def close(self) -> None:
        """Close the file; what was committed is in it."""
        self._connection.close()


def _create(path: Path) -> None:
    """An empty file for its owner only, durable under its name; SQLite gives its own files beside it the same mode."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _prepare(path: Path, connection: sqlite3.Connection, steps: Sequence[str]) -> None:
    """Raises Failure, sqlite3.Error."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (objects,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION and (application or version or objects):
        raise Failure(f"{path} is not hostguard's: move it away")
    if version > len(steps):
        raise Failure(f"{path} has schema version {version}, this hostguard knows {len(steps)}: run the newer one")
    faults = connection.execute("PRAGMA integrity_check(3)").fetchall()
    if faults != [("ok",)]:
        said = "; ".join(str(fault) for (fault,) in faults)
        raise Failure(f"{path} is damaged: {said}. Restore it from a backup, or move it away to begin anew")
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "trusted_schema = OFF"):
        connection.execute(f"PRAGMA {pragma}")
    if version < len(steps):
        changes = "".join(f"{step};" for step in steps[version:])
        # One transaction: a crash in between leaves the version before.
        connection.executescript(
            f"BEGIN IMMEDIATE; {changes} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {len(steps)}; COMMIT;"
        )
