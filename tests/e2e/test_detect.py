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
columns = ["pg/detected/public/people/born", "pg/detected/public/accounts/born"]
mask = { kind = "date_year" }
[tags."pii.account"]
columns = ["pg/detected/public/accounts/owner", "pg/detected/public/orders/owner", "pg/detected_too/public/visits/who"]
mask = { kind = "hash" }
[tags."pii.phone"]
columns = ["pg/detected/public/accounts/phone", "pg/detected_too/public/visits/phone"]
mask = { kind = "format" }
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
ACCOUNTS = """
CREATE DOMAIN digits AS text CHECK (VALUE ~ '^[+0-9 ]+$');
CREATE TABLE accounts (id int, owner text, phone digits, born date, n int GENERATED ALWAYS AS (id + 1) STORED, note text);
INSERT INTO accounts VALUES (1, 'amelie', '030 123', '1987-05-23', DEFAULT, E'a\\tb\\\\'),
  (2, NULL, NULL, NULL, DEFAULT, 'says "hi"'), (3, 'bo, "x"', '030 999', '1990-01-02', DEFAULT, 'cc bo@example.com');
CREATE TABLE orders (id int, owner varchar(20));
INSERT INTO orders VALUES (1, 'amelie'), (2, 'amelie'), (3, 'zoe');
"""
VISITS = "CREATE TABLE visits (who text, phone text); INSERT INTO visits VALUES ('amelie', '030 123'), ('bo', '030 555');"
COPIER = """
import json, sys, psycopg
COPIES = ["", "(FORMAT csv, HEADER)", "(FORMAT csv, FORCE_QUOTE *, DELIMITER ';')", "(FORMAT binary)"]
with psycopg.connect(autocommit=True) as c:
    said = {"copies": {}, "refused": []}
    for options in COPIES:
        with c.cursor().copy(f"COPY accounts TO STDOUT {options}") as copy:
            said["copies"][options] = [bytes(block).hex() for block in copy]
    with c.cursor().copy("COPY (SELECT upper(owner), phone, id FROM accounts LIMIT 1) TO STDOUT") as copy:
        said["query"] = b"".join(bytes(block) for block in copy).decode()
    for options in ("(NULL 'amelie')", "(ENCODING 'LATIN1')"):
        try:
            with c.cursor().copy(f"COPY accounts TO STDOUT {options}") as copy:
                list(copy)
        except psycopg.Error as error:
            said["refused"].append(error.sqlstate)
    said["select"] = c.execute("SELECT id, owner, phone, born, note FROM accounts ORDER BY id").fetchall()
    said["orders"] = c.execute("SELECT id, owner FROM orders ORDER BY id").fetchall()
    with psycopg.connect(dbname="detected_too") as other:
        said["visits"] = other.execute("SELECT who, phone FROM visits").fetchall()
    print(json.dumps(said, default=str))
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
    script += ACCOUNTS
    with (
        postgres18.database("detected", script),
        postgres18.database("detected_too", VISITS),
        guard.guarding(setup) as made,
    ):
        yield made


def said(running: guard.Guard, agent: str, server: Server, program: str = AGENT) -> Any:
    done = running.run(agent, [sys.executable, "-"], server.environment("detected"), program)
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
    assert extra == '{"mail":  "a*****@example.com", "n": 1.50}'  # computed from a column that is not hidden
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


def back(server: Server, options: str, blocks: list[str]) -> list[tuple[Any, ...]]:
    """The rows of a COPY as a server reads them."""
    with server.connect("detected") as connection:
        connection.execute("CREATE TEMPORARY TABLE back (id int, owner text, phone text, born date, note text)")
        options = options.replace("FORCE_QUOTE *, ", "")
        with connection.cursor().copy(f"COPY back FROM STDIN {options}".encode()) as copy:
            for block in blocks:
                copy.write(bytes.fromhex(block))
        return connection.execute("SELECT id, owner, phone, born::text, note FROM back ORDER BY id").fetchall()


def test_copies_in_every_form_have_the_masks_of_select(running: guard.Guard, postgres18: Server) -> None:
    answers = said(running, "one", postgres18, COPIER)
    for options, blocks in answers["copies"].items():
        assert [list(row) for row in back(postgres18, options, blocks)] == answers["select"], options
        assert b"amelie" not in b"".join(map(bytes.fromhex, blocks))
    first, second, third = answers["select"]
    assert (first[3], first[4], second[1:4]) == ("1987-01-01", "a\tb\\", [None, None, None])
    assert third[4] == "cc b*@example.com"
    assert answers["query"] == f"\\N\t{first[2]}\t1\n"
    assert answers["refused"] == ["42501", "42501"]


def test_keyed_masks_join_across_tables_databases_and_types(running: guard.Guard, postgres18: Server) -> None:
    answers = said(running, "one", postgres18, COPIER)
    accounts, orders, visits = answers["select"], answers["orders"], answers["visits"]
    amelie = accounts[0][1]
    assert [owner == amelie for _, owner in orders] == [True, True, False]
    assert visits[0] == [amelie, accounts[0][2]]
    assert visits[1][0] not in (amelie, accounts[2][1])
    assert len({phone for _, _, phone, *_ in accounts} | {phone for _, phone in visits}) == 4
    assert not {"amelie", "bo", "030 123", "030 555"} & {amelie, *visits[0], *visits[1]}
