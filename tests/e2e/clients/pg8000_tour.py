"""pg8000, the driver in pure Python: its native and its DB-API face."""

from __future__ import annotations

import datetime
import decimal
import io
import os
import ssl
from collections.abc import Callable
from typing import Any

import pg8000.dbapi
import pg8000.native
from e2e.clients.transcript import digest, say

TARGET: dict[str, Any] = {
    "user": os.environ["PGUSER"],
    "host": os.environ["PGHOST"],
    "port": int(os.environ["PGPORT"]),
    "database": os.environ["PGDATABASE"],
    "password": os.environ.get("PGPASSWORD"),
    "ssl_context": ssl.create_default_context(cafile=os.environ["PGSSLROOTCERT"]) if "PGSSLROOTCERT" in os.environ else None,
}


def attempt(label: str, work: Callable[[], object]) -> None:
    try:
        say(label, work())
    except pg8000.native.Error as error:
        say(f"{label}: error", error.args)


def described(connection: pg8000.native.Connection) -> list[list[object]]:
    """The reply's columns, without the OIDs that differ between two databases."""
    keys = ("name", "column_attrnum", "type_size", "type_modifier", "format")
    return [[column[key] for key in keys] for column in connection.columns or []]


def native() -> None:
    with pg8000.native.Connection(**TARGET) as connection:
        for text in (
            "SELECT 1 AS one, 'x' AS two, NULL",
            "CREATE TABLE n (id int PRIMARY KEY, body text, at timestamptz)",
            "SELECT 1; SELECT 2",
            "SELECT * FROM missing",
            "SELECT 1/0",
            "SELEC 1",
            "SELECT 'unterminated",
            "SELECT (",
            "SELECT says('noted')",
            "SELECT fails('raised')",
            "SHOW transaction_isolation",
        ):
            attempt(text, lambda text=text: [connection.run(text), described(connection), connection.row_count])  # type: ignore[misc]
        insert = "INSERT INTO n VALUES (:id, :body, :at) RETURNING *"
        at = datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.UTC)
        for number in (1, 2, 2):
            attempt(f"insert {number}", lambda number=number: connection.run(insert, id=number, body="☃", at=at))  # type: ignore[misc]
        for value in (
            decimal.Decimal("1.50"),
            b"\x00\xff",
            True,
            None,
            [1, 2, None],
            {"k": 1},
            datetime.date(2024, 2, 29),
            2**62,
            1.5,
        ):
            attempt(repr(value), lambda value=value: connection.run("SELECT :v", v=value))  # type: ignore[misc]
        prepared = connection.prepare("SELECT body FROM n WHERE id = :id")
        attempt("prepared", lambda: [prepared.run(id=number) for number in (1, 2, 3)])
        attempt("prepared, wrong type", lambda: prepared.run(id="x"))
        prepared.close()
        source = io.BytesIO(b"10\tten\t\\N\n11\televen\t\\N\n")
        attempt("copy in", lambda: [connection.run("COPY n FROM STDIN", stream=source), connection.row_count])
        attempt("copy in, duplicate", lambda: connection.run("COPY n FROM STDIN", stream=io.BytesIO(b"10\tdup\t\\N\n")))
        out = io.BytesIO()
        attempt("copy out", lambda: [connection.run("COPY (SELECT * FROM n ORDER BY id) TO STDOUT", stream=out), out.getvalue()])
        rows = connection.run("SELECT g, repeat('x', 100) FROM generate_series(1, 20000) g")
        say("large", len(rows), digest([repr(row).encode() for row in rows]))
        connection.run("LISTEN news")
        connection.run("NOTIFY news, 'hello'")
        connection.run("SELECT 1")
        say("notifications", [(channel, payload) for _pid, channel, payload in connection.notifications])
        say("notices", [sorted((key.decode(), value.decode()) for key, value in notice.items()) for notice in connection.notices])
        say(
            "parameters",
            {name: connection.parameter_statuses[name] for name in ("client_encoding", "server_version", "TimeZone")},
        )


def transactions() -> None:
    with pg8000.native.Connection(**TARGET) as connection:
        for text in (
            "START TRANSACTION",
            "INSERT INTO n (id) VALUES (100)",
            "SELECT 1/0",
            "SELECT 1",
            "SELEC 1",
            "COMMIT",
            "SELECT count(*) FROM n WHERE id = 100",
            "START TRANSACTION",
            "INSERT INTO n (id) VALUES (101)",
            "SAVEPOINT s",
            "SELECT 1/0",
            "ROLLBACK TO s",
            "COMMIT",
            "SELECT count(*) FROM n WHERE id = 101",
        ):
            attempt(text, lambda text=text: connection.run(text))  # type: ignore[misc]


def dbapi() -> None:
    with pg8000.dbapi.connect(**TARGET) as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE TABLE d (id serial, body text)")
        cursor.executemany("INSERT INTO d (body) VALUES (%s)", [(f"row {number}",) for number in range(30)])
        cursor.execute("SELECT id, body AS renamed FROM d WHERE id > %s ORDER BY id", (25,))
        say("dbapi", [[column[0], column[1]] for column in cursor.description], cursor.rowcount, cursor.fetchall())
        attempt("dbapi", lambda: cursor.execute("SELECT * FROM d WHERE missing = %s", (1,)))
        connection.rollback()
        attempt("dbapi, rolled back", lambda: cursor.execute("SELECT * FROM d"))
        connection.rollback()


if __name__ == "__main__":
    native()
    transactions()
    dbapi()
