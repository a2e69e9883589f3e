"""Detectors and masks of every kind through the real path: agents, worker in its cage, PostgreSQL."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import guard
import pytest
from servers import Server

POLICY = """
@id("both read and write")
permit (principal in Role::"worker", action in [Action::"read", Action::"write"], resource);
@id("clerks see e-mails")
permit (principal in Role::"clerk", action == Action::"reveal", resource in Tag::"pii.email");
"""
TAGS = """
[tags."pii.email"]
detect = ["email"]
mask = { kind = "partial" }
[tags."pci.card"]
columns = ["pg/detected/public/people/card"]
detect = ["card", "phone"]
mask = { kind = "format" }
[tags."pii.born"]
columns = ["pg/detected/public/people/born"]
mask = { kind = "date_year" }
[tags."pii.doc"]
columns = ["pg/detected/public/people/doc"]
mask = { kind = "redact", leaves = ["contact.phone"] }
"""
SCRIPT = """
CREATE TABLE people (id int, note text, card text, born date, doc jsonb, extra json, tags text[]);
INSERT INTO people VALUES
  (1, 'write to amelie@example.com or +44 20 7946 0958', '4111 1111 1111 1111', '1987-05-23',
   '{"contact": {"phone": "12345", "zip": "10115"}}', '{"mail":  "amelie@example.com", "n": 1.50}', '{a,amelie@example.com}'),
  (2, 'nothing here', '5555555555554444', '1990-12-31', '{"n": 1.50}', '{"n": 2}', '{b}');
"""
AGENT = """
import json, psycopg
from psycopg import sql
with psycopg.connect(autocommit=True) as c:
    said = {}
    for name, binary in (("text", False), ("binary", True)):
        rows = c.execute("SELECT id, note, card, born, doc, extra::text, tags FROM people ORDER BY id", binary=binary).fetchall()
        said[name] = [[str(v) if i in (3,) else v for i, v in enumerate(row)] for row in rows]
    said["expression"] = c.execute("SELECT body || '!' FROM notes").fetchone()
    with c.cursor().copy("COPY notes TO STDOUT") as copy:
        said["copy"] = b"".join(bytes(block) for block in copy).decode()
    print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def running(postgres18: Server) -> Iterator[guard.Guard]:
    script = SCRIPT + "CREATE TABLE notes (body text); INSERT INTO notes VALUES ('from bo@example.com');"
    setup = guard.Setup(
        agents={"one": guard.Agent(("worker",)), "clerk": guard.Agent(("worker", "clerk"))},
        resources={"pg": f"{postgres18.host}:{postgres18.port}"},
        policies=POLICY,
        tags=TAGS,
    )
    with postgres18.database("detected", script), guard.guarding(setup) as made:
        yield made


def said(running: guard.Guard, agent: str, server: Server) -> Any:
    done = running.run(agent, [sys.executable, "-"], server.environment("detected"), AGENT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_values_are_found_and_masks_have_the_columns_types(running: guard.Guard, postgres18: Server) -> None:
    answers = said(running, "one", postgres18)
    assert answers["text"] == answers["binary"]
    (_, note, card, born, doc, extra, tags), second = answers["text"]
    assert str(note).startswith("write to a*****@example.com or +")
    assert "7946 0958" not in str(note)
    assert (len(str(card)), card != "4111 1111 1111 1111") == (19, True)
    assert born == "1987-01-01"
    assert doc == {"contact": {"phone": "***", "zip": "10115"}}
    assert extra is None  # computed, in a statement that touches hidden columns
    assert tags == ["a", "a*****@example.com"]
    assert second[1] == "nothing here"


def test_who_may_reveal_the_tag_sees_what_is_found(running: guard.Guard, postgres18: Server) -> None:
    answers = said(running, "clerk", postgres18)
    assert "amelie@example.com" in str(answers["text"][0][1])
    assert "7946 0958" not in str(answers["text"][0][1])
    assert answers["copy"] == "from bo@example.com\n"


def test_expressions_and_copies_of_tables_without_tags_are_looked_through(running: guard.Guard, postgres18: Server) -> None:
    answers = said(running, "one", postgres18)
    assert answers["expression"] == ["from b*@example.com!"]
    assert answers["copy"] == "from b*@example.com\n"


def test_the_record_names_where_something_was_found(running: guard.Guard, postgres18: Server) -> None:
    said(running, "one", postgres18)
    flows = [found["flow"] for found in running.ask("recordings", "list")]
    shown = json.loads(running.cli("recordings", "show", str(flows[-1]), "--json").stdout)
    assert "pii.email" in json.dumps(shown["items"])
