"""psycopg 3 in pipeline mode, with errors in the middle."""

from __future__ import annotations

from contextlib import suppress

import psycopg
from e2e.clients.transcript import errors, results, run, say, watch


def plain(connection: psycopg.Connection) -> None:
    with connection.pipeline():
        cursors = [connection.execute("INSERT INTO q VALUES (%s) RETURNING id", (n,)) for n in range(20)]
        cursors.append(connection.execute("SELECT count(*) FROM q"))
    for cursor in cursors:
        results("plain", cursor)


def error_in_the_middle(connection: psycopg.Connection) -> None:
    """Everything up to the next sync is skipped and undone; what follows the sync runs.

    When psycopg raises depends on how early it reads the error, so what counts is what each cursor has in the end.
    """
    cursors = [connection.cursor() for _ in range(4)]
    with suppress(psycopg.Error), connection.pipeline() as pipeline:
        for cursor, number in zip(cursors, (100, 1, 101, None), strict=True):
            with suppress(psycopg.Error):
                if number is None:
                    pipeline.sync()
            with suppress(psycopg.Error):
                cursor.execute("INSERT INTO q VALUES (%s)", (number or 102,))
        with suppress(psycopg.Error):
            pipeline.sync()
    for cursor in cursors:
        result = cursor.pgresult
        say("result", result and psycopg.pq.ExecStatus(result.status).name, cursor.statusmessage)
    run(connection, "SELECT id FROM q WHERE id >= 100 ORDER BY id")


def inside_a_transaction(connection: psycopg.Connection) -> None:
    with errors("transaction", connection), connection.pipeline(), connection.transaction():
        connection.execute("INSERT INTO q VALUES (%s)", (200,))
        with errors("inner", connection), connection.transaction():
            connection.execute("SELECT %s::int", ("x",)).fetchall()
        connection.execute("INSERT INTO q VALUES (%s)", (201,))
    run(connection, "SELECT id FROM q WHERE id >= 200 ORDER BY id")


def misspelt(connection: psycopg.Connection) -> None:
    """A text that the server can't read, before and behind one that it can, outside and inside of a transaction."""
    for begin in ("", "BEGIN"):
        if begin:
            run(connection, begin)
        pg = connection.pgconn
        pg.enter_pipeline_mode()
        for text in (b"INSERT INTO q VALUES (300)", b"SELEC 1", b"SELECT 1"):
            pg.send_query_params(text, [])
        pg.pipeline_sync()
        for text in (b"SELECT 2", b"SELECT ("):
            pg.send_query_params(text, [])
        pg.pipeline_sync()
        wire_results(pg, 2)
        pg.exit_pipeline_mode()
        say("state", pg.transaction_status)
    run(connection, "ROLLBACK")
    run(connection, "SELECT count(*) FROM q WHERE id = 300")


def many_without_waiting(connection: psycopg.Connection) -> None:
    """More than any socket buffer holds: both sides have to read while they write."""
    with connection.pipeline():
        cursors = [connection.execute("SELECT %s::int, repeat('x', 2000)", (n,)) for n in range(3000)]
    say("many", sum(row[0] for cursor in cursors for row in cursor.fetchall()))


def wire_results(pg: psycopg.pq.abc.PGconn, syncs: int) -> None:
    """Say every result up to that many syncs."""
    while syncs:
        result = pg.get_result()
        if result is None:
            continue
        values = [result.get_value(row, 0) for row in range(result.ntuples)]
        message = result.error_message.decode() if result.error_message else ""
        say("result", psycopg.pq.ExecStatus(result.status).name, values, message, result.nparams)
        syncs -= result.status == psycopg.pq.ExecStatus.PIPELINE_SYNC


def raw(connection: psycopg.Connection) -> None:
    """The wire calls themselves: parse once, flush, two executes, an error in between two syncs, a portal closed unknown."""
    pg = connection.pgconn
    pg.enter_pipeline_mode()
    pg.send_prepare(b"named", b"SELECT 10 / $1::int")
    for number in (b"2", b"0", b"5"):
        pg.send_query_prepared(b"named", [number])
    pg.pipeline_sync()
    pg.send_query_prepared(b"named", [b"1"])
    pg.send_describe_prepared(b"named")
    pg.send_describe_prepared(b"unknown")
    pg.pipeline_sync()
    pg.send_flush_request()
    connection.pgconn.flush()
    wire_results(pg, 2)
    pg.exit_pipeline_mode()


def main() -> None:
    with watch(psycopg.connect("", autocommit=True)) as connection:
        connection.execute("CREATE TABLE q (id int PRIMARY KEY)")
        plain(connection)
        error_in_the_middle(connection)
        inside_a_transaction(connection)
        misspelt(connection)
        many_without_waiting(connection)
        raw(connection)
        run(connection, "SELECT count(*) FROM q")


if __name__ == "__main__":
    main()
