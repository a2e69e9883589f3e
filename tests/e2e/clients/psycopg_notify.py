"""psycopg 3 with LISTEN and NOTIFY between two connections."""

from __future__ import annotations

import psycopg
from e2e.clients.transcript import run, say, watch


def take(connection: psycopg.Connection, count: int) -> None:
    for note in connection.notifies(timeout=20, stop_after=count):
        say("notified", note.channel, note.payload)


def main() -> None:
    with watch(psycopg.connect("", autocommit=True)) as listener, watch(psycopg.connect("", autocommit=True)) as speaker:
        run(listener, "LISTEN news")
        run(listener, 'LISTEN "Odd Channel"')
        run(listener, "SELECT pg_listening_channels() ORDER BY 1")
        run(speaker, "NOTIFY news, 'while the listener is idle'")
        take(listener, 1)
        run(speaker, "SELECT pg_notify('Odd Channel', %s)", ("☃" * 100,))
        take(listener, 1)
        with speaker.transaction():
            speaker.execute("NOTIFY news, 'one'")
            speaker.execute("NOTIFY news, 'one'")
            speaker.execute("NOTIFY news, 'two'")
        take(listener, 2)
        run(speaker, "NOTIFY news, 'between two queries'")
        run(listener, "SELECT 1")
        take(listener, 1)
        run(listener, "NOTIFY news, 'to myself'")
        take(listener, 1)
        run(speaker, "BEGIN")
        run(speaker, "NOTIFY news, 'never sent'")
        run(speaker, "ROLLBACK")
        run(speaker, "NOTIFY news")
        take(listener, 1)
        run(listener, "UNLISTEN *")
        run(speaker, "NOTIFY news, 'nobody hears'")
        run(listener, "SELECT pg_listening_channels()")
        run(speaker, "SELECT pg_notify('news', repeat('x', 8000))")


if __name__ == "__main__":
    main()
