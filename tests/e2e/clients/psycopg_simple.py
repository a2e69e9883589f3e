"""psycopg 3 over the simple query protocol."""

from __future__ import annotations

import psycopg
from e2e.clients.transcript import run, say, state, watch

STATEMENTS = (
    "SELECT 1 AS one, 'a'::text AS two, NULL AS three, 1.50::numeric AS four, true AS five",
    "",
    ";",
    "-- only a comment",
    "SELECT 1; SELECT 2 AS b, 3 AS c; SELECT 'x' WHERE false",
    "SELECT",
    "CREATE TABLE t (id int PRIMARY KEY, body text NOT NULL, price numeric(10,2), at timestamptz)",
    "INSERT INTO t VALUES (1, 'one', 1.5, '2024-02-29 12:00:00+00'), (2, 'zwölf ☃', NULL, NULL) RETURNING *",
    "SELECT id AS renamed, body, upper(body), t FROM t ORDER BY id",
    "UPDATE t SET price = 2 WHERE id = 2",
    "INSERT INTO t VALUES (1, 'again', 0, NULL)",
    "INSERT INTO t (id) VALUES (3)",
    "SELECT 1; INSERT INTO t VALUES (1, 'dup', 0, NULL); SELECT 2",
    "SELECT * FROM missing",
    "SELEC 1",
    "SELECT 'unterminated",
    "SELECT 1; SELEC 2",
    "SELECT (",
    "SELECT 'zwölf ☃' FROM FROM",
    "/* unterminated",
    "SELECT 1/0",
    "SELECT 'x'::int",
    "SELECT $1",
    "SELECT says('noted')",
    "SELECT fails('raised')",
    "DROP TABLE IF EXISTS never_was",
    "SET application_name = 'a name'; SHOW application_name",
    "SET TIME ZONE 'Asia/Tokyo'; SELECT '2024-01-01 00:00:00+00'::timestamptz",
    "SET DateStyle = 'SQL, DMY'; SELECT '2024-01-31'::date; RESET DateStyle; RESET TIME ZONE",
    "SET standard_conforming_strings = off; SELECT 'a\\'; RESET standard_conforming_strings",
    "SELECT E'tab\\there', U&'d\\0061t\\+000061', $tag$ $$ $tag$, /* a /* nested */ comment */ 'x''y'",
    "EXPLAIN (COSTS OFF) SELECT * FROM t WHERE id = 1",
    "WITH gone AS (DELETE FROM t WHERE id = 2 RETURNING *) SELECT count(*) FROM gone",
    "SELECT count(*), sum(price), array_agg(id) FROM t",
    "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE moods (m mood, a int[], j jsonb, b bytea, u uuid, r int4range)",
    "INSERT INTO moods VALUES ('ok', '{1,2,NULL}', '{\"k\": [1, null]}', '\\xdeadbeef', "
    "'6ecd8c99-4036-403d-bf84-cf8400f67836', '[1,10)') RETURNING *",
    "INSERT INTO moods (m) VALUES ('happy')",
    "CREATE VIEW v AS SELECT id, body FROM t; SELECT * FROM v; DROP VIEW v",
    "CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT $1 * 2'; SELECT f(21)",
    "TRUNCATE t; SELECT count(*) FROM t",
    "VACUUM t",
    "BEGIN; VACUUM t",
    "ROLLBACK",
)


def transactions(connection: psycopg.Connection) -> None:
    """Blocks, savepoints, errors inside them, and what a COMMIT after an error says."""
    for text in (
        "BEGIN",
        "INSERT INTO t VALUES (10, 'kept', 0, NULL)",
        "SAVEPOINT s",
        "INSERT INTO t VALUES (10, 'dup', 0, NULL)",
        "SELECT 1",
        "ROLLBACK TO SAVEPOINT s",
        "INSERT INTO t VALUES (11, 'kept too', 0, NULL)",
        "RELEASE SAVEPOINT s",
        "COMMIT",
        "COMMIT",
        "BEGIN",
        "INSERT INTO t VALUES (20, 'gone', 0, NULL)",
        "SELEC 1",
        "SELEC 2",
        "SELECT (",
        "SELECT 1",
        "COMMIT",
        "BEGIN",
        "SAVEPOINT s",
        "SELECT FROM FROM",
        "ROLLBACK TO SAVEPOINT s",
        "INSERT INTO t VALUES (21, 'kept', 0, NULL)",
        "COMMIT",
        "BEGIN; SELEC 1",
        "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY",
        "INSERT INTO t VALUES (12, 'refused', 0, NULL)",
        "COMMIT",
        "BEGIN; INSERT INTO t VALUES (13, 'gone', 0, NULL); ROLLBACK; BEGIN",
        "BEGIN",
        "COMMIT AND CHAIN",
        "ROLLBACK",
        "SELECT id FROM t ORDER BY id",
    ):
        run(connection, text)


def main() -> None:
    with watch(psycopg.connect("", autocommit=True)) as connection:
        parameters = ("server_version", "client_encoding", "integer_datetimes", "standard_conforming_strings", "is_superuser")
        say("parameters", {name: connection.info.parameter_status(name) for name in parameters}, state(connection))
        for text in STATEMENTS:
            run(connection, text)
        transactions(connection)
    say("closed", connection.closed)


if __name__ == "__main__":
    main()
