"""Opens as many connections as it is told, asks one thing on each, then holds them until its input ends."""

from __future__ import annotations

import sys

import psycopg

connections = [psycopg.connect("", autocommit=True) for _ in range(int(sys.argv[1]))]
for connection in connections:
    connection.execute("SELECT abalance FROM pgbench_accounts WHERE aid = 1")
print("ready", flush=True)
sys.stdin.readline()
for connection in connections:
    connection.close()
