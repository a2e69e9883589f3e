"""An agent that begins one session after the other, and tells how long each took to be there, until its input ends."""

from __future__ import annotations

import os
import sys
import threading
import time

import psycopg

PAUSE_S = 0.01
"""Between two visits: it is about the visits, not about who has the processor."""


def arrival() -> str:
    """One visit: ``ok`` or what went wrong. It waits as long as it takes."""
    try:
        with psycopg.connect("", connect_timeout=60, autocommit=True) as connection:
            connection.execute("SELECT 1")
        return "ok"
    except psycopg.OperationalError as error:
        return " ".join(str(error).split())


def main() -> None:
    over = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    while not over.is_set():
        began = time.monotonic()
        outcome = arrival()
        print(f"{(time.monotonic() - began) * 1000:.0f} {outcome}", flush=True)
        time.sleep(PAUSE_S)
    print("0 over", flush=True)


if __name__ == "__main__":
    main()
    os._exit(0)
