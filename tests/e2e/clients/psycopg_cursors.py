"""psycopg 3 with cursors on the server: named, scrollable, held, and streamed row by row."""

from __future__ import annotations

import psycopg
from e2e.clients.transcript import columns, errors, run, say, state, watch


def named(connection: psycopg.Connection) -> None:
    with connection.transaction():
        for binary in (False, True):
            with connection.cursor("c", binary=binary) as cursor:
                cursor.itersize = 7
                cursor.execute("SELECT g, g * 1.5 AS h FROM generate_series(1, %s) g", (25,))
                say(
                    "named",
                    binary,
                    columns(cursor),
                    cursor.fetchone(),
                    cursor.fetchmany(3),
                    list(cursor)[-2:],
                    cursor.statusmessage,
                )


def scrollable(connection: psycopg.Connection) -> None:
    with connection.transaction(), connection.cursor("s", scrollable=True) as cursor:
        cursor.execute("SELECT generate_series(1, 10)")
        cursor.scroll(5)
        say("scrolled", cursor.fetchone())
        cursor.scroll(0, mode="absolute")
        say("back", cursor.fetchall())
    with connection.transaction(), connection.cursor("n", scrollable=False) as cursor:
        cursor.execute("SELECT generate_series(1, 10)")
        cursor.fetchmany(4)
        with errors("backwards", connection):
            cursor.scroll(-2)


def held(connection: psycopg.Connection) -> None:
    with connection.cursor("w", withhold=True) as cursor:
        with connection.transaction():
            cursor.execute("SELECT generate_series(1, 5)")
        say("held", cursor.fetchall(), state(connection))


def by_hand(connection: psycopg.Connection) -> None:
    for text in (
        "DECLARE outside CURSOR FOR SELECT 1",
        "BEGIN",
        "DECLARE k SCROLL CURSOR FOR SELECT generate_series(1, 10) AS n",
        "FETCH 3 FROM k",
        "FETCH BACKWARD 2 FROM k",
        "MOVE LAST IN k",
        "FETCH PRIOR FROM k",
        "SELECT name, statement FROM pg_cursors",
        "CLOSE k",
        "FETCH 1 FROM k",
        "ROLLBACK",
    ):
        run(connection, text)


def streamed(connection: psycopg.Connection) -> None:
    """One row at a time as libpq's single-row mode delivers them, an error after some rows, and a stream left early."""
    with connection.cursor() as cursor:
        say("stream", list(cursor.stream("SELECT generate_series(1, %s)", (9,))))
        got: list[object] = []
        with errors("stream with an error", connection):
            got.extend(cursor.stream("SELECT 12 / (4 - g) FROM generate_series(1, %s) g", (9,)))
        say("rows before it", got)
        for row in cursor.stream("SELECT generate_series(1, 1000)"):
            say("left early", row)
            break
    run(connection, "SELECT 'usable again'")


def main() -> None:
    with watch(psycopg.connect("", autocommit=True)) as connection:
        named(connection)
        scrollable(connection)
        held(connection)
        by_hand(connection)
        streamed(connection)


if __name__ == "__main__":
    main()
