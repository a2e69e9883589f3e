"""What hostguard can't judge is refused, whatever the policy says: by which words, and that nothing else is hurt."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from guard import Guard
from servers import Server

ASK = Path(__file__).parent / "agents" / "ask.py"
EXPLAIN = "`hostguard policy explain --agent matrix --resource pg{version} 'STATEMENT'` tells which policies decide."
UNNAMED = "CREATE FUNCTION unnamed(int) RETURNS int LANGUAGE sql AS 'SELECT $1'"
LONG = 1 << 20
FUNCTION_CALL = "a function called by number is unknown: its name and what it does are not in the message"


def last_recording(matrix: Guard) -> list[dict[str, Any]]:
    """The operations of the latest flow, as ``hostguard recordings show`` has them."""
    flow = matrix.ask("recordings", "list")[-1]["flow"]
    items: list[dict[str, Any]] = matrix.ask("recordings", "show", str(flow))["items"]
    return [item for item in items if "verdict" in item]


@pytest.mark.parametrize(
    ("before", "text", "reason", "hint"),
    [
        ([], "DO $$ BEGIN NULL; END $$", "DO runs a block of code that SQL's grammar does not cover", EXPLAIN),
        ([], "SELECT 1; DO $$ BEGIN NULL; END $$", "DO runs a block of code that SQL's grammar does not cover", EXPLAIN),
        ([], "SELECT '" + "q" * LONG + "'", f"longer than {LONG} characters", EXPLAIN),
        (
            [],
            "SELECT unnamed(1)",
            "no policy names the function to permit call on pg{version}/matrix/public/unnamed for agent matrix",
            EXPLAIN,
        ),
        (
            ["SET client_encoding TO 'LATIN1'"],
            "SELECT 'é'",
            "the session's client_encoding is LATIN1, and hostguard reads this statement in UTF8 only",
            "Use client_encoding UTF8.",
        ),
    ],
    ids=["DO", "DO behind another", "too long", "a function without a policy", "LATIN1"],
)
def test_a_refusal_says_what_and_what_to_do(
    matrix: Guard, server: Server, before: list[str], text: str, reason: str, hint: str
) -> None:
    statements = [*before, text, "SELECT 'still here'", "BEGIN", text, "SELECT 1", "COMMIT", "SELECT 'at work'"]
    with server.database("matrix", UNNAMED) as database:
        environment = server.environment(database)
        result = matrix.run("matrix", [sys.executable, ASK, "-"], environment, text=json.dumps(statements))
    reason, hint = reason.format(version=server.version), hint.format(version=server.version)
    refused = [f"42501 {reason}", f"42501 {hint}"]
    aborted = "25P02 current transaction is aborted, commands ignored until end of transaction block"
    assert result.stderr == ""
    assert result.stdout.splitlines() == [
        *("SET" for _ in before),
        *refused,
        *("still here", "SELECT 1"),
        *("BEGIN", *refused, aborted, "ROLLBACK"),
        *("at work", "SELECT 1"),
    ]
    recorded = [item for item in last_recording(matrix) if item["verdict"] == "deny"]
    assert [(item["text"], item["reason"], item["hint"]) for item in recorded] == [(text, reason, hint)] * 2


def test_large_objects_by_function_call_are_refused(matrix: Guard, server: Server) -> None:
    """What libpq's lo_ functions send is a function's number; a SELECT that calls it by name has a policy's answer."""
    script = """
\\set VERBOSITY verbose
\\lo_import /etc/debian_version
SELECT 'still here';
BEGIN;
\\lo_unlink 1
SELECT 1;
COMMIT;
SELECT count(*) FROM pg_largeobject_metadata;
"""
    with server.database("matrix") as database:
        psql: list[str | Path] = [server.bin / "psql", "-X", "-A", "-t"]
        result = matrix.run("matrix", psql, server.environment(database), text=script)
    refused = [f"ERROR:  42501: {FUNCTION_CALL}", "HINT:  Call the function in a SELECT."]
    said = [line for line in result.stderr.splitlines() if line and not line.startswith("LOCATION")]
    assert said[:2] == refused
    assert [line for line in said if "25P02" in line] != []
    assert result.stdout.splitlines() == ["still here", "BEGIN", "ROLLBACK", "0"]
    recorded = [item for item in last_recording(matrix) if item["verdict"] == "deny"]
    assert [(item["form"], item["reason"]) for item in recorded] == [("function_call", FUNCTION_CALL)] * 2
