"""An agent that is told line by line what to ask, and tells line by line what came back, all in one session.

A line is a JSON list of statements: one is sent as a simple query, or as a prepared one if the list begins with ``true``; several
go out as one pipeline without waiting, with one sync at the end; an empty list begins a new session. The answer is a JSON list of
lines of text: a row each, an error as its SQLSTATE with its message.
"""

from __future__ import annotations

import json
import sys

import psycopg
from psycopg import pq


def told(result: pq.abc.PGresult) -> list[str]:
    """What one result says."""
    status = pq.ExecStatus(result.status)
    if status is pq.ExecStatus.FATAL_ERROR:
        state = result.error_field(pq.DiagnosticField.SQLSTATE) or b""
        return [f"{state.decode()} {result.error_message.decode().strip()}"]
    if status not in (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK):
        return [status.name]
    cells = [[result.get_value(row, column) for column in range(result.nfields)] for row in range(result.ntuples)]
    rows = ["|".join("NULL" if cell is None else cell.decode() for cell in row) for row in cells]
    return rows or [(result.command_status or b"").decode()]


def at_once(connection: psycopg.Connection, text: str, *, extended: bool) -> list[str]:
    if extended:
        return told(connection.pgconn.exec_params(text.encode(), []))
    return told(connection.pgconn.exec_(text.encode()))


def pipelined(connection: psycopg.Connection, texts: list[str]) -> list[str]:
    pg = connection.pgconn
    pg.enter_pipeline_mode()
    for text in texts:
        pg.send_query_params(text.encode(), [])
    pg.pipeline_sync()
    answer: list[str] = []
    while True:
        result = pg.get_result()
        if result is None:
            continue
        if result.status == pq.ExecStatus.PIPELINE_SYNC:
            pg.exit_pipeline_mode()
            return answer
        answer += told(result)


def main() -> None:
    connection = psycopg.connect("", autocommit=True)
    for line in sys.stdin:
        answer: list[str] = []
        match json.loads(line):
            case []:
                connection.close()
                connection = psycopg.connect("", autocommit=True)
            case [str(text)]:
                answer = at_once(connection, text, extended=False)
            case [True, str(text)]:
                answer = at_once(connection, text, extended=True)
            case texts:
                answer = pipelined(connection, texts)
        print(json.dumps(answer), flush=True)
    connection.close()


if __name__ == "__main__":
    main()
