"""An agent with two sessions: one reads a table while the other, which has its lock, drops it. Prints what is read as JSON."""

from __future__ import annotations

import json
import threading
import time

import psycopg

READ = "SELECT token || '' FROM people"
LOCKED = "SELECT count(*) FROM pg_locks WHERE NOT granted"
PATIENCE_S = 20.0


def main() -> None:
    with psycopg.connect(autocommit=True) as reader, psycopg.connect(autocommit=True) as dropper:
        dropper.execute("CREATE SCHEMA front")
        dropper.execute("CREATE TABLE front.people (id int, token text)")
        for session in (reader, dropper):
            session.execute("SET search_path = front, public")
        found: list[object] = []

        def read() -> None:
            try:
                found.append(reader.execute(READ).fetchall())
            except psycopg.Error as error:
                found.append(error.sqlstate)

        read()
        dropper.execute("BEGIN")
        dropper.execute("DROP TABLE front.people")
        waiting = threading.Thread(target=read)
        waiting.start()
        deadline = time.monotonic() + PATIENCE_S
        while waiting.is_alive() and dropper.execute(LOCKED).fetchone() == (0,) and time.monotonic() < deadline:
            time.sleep(0.01)
        dropper.execute("COMMIT")
        waiting.join(PATIENCE_S)
        dropper.execute("DROP SCHEMA front CASCADE")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
