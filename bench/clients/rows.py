"""Reads 200,000 rows through libpq, checks that they are all there, prints the seconds it took with one of the e-mails."""

from __future__ import annotations

import sys
import time

import psycopg

table = sys.argv[1].encode("ascii")

with psycopg.connect("", autocommit=True) as connection:
    began = time.perf_counter()
    result = connection.pgconn.exec_(b"SELECT id, email, card, number, note FROM " + table)
    took = time.perf_counter() - began
    if result.ntuples != 200_000:
        raise SystemExit(f"{result.ntuples} rows: {result.error_message!r}")
    print(f"{took:.4f}", result.get_value(199_999, 1))
