"""psycopg 3 over the extended query protocol: parameters, binary formats, prepared statements."""

from __future__ import annotations

import datetime
import decimal
import uuid

import psycopg
from e2e.clients.transcript import errors, results, run, say, state, watch
from psycopg.types.json import Jsonb
from psycopg.types.range import Range

VALUES: tuple[object, ...] = (
    1,
    -(2**62),
    1.5,
    float("inf"),
    decimal.Decimal("12345678901234567890.0123456789"),
    "text with ' and \\ and ☃",
    b"\x00\xff\x80",
    True,
    None,
    datetime.date(2024, 2, 29),
    datetime.datetime(2024, 2, 29, 12, 30, 1, 250000, tzinfo=datetime.UTC),
    datetime.timedelta(days=-3, seconds=5),
    uuid.UUID("6ecd8c99-4036-403d-bf84-cf8400f67836"),
    [1, 2, None],
    [["a", "b"], ["c", "d"]],
    Jsonb({"k": [1, None, "☃"]}),
    Range(1, 10),
)


def values_both_ways(connection: psycopg.Connection) -> None:
    for value in VALUES:
        for binary in (False, True):
            kind = "%b" if binary else "%t"
            with errors(f"{value!r} {kind}", connection), connection.cursor(binary=binary) as cursor:
                cursor.execute(f"SELECT {kind} AS v, pg_typeof({kind})::text", (value, value))
                results("value", cursor)


def prepared(connection: psycopg.Connection) -> None:
    connection.execute("CREATE TABLE p (id int PRIMARY KEY, body text)")
    for number in range(12):
        run(connection, "INSERT INTO p VALUES (%s, %s) RETURNING id", (number, f"row {number}"), prepare=number > 3)
    run(connection, "SELECT body FROM p WHERE id = %s", (3,), prepare=True, binary=True)
    run(connection, "SELECT name, statement, from_sql FROM pg_prepared_statements ORDER BY name")
    run(connection, "INSERT INTO p VALUES (%s, %s)", (1, "dup"), prepare=True)
    run(connection, "INSERT INTO p VALUES (%s, %s)", (100, "after the error"), prepare=True)
    # A plan that the table's change makes invalid: psycopg keeps its name, the server says "cached plan must not change".
    run(connection, "SELECT * FROM p WHERE id = %s", (1,), prepare=True)
    run(connection, "ALTER TABLE p ADD COLUMN extra int")
    run(connection, "SELECT * FROM p WHERE id = %s", (1,), prepare=True)
    run(connection, "DEALLOCATE ALL")
    run(connection, "SELECT body FROM p WHERE id = %s", (3,), prepare=True)
    run(connection, "PREPARE mine (int) AS SELECT body FROM p WHERE id = $1")
    run(connection, "EXECUTE mine(4)")
    run(connection, "EXECUTE mine('x')")
    run(connection, "DEALLOCATE mine")
    run(connection, "EXECUTE mine(4)")


def faults(connection: psycopg.Connection) -> None:
    for text, parameters in (
        ("SELECT %s::int", ("x",)),
        ("SELECT %s / 0", (1,)),
        ("SELECT * FROM missing WHERE id = %s", (1,)),
        ("SELECT 1; SELECT %s", (1,)),
        ("SELEC %s", (1,)),
        ("SELECT %s FROM", (1,)),
        ("SELECT 'unterminated %s", (1,)),
        ("SELECT says(%s)", ("noted",)),
        ("SELECT fails(%s)", ("raised",)),
        ("SELECT %s::text", ("null \x00 byte",)),
    ):
        run(connection, text, parameters)
    with errors("driver's own", connection):
        connection.execute("SELECT %s, %s", (1,))


def in_transactions(connection: psycopg.Connection) -> None:
    with errors("rolled back by an error", connection), connection.transaction():
        connection.execute("INSERT INTO p VALUES (%s, %s)", (200, "gone"))
        connection.execute("INSERT INTO p VALUES (%s, %s)", (200, "dup"))
    with connection.transaction():
        connection.execute("INSERT INTO p VALUES (%s, %s)", (201, "kept"))
        with errors("inner", connection), connection.transaction():
            connection.execute("SELECT %s::int", ("x",))
        say("state in the outer block", state(connection))
        with connection.transaction(force_rollback=True):
            connection.execute("INSERT INTO p VALUES (%s, %s)", (202, "gone"))
    run(connection, "SELECT id FROM p WHERE id >= %s ORDER BY id", (200,))
    connection.execute("BEGIN")
    run(connection, "SELECT %s::int", ("x",))
    run(connection, "SELECT %s::int", (1,))
    run(connection, "SELEC %s", (1,))
    run(connection, "SELECT %s FROM", (1,), prepare=True)
    run(connection, "COMMIT")
    connection.execute("BEGIN")
    run(connection, "SELEC %s", (1,), prepare=True)
    run(connection, "SELECT %s::int", (1,))
    run(connection, "ROLLBACK")
    say("state", state(connection))


def main() -> None:
    with watch(psycopg.connect("", autocommit=True)) as connection:
        values_both_ways(connection)
        prepared(connection)
        faults(connection)
        in_transactions(connection)
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO p VALUES (%s, %s) RETURNING id", [(n, "many") for n in range(300, 310)], returning=True
            )
            results("executemany", cursor)


if __name__ == "__main__":
    main()
