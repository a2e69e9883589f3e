"""psycopg 3 with COPY in both directions, text, CSV and binary, with errors on either side."""

from __future__ import annotations

import psycopg
from e2e.clients.transcript import digest, errors, run, say, watch


def copy_in(connection: psycopg.Connection, text: str, chunks: list[bytes]) -> None:
    with errors(text, connection), connection.cursor() as cursor:
        with cursor.copy(text) as copy:
            for chunk in chunks:
                copy.write(chunk)
        say("copied in", cursor.statusmessage, cursor.rowcount)


def copy_out(connection: psycopg.Connection, text: str, *, short: bool = True) -> None:
    with errors(text, connection), connection.cursor() as cursor:
        with cursor.copy(text) as copy:
            chunks = [bytes(chunk) for chunk in copy]
        say("copied out", chunks if short else [len(chunks), digest(chunks)], cursor.statusmessage, cursor.rowcount)


def main() -> None:
    with watch(psycopg.connect("", autocommit=True)) as connection:
        connection.execute("CREATE TABLE c (id int PRIMARY KEY, body text, price numeric)")
        copy_in(connection, "COPY c FROM STDIN", [b"1\tone\t1.5\n2\tt", b"wo\\n\t\\N\n"])
        copy_in(connection, "COPY c FROM STDIN (FORMAT csv, HEADER)", [b'id,body,price\n3,"a ""quoted"" one",3\n'])
        copy_in(connection, "COPY c (id) FROM STDIN", [])
        copy_in(connection, "COPY c FROM STDIN", [b"4\tonly two\n"])
        copy_in(connection, "COPY c FROM STDIN", [b"x\tnot a number\t1\n", b"5\tnever read\t1\n" * 50_000])
        copy_in(connection, "COPY c FROM STDIN", [b"1\tdup\t1\n"])
        copy_in(connection, "COPY missing FROM STDIN", [b"1\n"])
        with errors("rows", connection), connection.cursor() as cursor:
            with cursor.copy("COPY c FROM STDIN (FORMAT binary)") as copy:
                copy.set_types(["int4", "text", "numeric"])
                for number in range(10, 1010):
                    copy.write_row((number, f"row {number}", number))
            say("binary in", cursor.statusmessage)
        with (
            errors("given up by the client", connection),
            connection.cursor() as cursor,
            cursor.copy("COPY c FROM STDIN") as copy,
        ):
            copy.write(b"5000\tgone\t0\n")
            raise psycopg.OperationalError("the program changed its mind")
        with errors("inside a transaction", connection), connection.transaction():
            copy_in(connection, "COPY c FROM STDIN", [b"6000\tkept\t0\n"])
            copy_in(connection, "COPY c FROM STDIN", [b"6000\tdup\t0\n"])
            connection.execute("SELECT 1")
        copy_in(connection, "COPY c FROM STDIN", [f"{n}\t{'y' * 500}\t{n}.25\n".encode() for n in range(10_000, 30_000)])

        copy_out(connection, "COPY (SELECT * FROM c WHERE id < 12 ORDER BY id) TO STDOUT")
        copy_out(connection, "COPY (SELECT * FROM c WHERE id < 12 ORDER BY id) TO STDOUT (FORMAT csv, HEADER, FORCE_QUOTE *)")
        copy_out(connection, "COPY (SELECT * FROM c WHERE id < 12 ORDER BY id) TO STDOUT (FORMAT binary)")
        copy_out(connection, "COPY (SELECT * FROM c ORDER BY id) TO STDOUT", short=False)
        copy_out(connection, "COPY (SELECT 1 WHERE false) TO STDOUT")
        copy_out(connection, "COPY (SELECT 10 / (3 - g) FROM generate_series(1, 5) g) TO STDOUT")
        copy_out(connection, "COPY missing TO STDOUT")
        copy_out(connection, "COPY (DELETE FROM c WHERE id < 3 RETURNING id) TO STDOUT")
        endless = "COPY (SELECT g, repeat('z', 1000) FROM generate_series(1, 50000) g) TO STDOUT"
        with errors("left early", connection), connection.cursor() as cursor, cursor.copy(endless) as copy:
            say("first chunk", len(bytes(next(iter(copy)))))
            raise psycopg.OperationalError("the program has seen enough")
        with connection.cursor() as cursor, cursor.copy("COPY (SELECT id, body, price FROM c WHERE id < 12) TO STDOUT") as copy:
            copy.set_types(["int4", "text", "numeric"])
            say("rows", list(copy.rows()))
        run(connection, "SELECT count(*), sum(id) FROM c")
        run(connection, "SELECT 'usable again'")


if __name__ == "__main__":
    main()
