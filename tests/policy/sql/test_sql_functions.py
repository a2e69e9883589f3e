"""The classes of PostgreSQL's built-in functions."""

from __future__ import annotations

import pytest
import servers

from hostguard.policy.sql.analysis import Name
from hostguard.policy.sql.functions import CLASSES, CONSEQUENCES, CURATED, PURE, UNKNOWN, classify
from hostguard.policy.sql.postgres_functions import VOLATILE_FUNCTIONS
from hostguard.policy.sql.postgres_names import OPERATORS, RELATIONS

OWN = {"dblink"}


def test_every_function_belongs_to_one_class_with_consequences() -> None:
    assert set(CLASSES.values()) <= set(CONSEQUENCES)
    names = [name for listed in CURATED.values() for name in listed.split()]
    assert len(names) == len(set(names))


def test_no_volatile_function_is_pure_unless_judged_so() -> None:
    judged = set(CURATED[PURE].split())
    assert {name for name in VOLATILE_FUNCTIONS if CLASSES[name] == PURE} <= judged


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (Name("lower"), PURE),
        (Name("lower", "pg_catalog"), PURE),
        (Name("lower", "public"), UNKNOWN),
        (Name("lower", "pg_catalog", "db"), UNKNOWN),
        (Name("Lower"), UNKNOWN),
        (Name("lower", "information_schema"), UNKNOWN),
        (Name("_pg_expandarray", "information_schema"), "reads_catalog"),
        (Name("_pg_expandarray"), UNKNOWN),
        (Name("query_to_xml"), "runs_sql_text"),
        (Name("dblink_exec", "anywhere"), "network"),
        (Name("pg_read_file"), "reads_files"),
        (Name("pg_terminate_backend"), "signals"),
        (Name("nextval"), "sequences"),
        (Name("pg_stat_get_activity"), "reads_activity"),
        (Name("jsonb"), PURE),
        (Name("pg_switch_wal"), "writes"),
        (Name("no_such_function"), UNKNOWN),
    ],
)
def test_classes(name: Name, kind: str) -> None:
    assert classify(name) == kind


@pytest.mark.parametrize("release", ["postgres15", "postgres18"])
def test_the_lists_hold_what_a_server_brings(release: str, request: pytest.FixtureRequest) -> None:
    server: servers.Server = request.getfixturevalue(release)
    with server.connect() as connection:
        functions = connection.execute(
            "SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace"
        ).fetchall()
        operators = connection.execute("SELECT DISTINCT oprname FROM pg_operator").fetchall()
        relations = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind IN ('r', 'v')"
        ).fetchall()
        text = "SELECT DISTINCT proname FROM pg_proc WHERE provolatile = 'v' AND pronamespace = 'pg_catalog'::regnamespace"
        volatile = connection.execute(text).fetchall()
    assert {name for (name,) in functions} <= set(CLASSES)
    assert {name for (name,) in operators} <= OPERATORS
    assert {name for (name,) in relations} <= RELATIONS
    assert {name for (name,) in volatile} <= VOLATILE_FUNCTIONS
