"""Full-text index over the statements of the log, in SQLite.

Theory of operation. The index is a file beside the log that nobody needs: it is made from the log, brought up to date by whoever
searches, and never written by the daemon. Every batch of entries goes in by one transaction together with the position up to
which the log was read, so a killed search leaves an index that is older, not one that is wrong. It remembers the log's first
entry: of another log it is made anew. What is found is a position in the log, and the log is what is believed.

`Connection`: SQLite 3.34 or newer with FTS5, in autocommit mode (``isolation_level=None``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from sqlite3 import Connection

from .entry import Approval, Decision, Entry, FlowOpen, Operation, Reply, Session, Unknown
from .exchanges import text_of
from .filters import Filters, label
from .packing import Fetch, restore
from .reader import Reader, Record
from .stored import Stored
from .visible import visible

VERSION = 3
BATCH_ENTRIES = 20_000
"""Entries in one transaction: a second's work."""
_KINDS = (FlowOpen, Session, Operation, Decision, Reply, Approval)
# "_" is part of a name: customer_id is one word. What is not in FTS5's "content" table is kept once, in operations.
_SCHEMA = """
CREATE TABLE state (version INTEGER, origin BLOB, position INTEGER);
CREATE TABLE flows (flow INTEGER PRIMARY KEY, agent TEXT, resource TEXT, user TEXT DEFAULT '');
CREATE TABLE unopened (entry INTEGER PRIMARY KEY);
CREATE TABLE operations (entry INTEGER PRIMARY KEY, flow INTEGER, number INTEGER, wall_ns INTEGER, form TEXT, text TEXT);
CREATE UNIQUE INDEX by_number ON operations (flow, number);
CREATE TABLE verdicts (entry INTEGER, verdict TEXT);
CREATE INDEX verdicts_of ON verdicts (entry);
CREATE TABLE tables (entry INTEGER, path TEXT);
CREATE INDEX tables_of ON tables (entry);
CREATE TABLE tags (entry INTEGER, tag TEXT);
CREATE INDEX tags_of ON tags (entry);
CREATE TABLE approvals (entry INTEGER, user TEXT);
CREATE INDEX approvals_of ON approvals (entry);
CREATE VIRTUAL TABLE statements USING fts5
    (text, content='operations', content_rowid='entry', tokenize="unicode61 tokenchars '_'");
"""
_TABLES = ("state", "flows", "operations", "unopened", "verdicts", "tables", "tags", "approvals", "statements")


class BadQuery(ValueError):
    """The text to search for has no word in it."""


@dataclass(frozen=True, slots=True)
class Found:
    """One operation that matches. Texts are fit to be shown."""

    entry: int
    """Position in the log."""
    flow: int
    operation: int
    wall_ns: int
    agent: str
    user: str
    """The database's."""
    resource: str
    form: str
    verdicts: tuple[str, ...]
    """In order; a held operation that was decided has two."""
    text: str
    """The statement on one line."""


def update(connection: Connection, reader: Reader, origin: bytes, *, rebuild: bool = False) -> int:
    """Bring the index up to the log's end and return the position it reaches: all entries before that are in it.

    `reader` must begin at `position(connection, origin)`; `origin`: what tells this log from others (its first entry).
    Raises LogCorrupt, sqlite3.Error.
    """
    if rebuild or position(connection, origin) == 0:
        _begin(connection, origin)
    batch: list[Record] = []
    for record in reader.entries(_KINDS):
        batch.append(record)
        if len(batch) >= BATCH_ENTRIES:
            _write(connection, batch, record[0] + 1, reader.payload)
            batch = []
    _write(connection, batch, reader.position, reader.payload)
    return position(connection, origin)


