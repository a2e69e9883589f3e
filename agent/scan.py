"""Reads what a database's columns are called, with some of their values, to propose tags from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, LiteralString, NamedTuple

from ..policy.addresses import UNIX_SCHEME, parse_address
from ..policy.discover import Column
from ..policy.sql.catalog import Catalog, CatalogMalformed, CatalogTooLarge
from ..policy.sql.catalog_queries import QUERY
from .failures import Failure

MAX_CHARACTERS = 4096
"""Of a value: what is longer is looked at this far."""
_TIMEOUT_MS = 10_000
_QUOTED, _BEHIND_BACKSLASH = r"(['\\])", r"\\\1"

_COLUMNS: LiteralString = """
SELECT n.nspname, c.relname, a.attname, pg_catalog.format_type(a.atttypid, NULL), pg_catalog.col_description(c.oid, a.attnum)
  FROM pg_catalog.pg_attribute a
  JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) a.attrelid
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'f', 'm') AND NOT c.relispartition AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
   AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_%%'
 ORDER BY 1, 2, a.attnum
"""


def connection_string(address: str, database: str, word: str = "") -> str:
    """libpq's words for an address of a resource; as whom hostguard logs in there is not the client's to say.

    `word`: the resource's ``client_password``. Raises Failure for a socket of a name that libpq can't be told.
    """
    host, port = parse_address(address)
    if host.startswith(UNIX_SCHEME):
        folder, _, suffix = host.removeprefix(UNIX_SCHEME).rpartition("/.s.PGSQL.")
        if not folder or not suffix.isdigit():
            raise Failure(f"{address}: libpq can't connect to a socket of that name")
        host, port = folder, int(suffix)
    # TLS between us and hostguard is as it offers it; nothing secret is asked for.
    words = {"host": host, "port": str(port), "dbname": database, "user": "hostguard", "password": word}
    # PostgreSQL 18 docs §32.1.1.1: a quote and a backslash within quotes have a backslash before them.
    return " ".join(f"{name}='{re.sub(_QUOTED, _BEHIND_BACKSLASH, said)}'" for name, said in words.items() if said)


class Scanned(NamedTuple):
    """What was read of a database."""

    database: str
    columns: list[Column]
    catalog: Catalog | None
    """None where it may not be read."""


def scan(dsn: str, rows: int) -> Scanned:
    """A database's columns, with values of at most `rows` rows of each table; values stay in memory. Raises Failure.

    Everything runs in one read-only transaction, each statement ten seconds at most. A table that may not be read, or does not
    answer in time, has no values.
    """
    try:
        import psycopg
    except ImportError:
        raise Failure("scanning needs psycopg: pip install 'hostguard[scan]'") from None
    try:
        with psycopg.connect(dsn, autocommit=False, options=f"-c statement_timeout={_TIMEOUT_MS}") as connection:
            connection.read_only = True
            return Scanned(connection.info.dbname, list(_read(connection, rows)), _catalog(connection))
    except psycopg.Error as error:
        raise Failure(f"the database can't be read: {str(error).strip()}") from None


def _read(connection: Any, rows: int) -> Iterator[Column]:
    tables: dict[tuple[str, str], list[tuple[str, str, str]]] = {}
    for schema, table, name, kind, comment in connection.execute(_COLUMNS).fetchall():
        tables.setdefault((schema, table), []).append((name, kind, comment or ""))
    for (schema, table), described in tables.items():
        values = _sampled(connection, schema, table, [name for name, _, _ in described], rows) if rows else []
        for number, (name, kind, comment) in enumerate(described):
            yield Column(schema, table, name, kind, comment, tuple(value for row in values if (value := row[number])))


def _catalog(connection: Any) -> Catalog | None:
    import psycopg

    try:
        with connection.transaction():
            return Catalog.from_rows(connection.execute(QUERY).fetchall())
    except (psycopg.Error, CatalogTooLarge, CatalogMalformed):
        return None


def _sampled(connection: Any, schema: str, table: str, names: list[str], rows: int) -> list[tuple[str | None, ...]]:
    import psycopg
    from psycopg import sql

    text = sql.SQL("SELECT {} FROM {} LIMIT {}").format(
        sql.SQL(", ").join(
            sql.SQL("pg_catalog.left({}::pg_catalog.text, {})").format(sql.Identifier(n), MAX_CHARACTERS) for n in names
        ),
        sql.Identifier(schema, table),
        rows,
    )
    try:
        with connection.transaction():
            return list(connection.execute(text).fetchall())
    except psycopg.Error:
        return []
