"""An agent that connects, asks one thing and leaves, again and again, until its input ends."""

from __future__ import annotations

import os
import sys
import threading
import time

import psycopg

PAUSE_S = 0.01
"""Between two visits, so that agents that are refused at once leave those that start again the processor."""


def attempt() -> str:
    """One visit: ``ok``, ``refused`` (no connection was made), or ``error`` with what happened."""
    try:
        with psycopg.connect("", connect_timeout=2, autocommit=True) as connection:
            connection.execute("SELECT 1")
        return "ok"
    except psycopg.OperationalError as error:
        return "refused" if "Connection refused" in str(error) else f"error {' '.join(str(error).split())}"


def main() -> None:
    over = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    while not over.is_set():
        began = time.monotonic()
        outcome = attempt()
        print(f"{began:.6f} {(time.monotonic() - began) * 1000:.1f} {outcome}", flush=True)
        time.sleep(PAUSE_S)
    os._exit(0)


if __name__ == "__main__":
    main()
