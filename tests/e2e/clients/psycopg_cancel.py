"""psycopg 3 cancelling: the right query ends, and nobody else's."""

from __future__ import annotations

import threading

import psycopg
from e2e.clients.transcript import errors, run, say, state, watch


def wait_until_running(watcher: psycopg.Connection, pid: int, text: str) -> None:
    """Return once the server itself says that the backend runs this text."""
    probe = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND state = 'active' AND query LIKE %s"
    for _ in range(10_000):
        row = watcher.execute(probe, (pid, f"%{text}%")).fetchone()
        if row and row[0]:
            return
        threading.Event().wait(0.005)
    raise RuntimeError(f"backend {pid} never ran {text}")


def server_pid(connection: psycopg.Connection) -> int:
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    assert row is not None
    return int(row[0])


def sleeper(connection: psycopg.Connection, seconds: float, done: list[str]) -> threading.Thread:
    def sleep() -> None:
        try:
            connection.execute("SELECT pg_sleep(%s)", (seconds,))
            done.append("slept")
        except psycopg.Error as error:
            done.append(f"{type(error).__name__} {error.sqlstate} {error.diag.message_primary}")

    thread = threading.Thread(target=sleep)
    thread.start()
    return thread


def one_of_two(first: psycopg.Connection, second: psycopg.Connection, watcher: psycopg.Connection) -> None:
    """Two queries sleep; the first one's cancel ends it and the second sleeps on to its end."""
    outcomes: tuple[list[str], list[str]] = ([], [])
    threads = [sleeper(first, 600, outcomes[0]), sleeper(second, 1.5, outcomes[1])]
    for connection in (first, second):
        wait_until_running(watcher, connection.info.backend_pid, "pg_sleep")
    first.cancel_safe(timeout=20)
    for thread in threads:
        thread.join(60)
    say("cancelled", *outcomes[0])
    say("the other one", *outcomes[1])


def in_a_transaction(connection: psycopg.Connection, watcher: psycopg.Connection) -> None:
    connection.execute("BEGIN")
    done: list[str] = []
    thread = sleeper(connection, 600, done)
    wait_until_running(watcher, connection.info.backend_pid, "pg_sleep")
    connection.cancel()
    thread.join(60)
    say("in a transaction", *done, state(connection))
    run(connection, "COMMIT")


def main() -> None:
    with (
        watch(psycopg.connect("", autocommit=True)) as first,
        watch(psycopg.connect("", autocommit=True)) as second,
        watch(psycopg.connect("", autocommit=True)) as watcher,
    ):
        say("the process id is the server's", [server_pid(one) == one.info.backend_pid for one in (first, second)])
        one_of_two(first, second, watcher)
        in_a_transaction(first, watcher)
        with errors("cancel with nothing to cancel", first):
            first.cancel_safe(timeout=20)
            first.execute("SELECT 'still fine'")
        with errors("a cancel that comes too late ends nothing that comes after it", first):
            for _ in range(20):
                first.cancel_safe(timeout=20)
                first.execute("SELECT pg_sleep(0.003)")
        with errors("statement_timeout", first):
            first.execute("SET statement_timeout = '50ms'")
            first.execute("SELECT pg_sleep(600)")
        run(first, "RESET statement_timeout")
        run(second, "SELECT pg_terminate_backend(%s)", (first.info.backend_pid,))
        with errors("terminated", first):
            first.execute("SELECT 1")
        say("closed", first.closed, first.broken)


if __name__ == "__main__":
    main()
