"""An agent that copies numbers into the table ``copied`` until its input ends, then says how many there were."""

from __future__ import annotations

import itertools
import sys
import threading

import psycopg


def main() -> None:
    over = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.readline()
        over.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    with psycopg.connect("", autocommit=True) as connection, connection.cursor() as cursor:
        with cursor.copy("COPY copied FROM STDIN") as copy:
            for number in itertools.count():
                copy.write_row((number,))
                if number == 1000:
                    print("copying", flush=True)
                if over.wait(0.0005):
                    break
        print(number + 1, flush=True)


if __name__ == "__main__":
    main()
