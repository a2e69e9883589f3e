"""A support agent's errands in the shop's database, one errand a run."""

from __future__ import annotations

import sys

import psycopg


def show(cursor: psycopg.Cursor) -> None:
    names = [column.name for column in cursor.description or ()]
    rows = [[str(value) if value is not None else "NULL" for value in row] for row in cursor]
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    for row in (names, *rows):
        print("  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip())


def customers(connection: psycopg.Connection) -> None:
    show(
        connection.execute("SELECT id, name, email AS contact, card, upper(email) AS shouted FROM customers ORDER BY id LIMIT 4")
    )


def tidy(connection: psycopg.Connection) -> None:
    connection.execute("DROP TABLE orders CASCADE")
    print("dropped")


def forget(connection: psycopg.Connection) -> None:
    cursor = connection.execute("DELETE FROM orders WHERE customer_id = %s AND state = %s", (8, "returned"))
    print(f"{cursor.statusmessage}: the customer's returned orders are gone")


def correct(connection: psycopg.Connection) -> None:
    """Correct one order, then by mistake all of them; this agent does not look at errors and commits what it has."""
    connection.execute("BEGIN")
    print(connection.execute("UPDATE orders SET quantity = 3 WHERE id = 7").statusmessage)
    try:
        connection.execute("UPDATE orders SET state = 'paid'")
    except psycopg.Error as error:
        print(f"ignored: {error.diag.message_primary}")
    print(f"COMMIT was answered: {connection.execute('COMMIT').statusmessage}")


def stay(connection: psycopg.Connection) -> None:
    """Keep the session open until somebody says that it is enough."""
    customers(connection)
    print("connected", flush=True)
    sys.stdin.readline()


ERRANDS = {errand.__name__: errand for errand in (customers, tidy, forget, correct, stay)}


def main() -> None:
    try:
        with psycopg.connect("", autocommit=True) as connection:
            ERRANDS[sys.argv[1]](connection)
    except psycopg.Error as error:
        if error.sqlstate is None:
            sys.exit(str(error))
        print(f"{error.diag.severity} {error.sqlstate}: {error.diag.message_primary}")
        print(f"HINT: {error.diag.message_hint}")
        sys.exit(1)


if __name__ == "__main__":
    main()
