"""What somebody else changes in the database while an agent's connection stays open."""

from __future__ import annotations

import sys
import time

import guard
from servers import Server

FRESH_S = 6
"""Long enough for what is asked before the catalog has to be read again."""
LIMIT_S = 40

TAGS = """
[tags.secret]
columns = ["pg/refresh/public/known/secret"]
mask = { kind = "constant", text = "hidden" }
"""
READS = '@id("reads") permit (principal in Role::"r", action in Action::"read", resource in Database::"pg/refresh");\n'
ASKS = """
import psycopg, sys
with psycopg.connect("", autocommit=True) as connection:
    for text in sys.stdin:
        try:
            print(connection.execute(text).fetchone(), flush=True)
        except psycopg.Error as error:
            print(error.sqlstate, flush=True)
"""


def test_a_long_lived_connection_learns_of_tables_that_others_made(postgres18: Server) -> None:
    schema = "CREATE TABLE known (id int, secret text); INSERT INTO known VALUES (1, 'value')"
    address = {"pg": f"{postgres18.host}:{postgres18.port}"}
    setup = guard.Setup(
        agents={"one": guard.Agent(("r",))}, resources=address, policies=READS, tags=TAGS, limits=f"catalog_s = {FRESH_S}"
    )
    with postgres18.database("refresh", schema), guard.guarding(setup) as running:
        agent = running.begin("one", [sys.executable, "-c", ASKS], postgres18.environment("refresh", "postgres"))

        def ask(text: str) -> str:
            assert agent.stdin is not None
            assert agent.stdout is not None
            agent.stdin.write(text + "\n")
            agent.stdin.flush()
            return agent.stdout.readline().strip()

        assert ask("SELECT id, secret FROM known") == "(1, 'hidden')"
        with postgres18.connect("refresh") as connection:
            connection.execute("CREATE TABLE fresh AS SELECT 7 AS n")
            connection.execute("ALTER TABLE known RENAME TO was_known")
            connection.execute("CREATE TABLE known AS SELECT * FROM was_known")
        # Until the catalog is read again the new tables are unknown, which is closed; the old one keeps its masks.
        assert "value" not in ask("SELECT id, secret FROM known") + ask("SELECT id, secret FROM was_known")
        deadline = time.monotonic() + LIMIT_S
        while ask("SELECT n FROM fresh") != "(7,)":
            assert time.monotonic() < deadline, "the catalog was not read again"
            time.sleep(0.1)
        assert ask("SELECT id, secret FROM known") == "(1, 'hidden')"
        agent.communicate(timeout=30)
