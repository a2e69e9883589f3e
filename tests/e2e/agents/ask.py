"""An agent that runs statements one by one and prints all that comes back.

The statements stand on its command line; with ``-`` there, they come in as a JSON list instead. With ``--each`` many lists come
in, a line each: each is a session of its own, and all that it prints goes out as one line, a JSON string.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Sequence

import psycopg


def ask(statements: Sequence[str]) -> None:
    """One session."""
    with psycopg.connect("", autocommit=True) as connection:
        connection.add_notice_handler(lambda notice: print(f"NOTICE {notice.message_primary}"))
        for text in statements:
            try:
                with connection.cursor() as cursor:
                    if text.startswith("COPY"):
                        with cursor.copy(text) as copy:
                            print(b"".join(bytes(chunk) for chunk in copy).decode(), end="")
                        continue
                    cursor.execute(text)
                    for row in cursor if cursor.description else ():
                        print("|".join("NULL" if value is None else str(value) for value in row))
                    print(cursor.statusmessage)
            except psycopg.Error as error:
                diagnostic = error.diag
                for field in (diagnostic.message_primary, diagnostic.message_detail, diagnostic.message_hint, diagnostic.context):
                    if field:
                        print(f"{error.sqlstate} {field}")


def main() -> None:
    if sys.argv[1:] != ["--each"]:
        ask(json.load(sys.stdin) if sys.argv[1:] == ["-"] else sys.argv[1:])
        return
    for line in sys.stdin:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            ask(json.loads(line))
        print(json.dumps(printed.getvalue()), flush=True)


if __name__ == "__main__":
    main()
