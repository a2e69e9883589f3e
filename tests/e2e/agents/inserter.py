"""An agent that never gives up: inserts ids of its own, one statement each.

Every second one is a bound parameter. An id is tried once: what became of it when the connection broke, the database knows.
"""

from __future__ import annotations

import itertools
import sys
import time

import psycopg

name = sys.argv[1]
numbers = itertools.count(1)
while True:
    try:
        with psycopg.connect("", autocommit=True) as connection:
            for number in numbers:
                identifier = f"{name}-{number}"
                if number % 2:
                    connection.execute(f"INSERT INTO kept VALUES ('{identifier}')")
                else:
                    connection.execute("INSERT INTO kept VALUES (%s)", [identifier])
    except psycopg.OperationalError:
        time.sleep(0.01)