def position(connection: Connection, origin: bytes) -> int:
    """Up to which entry the index holds the log of this origin; 0 for an index that is none, or another log's."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'state'").fetchone():
        return 0
    row = connection.execute("SELECT version, origin, position FROM state").fetchone()
    return int(row[2]) if row and row[:2] == (VERSION, origin) else 0


def _begin(connection: Connection, origin: bytes) -> None:
    for name in _TABLES:
        connection.execute(f"DROP TABLE IF EXISTS {name}")
    connection.executescript(_SCHEMA)
    connection.execute("INSERT INTO state VALUES (?, ?, 0)", (VERSION, origin))


def _write(connection: Connection, batch: list[Record], reached_now: int, fetch: Fetch) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        (reached,) = connection.execute("SELECT position FROM state").fetchone()
        for index, entry in batch:
            # Another search may have come first; what it wrote is the same.
            if index >= reached and isinstance(entry, _KINDS):
                _add(connection, index, restore(entry, fetch))
        connection.execute("UPDATE state SET position = max(position, ?)", (reached_now,))
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _add(connection: Connection, index: int, entry: Entry | Unknown) -> None:
    match entry:
        case FlowOpen():
            connection.execute("INSERT INTO flows (flow, agent, resource) VALUES (?, ?, ?)", (index, entry.agent, entry.resource))
        case Session():
            connection.execute("UPDATE flows SET user = ? WHERE flow = ?", (_plain(entry.user), entry.flow))
        case Operation():
            row = (index, entry.flow, entry.operation, entry.wall_ns, entry.form, text_of(entry.text))
            connection.execute("INSERT INTO operations VALUES (?, ?, ?, ?, ?, ?)", row)
            connection.execute("INSERT INTO statements (rowid, text) VALUES (?, ?)", (index, _plain(entry.text)))
            if isinstance(entry.text, Stored) and entry.text.encrypted:
                connection.execute("INSERT INTO unopened VALUES (?)", (index,))
        case Decision():
            _attach(connection, "verdicts", entry, [label(entry)])
            paths = () if isinstance(entry.accesses, Stored) else (path for _, path in entry.accesses)
            _attach(connection, "tables", entry, paths)
        case Reply():
            _attach(connection, "tags", entry, () if isinstance(entry.tags, Stored) else entry.tags)
        case Approval():
            _attach(connection, "approvals", entry, [entry.user] if entry.user else [])


def _attach(connection: Connection, table: str, entry: Decision | Reply | Approval, values: Iterable[str]) -> None:
    """Rows of (operation's entry, value)."""
    assert table in _TABLES
    for value in values:
        connection.execute(
            f"INSERT INTO {table} SELECT entry, ? FROM operations WHERE flow = ? AND number = ?",
            (value, entry.flow, entry.operation),
        )


def _plain(value: str | Stored | None) -> str:
    return value if isinstance(value, str) else ""


def search(connection: Connection, text: str, filters: Filters) -> list[Found]:
    """Operations whose statement has all words of `text`, the oldest first; the newest `filters.limit` of them.

    ``"two words"`` in double quotes must follow each other; ``cust*`` is any word that begins so. Without text the filters alone
    select. Raises BadQuery.
    """
    where, values = _conditions(filters)
    source = "operations JOIN flows USING (flow)"
    if text:
        source += " JOIN statements ON statements.rowid = operations.entry"
        where.append("statements MATCH ?")
        values.append(match_of(text))
    condition = " AND ".join(where) or "1"
    rows = connection.execute(
        f"SELECT entry, flow, number, wall_ns, agent, user, resource, form, operations.text FROM {source} WHERE {condition}"
        " ORDER BY entry DESC LIMIT ?",
        (*values, -1 if filters.limit is None else filters.limit),
    ).fetchall()
    return [_found(connection, row) for row in reversed(rows)]


def unopened(connection: Connection) -> int:
    """How many statements are encrypted and were not opened when they were indexed: no word finds them."""
    return int(connection.execute("SELECT count(*) FROM unopened").fetchone()[0])


def _conditions(filters: Filters) -> tuple[list[str], list[str | int]]:
    """Conditions of the operation itself, and their values."""
    named: tuple[tuple[str, tuple[str | int | None, ...]], ...] = (
        ("agent = ?", (filters.agent,)),
        ("resource = ?", (filters.resource,)),
        ("(user = ? OR entry IN (SELECT entry FROM approvals WHERE user = ?))", (filters.user, filters.user)),
        ("entry IN (SELECT entry FROM verdicts WHERE verdict = ?)", (filters.verdict,)),
        ("entry IN (SELECT entry FROM tags WHERE tag = ? OR substr(tag, 1, length(?) + 1) = ? || '.')", (filters.tag,) * 3),
        ("wall_ns >= ?", (filters.since_ns,)),
        ("wall_ns < ?", (filters.until_ns,)),
    )
    where = [condition for condition, values in named if values[0] is not None]
    found: list[str | int] = [value for _, values in named for value in values if value is not None]
    if filters.table is not None:
        path = filters.table.replace(".", "/")
        where.append("entry IN (SELECT entry FROM tables WHERE path = ? OR substr(path, -length(?) - 1) = '/' || ?)")
        found += [path] * 3
    return where, found


def match_of(text: str) -> str:
    """FTS5's expression (sqlite.org/fts5.html §3) for words and phrases; nothing in `text` is an operator. Raises BadQuery."""
    terms = []
    for number, part in enumerate(text.split('"')):
        for word in [part] if number % 2 else part.split():
            bare = word.rstrip("*")
            if any(char.isalnum() or char == "_" for char in bare):
                terms.append(f'"{bare}"' + ("*" if word != bare and not number % 2 else ""))
    if not terms:
        raise BadQuery(f"there is no word in {text!r}")
    return " ".join(terms)


def _found(connection: Connection, row: tuple[int, int, int, int, str, str, str, str, str]) -> Found:
    entry, flow, number, wall_ns, agent, user, resource, form, text = row
    verdicts = connection.execute("SELECT verdict FROM verdicts WHERE entry = ? ORDER BY rowid", (entry,))
    names = tuple(visible(verdict) for (verdict,) in verdicts)
    shown = visible(" ".join(text.split()))
    return Found(entry, flow, number, wall_ns, visible(agent), visible(user), visible(resource), visible(form), names, shown)
