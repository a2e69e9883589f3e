"""What a client program saw, one JSON line for each thing it observed."""

from __future__ import annotations

import datetime
import decimal
import hashlib
import json
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg


def plain(value: object) -> object:
    """A stable text for what JSON has no form for; the Python type stays visible."""
    match value:
        case bytes() | bytearray() | memoryview():
            return f"bytes:{bytes(value).hex()}"
        case decimal.Decimal() | uuid.UUID() | datetime.timedelta():
            return f"{type(value).__name__}:{value}"
        case datetime.date() | datetime.time():
            return f"{type(value).__name__}:{value.isoformat()}"
        case set() | frozenset():
            return sorted(map(str, value))
        case _:
            return f"{type(value).__name__}:{value!s}"


def say(label: str, *facts: object) -> None:
    """Print one observation."""
    json.dump([label, *facts], sys.stdout, default=plain, ensure_ascii=False)
    sys.stdout.write("\n")
    sys.stdout.flush()


def digest(chunks: Iterator[bytes] | list[bytes]) -> str:
    """SHA-256 of a long reply, for transcripts that should stay readable."""
    whole = hashlib.sha256()
    for chunk in chunks:
        whole.update(chunk)
    return whole.hexdigest()


DIAGNOSTICS = (
    "severity_nonlocalized",
    "sqlstate",
    "message_primary",
    "message_detail",
    "message_hint",
    "statement_position",
    "internal_position",
    "internal_query",
    "context",
    "schema_name",
    "table_name",
    "column_name",
    "datatype_name",
    "constraint_name",
    "source_file",
    "source_line",
    "source_function",
)


def diagnosis(diagnostic: psycopg.errors.Diagnostic) -> dict[str, str]:
    """Every field of an error or a notice that the server sent."""
    return {name: value for name in DIAGNOSTICS if (value := getattr(diagnostic, name)) is not None}


def watch(connection: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    """Put every notice of the connection into the transcript."""
    connection.add_notice_handler(lambda notice: say("notice", diagnosis(notice)))
    return connection


def state(connection: psycopg.Connection[Any]) -> str:
    return connection.info.transaction_status.name


@contextmanager
def errors(label: str, connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Say what went wrong inside, or that nothing did, and the transaction state after it."""
    try:
        yield
    except psycopg.Error as error:
        say(f"{label}: error", type(error).__name__, diagnosis(error.diag) or str(error), state(connection))
    else:
        say(f"{label}: fine", state(connection))


def columns(cursor: psycopg.Cursor[Any]) -> list[list[object]]:
    """The reply's columns as the wire describes them; table OIDs differ between databases, so only their presence counts."""
    result = cursor.pgresult
    if result is None or cursor.description is None:
        return []
    return [
        [
            column.name,
            column.type_code if column.type_code < 16384 else "made here",
            column.internal_size,
            column.precision,
            column.scale,
            result.fformat(position),
            result.ftable(position) != 0,
            result.ftablecol(position),
        ]
        for position, column in enumerate(cursor.description)
    ]


def results(label: str, cursor: psycopg.Cursor[Any]) -> None:
    """Every result of a cursor: columns, rows, tag."""
    while True:
        rows = cursor.fetchall() if cursor.description is not None else None
        say(label, columns(cursor), rows, cursor.statusmessage, cursor.rowcount)
        if not cursor.nextset():
            return


def run(connection: psycopg.Connection[Any], text: str, parameters: Any = None, **options: Any) -> None:
    """Execute, then say everything that came back."""
    label = text if len(text) < 200 else text[:200] + "…"
    with errors(label, connection), connection.cursor(binary=options.pop("binary", False)) as cursor:
        cursor.execute(text, parameters, **options)
        results(label, cursor)
