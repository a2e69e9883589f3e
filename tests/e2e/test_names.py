"""Whatever the session's search_path becomes, a name is judged as the table that the server will take it for."""

from __future__ import annotations

from collections.abc import Iterator

import guard
import pytest
from e2e.talk import Talk, direct, guarded
from servers import Server

SCRIPT = """
CREATE SCHEMA open; CREATE SCHEMA closed;
CREATE TABLE open.people (name text); INSERT INTO open.people VALUES ('open');
CREATE TABLE closed.people (name text); INSERT INTO closed.people VALUES ('secret');
CREATE TABLE closed.hidden (name text); INSERT INTO closed.hidden VALUES ('secret');
CREATE FUNCTION closed.lower(text) RETURNS text LANGUAGE sql AS 'SELECT name FROM closed.people';
ALTER DATABASE {database} SET search_path = open;
"""
POLICY = """
@id("all but the closed schema is open")
permit (
  principal in Role::"worker",
  action in [Action::"read", Action::"write", Action::"define"],
  resource in Database::"pg/names"
)
unless { resource in Schema::"pg/names/closed" || resource in Schema::"pg/names/postgres" };
@id("settings are free")
permit (principal in Role::"worker", action in Action::"session", resource);
@id("schemas are made")
permit (principal in Role::"worker", action == Action::"create", resource == Schema::"pg/names/postgres");
"""
PEOPLE = "SELECT * FROM people"
Steps = tuple[tuple[str | bool, ...], ...]
# Each gets at the closed table when nobody guards it.
WAYS = (
    (("SET search_path = closed; SELECT * FROM people",),),
    (("SET search_path = closed; TABLE people",),),
    (("BEGIN; SET LOCAL search_path = closed; SELECT * FROM people",), ("COMMIT",)),
    (("SELECT set_config('search_path', 'closed', false); SELECT * FROM people",),),
    (("SELECT set_config('search_path', 'closed', false), (SELECT count(*) FROM people)",), (PEOPLE,)),
    (("SELECT set_config(concat('search', '_path'), 'closed', false)",), (PEOPLE,)),
    (("SELECT set_config('Search_Path', 'closed', false); SELECT * FROM people",),),
    (("SET search_path = closed",), (PEOPLE,)),
    (("SET search_path = closed",), (True, PEOPLE)),
    (("SET search_path = closed", PEOPLE),),
    ((True, "SELECT set_config('search_path', 'closed', false)"), (True, PEOPLE)),
    (("SELECT set_config('search_path', 'closed', false)", PEOPLE),),
    (("BEGIN",), ("SET LOCAL search_path = closed",), (PEOPLE,), ("COMMIT",)),
    (("BEGIN",), ("SET LOCAL search_path = closed", PEOPLE), ("COMMIT",)),
    (("SET search_path = closed",), ("BEGIN; SET search_path = open; ROLLBACK",), (PEOPLE,)),
    (("SET search_path = closed; SET search_path = open; SET search_path = closed",), (PEOPLE,)),
    (("PREPARE p AS SELECT * FROM people",), ("SET search_path = closed",), ("EXECUTE p",)),
    (("PREPARE p AS SELECT * FROM people",), ("SET search_path = closed; EXECUTE p",)),
    (("PREPARE p AS SELECT * FROM people",), ("SET search_path = closed", "EXECUTE p")),
    (("PREPARE p AS SELECT set_config('search_path', 'closed', false)",), ("EXECUTE p",), (PEOPLE,)),
    (("PREPARE p AS SELECT set_config('search_path', 'closed', false)",), ("EXECUTE p; SELECT * FROM people",)),
    (("PREPARE p AS SELECT set_config('search_path', 'closed', false)",), ("EXECUTE p", PEOPLE)),
    (("PREPARE p AS SELECT set_config('search_path', 'closed', false)",), ("BEGIN",), ("EXECUTE p",), (PEOPLE,)),
    (("BEGIN; DECLARE c CURSOR FOR SELECT set_config('search_path', 'closed', false); FETCH c",), (PEOPLE,)),
    (
        ("BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT set_config('search_path', 'closed', false); COMMIT",),
        ("FETCH c",),
        (PEOPLE,),
    ),
    (
        ("CREATE TABLE open.d (name text DEFAULT set_config('search_path', 'closed', false))",),
        ("INSERT INTO open.d DEFAULT VALUES",),
        (PEOPLE,),
    ),
    (
        ("CREATE VIEW open.e AS SELECT set_config('search_path', 'closed', false)",),
        ("SELECT * FROM open.e",),
        (PEOPLE,),
    ),
    (("SET search_path = closed, pg_catalog", "SELECT lower('anything')"),),
    (("SET search_path = closed, pg_catalog; SELECT lower('anything')",),),
    (("SET search_path = open, closed; SELECT * FROM hidden",),),
    (("SET search_path = open, closed", "SELECT * FROM hidden"),),
    (("SET SCHEMA 'closed'",), (PEOPLE,)),
    (("SET SCHEMA 'closed'; SELECT * FROM people",),),
    (("SET search_path FROM CURRENT",), ("SET SESSION search_path TO 'closed'; SELECT * FROM people",)),
    (("SET search_path = closed; COPY people TO STDOUT",),),
    (("SET search_path = closed; UPDATE people SET name = name RETURNING name",),),
    (("SET search_path = closed; WITH p AS (SELECT * FROM people) SELECT * FROM p",),),
    (("SET search_path = closed; DECLARE c CURSOR WITH HOLD FOR SELECT * FROM people",), ("FETCH c",)),
    (("SET search_path = closed; CREATE TABLE open.copy AS SELECT * FROM people",), ("SELECT * FROM open.copy",)),
    (("SET search_path = closed; CREATE VIEW open.v AS SELECT * FROM people",), ("SELECT * FROM open.v",)),
)


