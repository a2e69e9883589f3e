"""An agent that runs statements one by one and prints all that comes back.

The statements stand on its command line; with ``-`` there, they come in as a JSON list instead.
"""

from __future__ import annotations

import json
import sys

import psycopg


def main() -> None:
    with psycopg.connect("", autocommit=True) as connection:
        connection.add_notice_handler(lambda notice: print(f"NOTICE {notice.message_primary}"))
        for text in json.load(sys.stdin) if sys.argv[1:] == ["-"] else sys.argv[1:]:
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


if __name__ == "__main__":
    main()
