"""asyncpg: introspection, prepared statements, cursors, COPY, transactions, codecs, notifications, cancellation."""

from __future__ import annotations

import asyncio
import datetime
import decimal
import io
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from e2e.clients.transcript import digest, say

# asyncpg keeps every field of an error; OIDs and pids do not appear in them.
FIELDS = (
    "severity_en",
    "sqlstate",
    "message",
    "detail",
    "hint",
    "position",
    "internal_position",
    "internal_query",
    "context",
    "schema_name",
    "table_name",
    "column_name",
    "data_type_name",
    "constraint_name",
    "server_source_filename",
    "server_source_line",
    "server_source_function",
)


def diagnosis(error: asyncpg.PostgresError | asyncpg.PostgresLogMessage) -> dict[str, str]:
    return {name: value for name in FIELDS if (value := getattr(error, name, None)) is not None}


@asynccontextmanager
async def errors(label: str, connection: asyncpg.Connection) -> AsyncIterator[None]:
    try:
        yield
    except asyncpg.PostgresError as error:
        say(f"{label}: error", type(error).__name__, diagnosis(error), connection.is_in_transaction())
    except (asyncpg.InterfaceError, TimeoutError) as error:
        say(f"{label}: client error", type(error).__name__, str(error), connection.is_in_transaction())
    else:
        say(f"{label}: fine", connection.is_in_transaction())


def rows(records: list[asyncpg.Record]) -> list[list[Any]]:
    return [[[key, value] for key, value in record.items()] for record in records]


async def queries(connection: asyncpg.Connection) -> None:
    say("settings", connection.get_server_version()[:2], connection.get_settings().client_encoding)
    say("script", await connection.execute("CREATE TABLE a (id int PRIMARY KEY, body text); INSERT INTO a VALUES (1, 'one')"))
    for number in range(2, 8):
        say("insert", await connection.execute("INSERT INTO a VALUES ($1, $2)", number, f"row {number}"))
    say("fetch", rows(await connection.fetch("SELECT id AS renamed, body, length(body) FROM a ORDER BY id LIMIT $1", 3)))
    say("value", await connection.fetchval("SELECT count(*) FROM a"), await connection.fetchrow("SELECT 1 WHERE false"))
    say("many", await connection.executemany("INSERT INTO a VALUES ($1, $2)", [(n, None) for n in range(100, 200)]))
    say("returning", rows(await connection.fetch("DELETE FROM a WHERE id >= $1 RETURNING id", 195)))
    for text, arguments in (
        ("SELECT * FROM missing", ()),
        ("SELECT 1 / $1::int", (0,)),
        ("INSERT INTO a VALUES ($1, 'dup')", (1,)),
        ("SELECT $1::int", ("x",)),
        ("SELECT 1; SELECT $1", (1,)),
        ("SELEC $1", (1,)),
        ("SELECT $1::int FROM", (1,)),
    ):
        async with errors(text, connection):
            try:
                await connection.fetch(text, *arguments)
            except asyncpg.DataError as error:
                say("encoder", str(error))
    async with errors("executemany with a duplicate is all or nothing", connection):
        await connection.executemany("INSERT INTO a VALUES ($1, $2)", [(1000, "x"), (1, "dup"), (1001, "y")])
    say("none of them", await connection.fetchval("SELECT count(*) FROM a WHERE id >= 1000"))


async def introspection(connection: asyncpg.Connection) -> None:
    """Types made here: asyncpg asks the catalog about them with queries of its own."""
    await connection.execute(
        "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TYPE pair AS (left_side int, right_side mood);"
        "CREATE DOMAIN posint AS int CHECK (VALUE > 0); CREATE TABLE i (m mood, ms mood[], p pair, d posint)"
    )
    await connection.execute("INSERT INTO i VALUES ($1, $2, $3, $4)", "ok", ["sad", "ok"], (1, "sad"), 5)
    (record,) = await connection.fetch("SELECT m, ms, p, d FROM i")
    say("made here", record["m"], record["ms"], dict(record["p"]), record["d"])
    statement = await connection.prepare("SELECT p, ms FROM i WHERE m = $1")
    say("parameters", [(kind.name, kind.kind, kind.schema) for kind in statement.get_parameters()])
    say("attributes", [(a.name, a.type.name, a.type.kind, a.type.schema) for a in statement.get_attributes()])
    await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
    say("codec", await connection.fetchval("SELECT $1::jsonb", {"k": [1, None, "☃"]}))
    await connection.reset_type_codec("jsonb", schema="pg_catalog")
    say("codec gone", await connection.fetchval("SELECT $1::jsonb", '{"k": 1}'))


async def codecs(connection: asyncpg.Connection) -> None:
    for kind, value in (
        ("int8", -(2**62)),
        ("float8", float("-inf")),
        ("numeric", decimal.Decimal("12345678901234567890.0123456789")),
        ("text", "☃"),
        ("bytea", b"\x00\xff"),
        ("bool", True),
        ("date", datetime.date(2024, 2, 29)),
        ("timestamptz", datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.UTC)),
        ("interval", datetime.timedelta(days=3, microseconds=5)),
        ("int4[]", [[1, None], [3, 4]]),
        ("int4range", asyncpg.Range(1, 10)),
        ("inet", "10.0.0.0/8"),
        ("point", asyncpg.Point(1.5, 2)),
        ("jsonb", '{"a": 1}'),
        ("bit", asyncpg.BitString("1")),
        ("tsvector", "'a':1 'b':2"),
    ):
        async with errors(kind, connection):
            say(kind, repr(await connection.fetchval(f"SELECT $1::{kind}", value)))


