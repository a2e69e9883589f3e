"""psycopg 3 with large results, large parameters, wide rows and long texts."""

from __future__ import annotations

import psycopg
from e2e.clients.transcript import digest, errors, run, say, watch


def fetched(connection: psycopg.Connection, text: str, parameters: tuple[object, ...] = (), *, binary: bool = False) -> None:
    with connection.cursor(binary=binary) as cursor:
        cursor.execute(text, parameters)
        rows = cursor.fetchall()
        say(text[:100], binary, len(rows), digest([repr(row).encode() for row in rows]), cursor.statusmessage)


def main() -> None:
    with watch(psycopg.connect("", autocommit=True)) as connection:
        for binary in (False, True):
            fetched(connection, "SELECT g, g::text, md5(g::text), g * 1.5 FROM generate_series(1, 100000) g", binary=binary)
        fetched(connection, "SELECT %s::text", ("p" * 5_000_000,))
        fetched(connection, "SELECT %s::bytea, %s::bytea", (b"\x00\xff" * 2_500_000, b"\x01" * 5_000_000), binary=True)
        fetched(connection, "SELECT repeat('r', 12000000)")
        fetched(connection, "SELECT " + ", ".join(f"{n} AS c{n}" for n in range(1600)))
        fetched(connection, "SELECT '" + "q" * 1_000_000 + "'")
        fetched(connection, "SELECT " + ", ".join(["%s::int"] * 1600), tuple(range(1600)))
        fetched(connection, "SELECT sum(x) FROM unnest(%s::int[]) x", (list(range(300_000)),))
        fetched(connection, "SELECT NULL, '' FROM generate_series(1, 50000)")
        connection.execute("CREATE TABLE big (id int, body text)")
        with errors("large rows in", connection), connection.cursor() as cursor:
            cursor.executemany("INSERT INTO big VALUES (%s, %s)", [(n, "b" * 200_000) for n in range(20)])
        run(connection, "SELECT count(*), sum(length(body)) FROM big")
        with errors("a long notice", connection):
            connection.execute("SELECT says(repeat('n', 100000))")
        with errors("a long error", connection):
            connection.execute("SELECT fails(repeat('e', 100000))")


if __name__ == "__main__":
    main()