@pytest.fixture(scope="module")
def running(server: Server) -> Iterator[guard.Guard]:
    """A guard whose agent may do much, but not see the closed schema."""
    address = f"{server.host}:{server.port}"
    setup = guard.Setup(agents={"worker": guard.Agent(("worker",))}, resources={"pg": address}, policies=POLICY)
    with guard.guarding(setup) as started:
        yield started


@pytest.fixture(scope="module")
def unguarded(postgres18: Server) -> Iterator[Talk]:
    """The same agent in the same database, with nobody in between."""
    with postgres18.database("unguarded", SCRIPT.format(database="unguarded")) as database, direct(postgres18, database) as talk:
        yield talk


@pytest.fixture(scope="module")
def agent(running: guard.Guard, server: Server) -> Iterator[Talk]:
    """The guarded agent, in a database with two tables of one name, one of which is closed."""
    with (
        server.database("names", SCRIPT.format(database="names")) as database,
        guarded(running, "worker", server, database) as talk,
    ):
        yield talk


@pytest.fixture
def talk(agent: Talk) -> Talk:
    """A new session of the agent's."""
    agent()
    return agent


@pytest.mark.parametrize("steps", WAYS, ids=lambda steps: " | ".join(str(part) for step in steps for part in step)[:90])
def test_without_a_guard_each_way_leads_to_the_closed_table(unguarded: Talk, steps: Steps) -> None:
    """Or the row would show nothing."""
    unguarded()
    seen = unguarded.all(steps)
    assert "secret" in seen or "COPY_OUT" in seen


@pytest.mark.parametrize("steps", WAYS, ids=lambda steps: " | ".join(str(part) for step in steps for part in step)[:90])
def test_no_search_path_leads_to_a_closed_table(talk: Talk, steps: Steps) -> None:
    assert talk(PEOPLE) == ["open"]
    seen = talk.all(steps)
    assert "secret" not in " ".join(seen)
    assert "COPY_OUT" not in seen
    assert [line for line in seen if line.startswith("42501 ")] != []


def settled(talk: Talk, *texts: str | bool) -> list[str]:
    """What a statement says once hostguard has asked the server for the new path, which it does between two statements."""
    assert talk("SELECT 1") == ["1"]
    return talk(*texts)


def test_a_search_path_that_is_open_works(talk: Talk) -> None:
    """The doubt goes as soon as the server has told the new path."""
    assert talk("SET search_path = pg_catalog, open") == ["SET"]
    assert settled(talk, PEOPLE) == ["open"]
    assert talk("SET search_path = closed") == ["SET"]
    (refused,) = settled(talk, PEOPLE)
    assert "pg/names/closed/people" in refused
    assert talk("SET search_path = open", "SELECT 1")[1:] == ["1"]
    assert settled(talk, True, PEOPLE) == ["open"]
    assert talk("SELECT * FROM open.people") == ["open"]


def test_a_table_is_used_as_soon_as_it_is_made(talk: Talk) -> None:
    assert talk("CREATE TABLE made (n int)") == ["CREATE TABLE"]
    assert talk("INSERT INTO made VALUES (1)") == ["INSERT 0 1"]
    assert talk("SELECT * FROM made") == ["1"]
    assert talk("BEGIN") == ["BEGIN"]
    assert talk("CREATE TABLE inside (n int)") == ["CREATE TABLE"]
    assert talk("INSERT INTO inside VALUES (2)") == ["INSERT 0 1"]
    assert talk(True, "SELECT * FROM inside") == ["2"]
    assert talk("COMMIT") == ["COMMIT"]
    assert talk("SELECT * FROM inside") == ["2"]
    assert talk("CREATE TABLE three (n int)", "INSERT INTO three VALUES (3)", "SELECT * FROM three")[2:] == ["3"]
    assert talk("DROP TABLE made; CREATE TABLE made (n text); INSERT INTO made VALUES ('x'); SELECT * FROM made") == ["x"]


def test_a_temporary_table_hides_no_closed_one(talk: Talk) -> None:
    assert talk("CREATE TEMP TABLE people (name text)") == ["CREATE TABLE"]
    assert talk("INSERT INTO people VALUES ('mine')") == ["INSERT 0 1"]
    assert talk(PEOPLE) == ["mine"]
    assert talk("DISCARD TEMP") == ["DISCARD TEMP"]
    assert talk(PEOPLE) == ["open"]
