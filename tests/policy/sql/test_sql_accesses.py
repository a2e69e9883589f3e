"""The accesses of a statement: what policy is asked, beyond what effects tell."""

from __future__ import annotations

import pytest

from hostguard.policy.sql.analysis import Access
from hostguard.policy.sql.effects import analyse


def spelled(access: Access) -> str:
    return " ".join(filter(None, [access.action, access.kind, str(access.name or ""), access.detail]))


TABLE = [
    ("SELECT 1", []),
    ("SELECT * FROM orders FOR UPDATE", ["lock table orders rows", "select table orders"]),
    ("SELECT * FROM orders o, items FOR UPDATE OF o", ["lock table orders rows", "select table items", "select table orders"]),
    ("SELECT * FROM (SELECT * FROM a) x FOR SHARE", ["lock table a rows", "select table a"]),
    ("DELETE FROM t WHERE id = 1", ["delete table t"]),
    ("DELETE FROM t WHERE id = 1 RETURNING id", ["delete table t", "select table t returning"]),
    ("COPY t TO STDOUT", ["copy_out table t", "select table t copy"]),
    ("COPY t FROM STDIN", ["copy_in table t", "insert table t copy"]),
    ("COPY (SELECT 1) TO STDOUT", ["copy_out database"]),
    ("COPY (DELETE FROM t RETURNING *) TO STDOUT", ["copy_out table t", "delete table t", "select table t returning"]),
    ("EXPLAIN DELETE FROM t WHERE x IN (SELECT y FROM u)", ["explain table t", "explain table u"]),
    ("EXPLAIN SELECT evil(x), nextval('s') FROM t", ["call function evil", "explain table t"]),
    ("EXPLAIN SELECT 1", ["explain database"]),
    ("SELECT nextval('s'), lower('x')", ["call function nextval"]),
    ("CALL lower('x')", ["call function lower"]),
    ("SELECT set_config('search_path', 'x', true)", ["call function set_config", "set database search_path"]),
    ("SELECT set_config($1, 'x', true)", ["call function set_config", "set database *"]),
    ("SELECT pg_notify('c', 'x')", ["call function pg_notify", "notify database c"]),
    ("SET LOCAL search_path = x", ["set database search_path"]),
    ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", ["set database default_transaction_read_only"]),
    ("RESET ALL", ["set database all"]),
    ("BEGIN", ["transaction database begin"]),
    ("CREATE TABLE t (id int DEFAULT nextval('s'))", ["call function nextval", "create table t"]),
    ("CREATE TABLE t (id int REFERENCES u)", ["create table t", "select table u references"]),
    ("CREATE TABLE t (LIKE u)", ["create table t", "select table u like"]),
    ("CREATE TABLE t () INHERITS (u)", ["alter table u inherits", "create table t"]),
    ("CREATE TABLE t PARTITION OF u DEFAULT", ["alter table u inherits", "create table t"]),
    ("CREATE INDEX ON t (evil(x))", ["call function evil", "create table t index"]),
    ("CREATE TRIGGER x AFTER INSERT ON t EXECUTE FUNCTION f()", ["call function f", "create table t trigger"]),
    ("CREATE OPERATOR === (FUNCTION = lo_unlink, LEFTARG = int)", ["call function lo_unlink", "create function ==="]),
    ("CREATE VIEW v AS SELECT * FROM t", ["create table v view", "select table t"]),
    ("CREATE PUBLICATION p FOR TABLE t", ["create database publication p", "select table t publication"]),
    ("ALTER TABLE t SET SCHEMA s", ["alter table t", "create schema s"]),
    ("DROP INDEX s.i", ["drop table s.i index"]),
    ("DROP TRIGGER x ON s.t", ["drop table s.t trigger x"]),
    ("DROP TYPE s.mood", ["drop schema s type mood"]),
    ("DROP TYPE mood", ["drop database type mood"]),
    ("DROP SCHEMA s", ["drop schema s"]),
    ("DROP ROLE r", ["drop database role r"]),
    ("GRANT SELECT ON s.t TO bob", ["grant table s.t"]),
    ("GRANT SELECT ON ALL TABLES IN SCHEMA s TO bob", ["grant schema s all tables"]),
    ("GRANT admin TO bob", ["grant database role admin"]),
    ("REVOKE EXECUTE ON FUNCTION s.f FROM bob", ["revoke function s.f"]),
    ("COMMENT ON COLUMN s.t.x IS 'y'", ["comment table s.t column x"]),
    ("REINDEX SCHEMA s", ["reindex schema s"]),
    ("LOCK TABLE t", ["lock table t"]),
    ("LISTEN c", ["listen database c"]),
    ("FETCH ALL FROM c", ["fetch database c"]),
]


@pytest.mark.parametrize(("text", "expected"), TABLE, ids=[text for text, _ in TABLE])
def test_accesses(text: str, expected: list[str]) -> None:
    assert sorted(map(spelled, analyse(text).accesses)) == sorted(expected)


def test_a_prepared_statement_is_kept_with_its_body() -> None:
    analysis = analyse("SELECT 1; PREPARE é (int, numeric(1, 2)) AS /* AS */ SELECT 'ü' AS x; EXECUTE é (1)")
    assert analysis.prepares == (("é", "/* AS */ SELECT 'ü' AS x"),)
    assert analysis.executes == ("é",)


def test_cursors_are_named() -> None:
    analysis = analyse("DECLARE c CURSOR FOR SELECT 1; FETCH c; MOVE d")
    assert (analysis.declares, analysis.fetches) == (("c",), ("c", "d"))


@pytest.mark.parametrize(
    "text", ["COMMIT", "ROLLBACK", "ROLLBACK TO x", "PREPARE TRANSACTION 'x'", "CALL p()", "DO 'x'", "SELEC"]
)
def test_ends_the_transaction(text: str) -> None:
    assert analyse(text).ends_transaction


@pytest.mark.parametrize("text", ["BEGIN", "SAVEPOINT x", "RELEASE x", "SELECT 1", "DELETE FROM t"])
def test_leaves_the_transaction_open(text: str) -> None:
    assert not analyse(text).ends_transaction


@pytest.mark.parametrize(
    ("text", "sensitive"),
    [
        ("SELECT * FROM t WHERE id = 5", False),
        ("SELECT * FROM t WHERE 5 = id AND x IN (1, 2) AND y BETWEEN 1 AND 2 LIMIT 3", False),
        ("UPDATE t SET x = 'a' WHERE id = 5", False),
        ("DELETE FROM t WHERE x = 1 OR y = 2", False),
        ("DELETE FROM t WHERE x = 1 OR 2 = 3", True),
        ("DELETE FROM t WHERE x = 1 OR x <> 2", True),
        ("DELETE FROM t WHERE x LIKE 'a'", True),
        ("DELETE FROM t WHERE x + 1 = x + 2", True),
        ("SELECT set_config('a', 'b', true)", True),
        ("SET search_path = 'a'", True),
        ("EXPLAIN (ANALYZE 0) SELECT 1", True),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE 'sql' AS 'x'", True),
    ],
)
def test_says_whether_literals_mattered(text: str, sensitive: bool) -> None:
    assert analyse(text).literal_sensitive is sensitive
