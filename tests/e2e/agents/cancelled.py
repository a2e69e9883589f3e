"""An agent that cancels its own statement, prints the SQLSTATE that comes of it, then what the session still answers.

The connection's words may stand on its command line.
"""

from __future__ import annotations

import sys
import threading

import psycopg


def main() -> None:
    with psycopg.connect(sys.argv[1] if sys.argv[1:] else "", autocommit=True) as connection:
        over = threading.Event()

        def cancel() -> None:
            while not over.wait(0.1):  # again, because one that comes before the statement is one for nothing
                connection.cancel_safe(timeout=20)

        thread = threading.Thread(target=cancel)
        thread.start()
        try:
            connection.execute("SELECT pg_sleep(60)")
        except psycopg.Error as error:
            print(error.sqlstate)
        over.set()
        thread.join()
        print(*connection.execute("SELECT 41 + 1").fetchone() or ())


if __name__ == "__main__":
    main()
