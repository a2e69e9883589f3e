"""A tagged column stays masked through every relation that shows it, and when the tables change under running agents."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator

import guard
import pytest
from e2e.talk import Talk, direct, guarded
from servers import Server

RAW = "ada.brandt@example.com"
MASKED = "a*********@example.com"
POLICY = """
@id("the worker reads and writes")
permit (principal in Role::"worker", action in [Action::"read", Action::"write"], resource in Resource::"pg");
"""
PEOPLE = f"""
CREATE TABLE people (id int, email text, shout text GENERATED ALWAYS AS (upper(email)) STORED);
INSERT INTO people VALUES (1, '{RAW}');
"""
# A child or partition has its own attribute numbers when it was attached rather than made.
SCRIPT = f"""
{PEOPLE}
CREATE TABLE child (note text) INHERITS (people);
INSERT INTO child (id, email) VALUES (2, '{RAW}');
CREATE TABLE adopted (note text, extra int, email text, id int, shout text GENERATED ALWAYS AS (upper(email)) STORED);
ALTER TABLE adopted INHERIT people;
INSERT INTO adopted (id, email) VALUES (3, '{RAW}');
CREATE TABLE grandchild () INHERITS (child);
INSERT INTO grandchild (id, email) VALUES (4, '{RAW}');
CREATE TABLE events (id int, email text) PARTITION BY RANGE (id);
CREATE TABLE events_made PARTITION OF events FOR VALUES FROM (0) TO (10);
CREATE TABLE events_attached (gone int, email text, id int);
ALTER TABLE events_attached DROP COLUMN gone;
ALTER TABLE events ATTACH PARTITION events_attached FOR VALUES FROM (10) TO (20);
INSERT INTO events VALUES (1, '{RAW}'), (11, '{RAW}');
CREATE VIEW seen AS SELECT id, email AS address FROM people;
CREATE VIEW seen_twice AS SELECT address AS a, id FROM seen;
CREATE VIEW whole AS SELECT people FROM people;
CREATE VIEW changed AS SELECT id, reverse(reverse(email)) AS text FROM people;
CREATE MATERIALIZED VIEW kept AS SELECT email AS e FROM people;
"""
QUERIES = (
    "SELECT * FROM people",
    "SELECT * FROM child",
    "SELECT email FROM ONLY child",
    "SELECT * FROM adopted",
    "SELECT email, note FROM adopted",
    "SELECT * FROM grandchild",
    "SELECT * FROM events",
    "SELECT * FROM events_made",
    "SELECT * FROM events_attached",
    "SELECT email FROM events_attached",
    "SELECT * FROM seen",
    "SELECT address FROM seen",
    "SELECT * FROM seen_twice",
    "SELECT a FROM seen_twice",
    "SELECT * FROM whole",
    "SELECT (people).email FROM whole",
    "SELECT * FROM changed",
    "SELECT * FROM kept",
    "SELECT shout FROM people",
    "SELECT lower(shout) FROM people",
    "SELECT shout FROM adopted",
    "UPDATE child SET id = id RETURNING email",
    "UPDATE seen SET id = id RETURNING address",
    "UPDATE events_attached SET id = id WHERE id > 0 RETURNING *",
    "DELETE FROM adopted WHERE id = 3 RETURNING email, shout",
    "INSERT INTO people (id, email) SELECT 9, address FROM seen LIMIT 1 RETURNING email",
    "SELECT tableoid::regclass, email FROM people",
)


# A catalog is trusted for half a minute, so each case has a database of its own.
DATABASES = ["relatives", *(f"changed{number}" for number in range(9))]
TAGS = f"""
[tags."pii.email"]
columns = {json.dumps([f"pg/{name}/public/{table}/email" for name in DATABASES for table in ("people", "events")])}
mask = {{ kind = "partial", keep = 0 }}
"""


@pytest.fixture(scope="module")
def running(server: Server) -> Iterator[guard.Guard]:
    """A guard whose agent reads and writes, and may see no e-mail address."""
    setup = guard.Setup(
        agents={"worker": guard.Agent(("worker",))},
        resources={"pg": f"{server.host}:{server.port}"},
        policies=POLICY,
        tags=TAGS,
    )
    with guard.guarding(setup) as started:
        yield started


def raw(seen: list[str]) -> list[str]:
    return [line for line in seen if RAW in line.lower()]


def test_no_relation_shows_a_tagged_column(running: guard.Guard, server: Server) -> None:
    with server.database("relatives", SCRIPT) as database, guarded(running, "worker", server, database) as talk:
        for text, extended in itertools.product(QUERIES, (False, True)):
            seen = talk(True, text) if extended else talk(text)
            assert raw(seen) == [], text
        assert talk("SELECT id, email FROM people ORDER BY id LIMIT 1") == [f"1|{MASKED}"]
    with server.database("relatives", SCRIPT) as database, direct(server, database) as talk:
        for text in QUERIES:
            assert raw(talk(text)) != [], f"this row shows nothing: {text}"


# What somebody else does while the agent's session is open, and what the agent asks after it.
CHANGES = {
    "dropped and made again": (f"DROP TABLE people; {PEOPLE}", "SELECT * FROM people"),
    "made again with its columns in another order": (
        f"DROP TABLE people; CREATE TABLE people (email text, id int); INSERT INTO people VALUES ('{RAW}', 1)",
        "SELECT * FROM people",
    ),
    "its tagged column renamed": ("ALTER TABLE people RENAME email TO mail", "SELECT mail FROM people"),
    "the table renamed": ("ALTER TABLE people RENAME TO persons", "SELECT email FROM persons"),
    "two columns swap their names": (
        "ALTER TABLE people ADD other text DEFAULT 'x'; ALTER TABLE people RENAME email TO t;"
        "ALTER TABLE people RENAME other TO email; ALTER TABLE people RENAME t TO other",
        "SELECT other FROM people",
    ),
    "a new view": ("CREATE VIEW fresh AS SELECT email AS e FROM people", "SELECT * FROM fresh"),
    "a new child": (
        f"CREATE TABLE young () INHERITS (people); INSERT INTO young (id, email) VALUES (5, '{RAW}')",
        "SELECT * FROM young",
    ),
    "a view of the same name instead of the table": (
        "ALTER TABLE people RENAME TO persons; CREATE VIEW people AS SELECT * FROM persons",
        "SELECT * FROM people",
    ),
    "a table that moves to another schema": (
        "CREATE SCHEMA s; ALTER TABLE people SET SCHEMA s; CREATE VIEW v AS SELECT * FROM s.people",
        "SELECT * FROM v",
    ),
}


def ask_each_way(talk: Talk, text: str) -> list[str]:
    return [*talk(text), *talk(True, text), *talk("SELECT 1", text)]


@pytest.mark.parametrize(("name", "title"), list(zip(DATABASES[1:], CHANGES, strict=True)), ids=CHANGES)
def test_a_change_under_a_running_agent_shows_nothing(running: guard.Guard, server: Server, name: str, title: str) -> None:
    change, text = CHANGES[title]
    with server.database(name, PEOPLE) as database:
        with guarded(running, "worker", server, database) as talk:
            assert talk("SELECT id, email FROM people") == [f"1|{MASKED}"]
            assert talk("PREPARE p AS SELECT * FROM people") == ["PREPARE"]
            with server.connect(database) as somebody_else:
                somebody_else.execute(change.encode())
                assert RAW in str(somebody_else.execute(text.encode()).fetchall())
            seen = [*ask_each_way(talk, text), *talk("EXECUTE p"), *ask_each_way(talk, "SELECT * FROM people")]
            assert raw(seen) == []
        with guarded(running, "worker", server, database) as talk:
            assert raw(ask_each_way(talk, text)) == []
