"""One agent of the payments example: runs the statements on its command line, prints what comes back."""

from __future__ import annotations

import sys

import psycopg


def main() -> None:
    with psycopg.connect("", autocommit=True) as connection:
        for text in sys.argv[1:]:
            try:
                print(connection.execute(text.encode()).statusmessage)
            except psycopg.Error as error:
                print(f"ERROR {error.sqlstate}: {error.diag.message_primary}")
                if error.diag.message_hint:
                    print(f"HINT: {error.diag.message_hint}")


if __name__ == "__main__":
    main()