async def cursors(connection: asyncpg.Connection) -> None:
    async with connection.transaction():
        got = [record[0] async for record in connection.cursor("SELECT generate_series(1, $1::int)", 120, prefetch=25)]
        say("iterated", len(got), sum(got))
        cursor = await connection.cursor("SELECT generate_series(1, 50)")
        say(
            "by hand",
            rows(await cursor.fetch(2)),
            await cursor.forward(40),
            rows(await cursor.fetch(20)),
            await cursor.fetchrow(),
        )
    async with errors("without a transaction", connection):
        await connection.cursor("SELECT 1")
    async with errors("an error after some rows", connection), connection.transaction():
        async for record in connection.cursor("SELECT 12 / (4 - g) FROM generate_series(1, 9) g", prefetch=2):
            say("row", record[0])
    statement = await connection.prepare("SELECT generate_series(1, $1::int)")
    say("prepared twice", len(await statement.fetch(3)), len(await statement.fetch(4)), statement.get_statusmsg())
    plan = await statement.explain(5)
    say("explain", sorted(plan[0]["Plan"]))


async def copies(connection: asyncpg.Connection) -> None:
    await connection.execute("CREATE TABLE k (id int PRIMARY KEY, body text)")
    say("records", await connection.copy_records_to_table("k", records=[(n, f"row {n}") for n in range(5000)]))
    say("text", await connection.copy_to_table("k", source=io.BytesIO(b"9000,csv\n9001,more\n"), format="csv"))
    async with errors("a duplicate", connection):
        await connection.copy_records_to_table("k", records=[(10000, "x"), (1, "dup")])
    async with errors("malformed", connection):
        await connection.copy_to_table("k", source=io.BytesIO(b"not a number\tx\n"))
    out = io.BytesIO()
    say("out", await connection.copy_from_query("SELECT * FROM k WHERE id < $1 ORDER BY id", 4000, output=out, format="csv"))
    say("out digest", digest([out.getvalue()]))
    out = io.BytesIO()
    say(
        "binary out", await connection.copy_from_table("k", columns=["id"], output=out, format="binary"), digest([out.getvalue()])
    )
    async with errors("out of nothing", connection):
        await connection.copy_from_table("missing", output=io.BytesIO())


async def transactions(connection: asyncpg.Connection) -> None:
    async with errors("outer", connection), connection.transaction(isolation="serializable"):
        await connection.execute("INSERT INTO a VALUES (500, 'kept')")
        async with errors("inner", connection), connection.transaction():
            await connection.execute("INSERT INTO a VALUES (501, 'gone')")
            await connection.execute("INSERT INTO a VALUES (1, 'dup')")
        await connection.execute("INSERT INTO a VALUES (502, 'kept')")
    async with errors("failed", connection), connection.transaction():
        await connection.execute("INSERT INTO a VALUES (503, 'gone')")
        async with errors("not caught by a savepoint", connection):
            await connection.execute("SELECT 1/0")
        async with errors("misspelt, in a transaction that has failed", connection):
            await connection.execute("SELEC 1")
        async with errors("misspelt, prepared", connection):
            await connection.fetch("SELEC $1", 1)
        await connection.execute("SELECT 1")
    async with errors("failed by a misspelt statement", connection), connection.transaction():
        await connection.execute("INSERT INTO a VALUES (504, 'gone')")
        await connection.fetch("SELEC $1", 1)
    say("left", rows(await connection.fetch("SELECT id FROM a WHERE id >= 500 ORDER BY id")))


async def messages(connection: asyncpg.Connection) -> None:
    heard: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    def listen(_connection: object, _pid: int, channel: str, payload: str) -> None:
        heard.put_nowait((channel, payload))

    connection.add_log_listener(lambda _connection, message: say("notice", diagnosis(message)))
    await connection.add_listener("news", listen)
    await connection.execute("NOTIFY news, 'hello'")
    say("heard", await asyncio.wait_for(heard.get(), 20))
    await connection.remove_listener("news", listen)
    await connection.execute("SELECT says('noted')")
    async with errors("raised", connection):
        await connection.execute("SELECT fails('raised')")
    async with errors("timed out and cancelled", connection):
        await connection.fetch("SELECT pg_sleep(600)", timeout=0.3)
    say("usable again", await connection.fetchval("SELECT 1"))
    await connection.reload_schema_state()
    await connection.reset()
    say("after reset", await connection.fetchval("SHOW search_path"))


async def pooled() -> None:
    async with asyncpg.create_pool(min_size=3, max_size=3) as pool:
        answers = await asyncio.gather(*(pool.fetchval("SELECT $1::int * 2", n) for n in range(60)))
        say("pool", answers)


async def main() -> None:
    connection = await asyncpg.connect(host=os.environ["PGHOST"], port=int(os.environ["PGPORT"]))
    try:
        for step in (queries, introspection, codecs, cursors, copies, transactions, messages):
            await step(connection)
    finally:
        await connection.close()
    await pooled()


if __name__ == "__main__":
    asyncio.run(main())
