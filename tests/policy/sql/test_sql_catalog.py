"""The catalog of a real server, resolved names."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
import servers

from hostguard.policy.sql.analysis import Name
from hostguard.policy.sql.catalog import Catalog, CatalogMalformed, search_path
from hostguard.policy.sql.catalog_queries import QUERY, SESSION_QUERY
from hostguard.policy.sql.names import created_in, resolve

SCRIPT = """
CREATE SCHEMA shop; CREATE SCHEMA "we,ird""\\ {x}";
CREATE TABLE shop.customers (id int, gone int, email text, note text);
ALTER TABLE shop.customers DROP COLUMN gone;
CREATE TABLE public.customers (id int, twice int GENERATED ALWAYS AS (id * 2) STORED);
CREATE TABLE "we,ird""\\ {x}"."T able" (a int) PARTITION BY RANGE (a);
CREATE TABLE part PARTITION OF "we,ird""\\ {x}"."T able" FOR VALUES FROM (1) TO (2) PARTITION BY RANGE (a);
CREATE TABLE leaf PARTITION OF part FOR VALUES FROM (1) TO (2);
CREATE VIEW ids AS SELECT id FROM shop.customers;
CREATE VIEW mails AS SELECT lower(email) AS e FROM shop.customers;
CREATE VIEW filtered AS SELECT id FROM shop.customers WHERE email LIKE 'a%';
CREATE VIEW whole AS SELECT row_to_json(c) AS j, c.id FROM shop.customers c;
CREATE MATERIALIZED VIEW over_mails AS SELECT e FROM mails;
CREATE FUNCTION reader() RETURNS text LANGUAGE sql AS 'SELECT email FROM shop.customers LIMIT 1';
CREATE VIEW caller AS SELECT reader() AS x;
CREATE VIEW over_caller AS SELECT x FROM caller;
CREATE SEQUENCE counter;
"""

HOSTILE = """
CREATE SCHEMA evil;
CREATE TABLE evil.log (x text);
CREATE FUNCTION evil.fooled(oid, oid) RETURNS boolean LANGUAGE plpgsql
  AS $$ BEGIN INSERT INTO evil.log VALUES ('x'); RETURN false; END $$;
CREATE OPERATOR evil.= (FUNCTION = evil.fooled, LEFTARG = oid, RIGHTARG = oid);
CREATE FUNCTION evil.current_schemas(boolean) RETURNS name[] LANGUAGE sql AS $$ SELECT ARRAY['fooled']::name[] $$;
CREATE VIEW evil.pg_class AS SELECT 1 AS oid;
"""


@pytest.fixture(scope="module", params=["postgres15", "postgres18"])
def server(request: pytest.FixtureRequest) -> servers.Server:
    running: servers.Server = request.getfixturevalue(request.param)
    return running


@pytest.fixture(scope="module")
def connection(server: servers.Server) -> Iterator[psycopg.Connection[tuple[str, ...]]]:
    with server.database("sql_catalog", SCRIPT) as name, server.connect(name, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def catalog(connection: psycopg.Connection[tuple[str, ...]]) -> Catalog:
    return Catalog.from_rows(connection.execute(QUERY).fetchall())


def names(catalog: Catalog, oids: frozenset[int]) -> set[str]:
    return {relation.name for oid in oids if (relation := catalog.relation(oid)) is not None}


def test_relations_and_columns(catalog: Catalog) -> None:
    (customers,) = catalog.oids_of("shop", "customers")
    assert catalog.columns(customers) == {1: "id", 3: "email", 4: "note"}
    assert catalog.attnum(customers, "email") == 3
    assert catalog.attnum(customers, "gone") is None
    assert catalog.oids_of("pg_catalog", "pg_class") == ()
    assert catalog.oids_of("shop", "Customers") == ()
    assert len(catalog.oids_of('we,ird"\\ {x}', "T able")) == 1
    assert {relation.kind for oid in catalog.all_oids() if (relation := catalog.relation(oid))} == {"r", "p", "v", "m", "S"}


def test_generated_columns_are_told(catalog: Catalog) -> None:
    (customers,) = catalog.oids_of("public", "customers")
    assert catalog.generated(customers) == {2}
    assert catalog.generated(catalog.oids_of("shop", "customers")[0]) == frozenset()


def test_inheritance(catalog: Catalog) -> None:
    (top,) = catalog.oids_of('we,ird"\\ {x}', "T able")
    (leaf,) = catalog.oids_of("public", "leaf")
    assert names(catalog, catalog.descendants(top)) == {"part", "leaf"}
    assert names(catalog, catalog.ancestors(leaf)) == {"part", "T able"}
    assert catalog.descendants(leaf) == frozenset()


def test_views_by_column(catalog: Catalog) -> None:
    (customers,) = catalog.oids_of("shop", "customers")
    assert names(catalog, catalog.views_over(customers, 3)) == {"mails", "over_mails", "filtered", "whole"}
    assert names(catalog, catalog.views_over(customers, 1)) == {"ids", "filtered", "whole"}
    assert names(catalog, catalog.views_over(customers, 4)) == {"whole"}
    assert names(catalog, catalog.calls_functions()) == {"caller", "over_caller"}


def test_temporary_relations_are_seen(connection: psycopg.Connection[tuple[str, ...]]) -> None:
    connection.execute("CREATE TEMP TABLE customers (id int)")
    path = search_path(connection.execute(SESSION_QUERY).fetchall())
    catalog = Catalog.from_rows(connection.execute(QUERY).fetchall())
    connection.execute("DROP TABLE pg_temp.customers")
    assert path[0].startswith("pg_temp_")
    assert path[1:] == ("pg_catalog", "public")
    assert resolve(Name("customers"), path, catalog) == (Name("customers", path[0]), Name("customers", "public"))
    assert resolve(Name("customers", "pg_temp"), path, catalog) == (Name("customers", path[0]),)


def test_what_extensions_bring_works_with_what_it_is_given(connection: psycopg.Connection[tuple[str, ...]]) -> None:
    for extension in ("hstore", "fuzzystrmatch", "tablefunc"):
        connection.execute(f"CREATE EXTENSION {extension}".encode())
    connection.execute(b"CREATE OPERATOR |+| (LEFTARG = text, RIGHTARG = text, FUNCTION = textcat)")
    connection.execute(b"CREATE FUNCTION own(hstore, text) RETURNS bool LANGUAGE sql AS 'SELECT true'")
    connection.execute(b"CREATE OPERATOR ?& (LEFTARG = hstore, RIGHTARG = text, FUNCTION = own)")
    catalog = Catalog.from_rows(connection.execute(QUERY).fetchall())
    computing = {function.name for function in catalog.functions() if function.computes}
    assert {"levenshtein", "akeys"} <= computing
    assert computing.isdisjoint(["crosstab", "connectby", "own"])
    assert {"->", "?"} <= catalog.computing_signs()
    assert catalog.computing_signs().isdisjoint(["|+|", "?&"]), "one that is somebody's own under a name of theirs"


def test_a_path_with_any_names(connection: psycopg.Connection[tuple[str, ...]]) -> None:
    connection.execute("""SET search_path = 'we,ird"\\ {x}', shop, no_such_schema, pg_catalog""")
    path = search_path(connection.execute(SESSION_QUERY).fetchall())
    connection.execute("RESET search_path")
    assert tuple(schema for schema in path if not schema.startswith("pg_temp")) == ('we,ird"\\ {x}', "shop", "pg_catalog")


def test_a_hostile_search_path_changes_nothing(server: servers.Server) -> None:
    with server.database("sql_hostile", SCRIPT + HOSTILE) as name, server.connect(name, autocommit=True) as connection:
        honest = sorted(connection.execute(QUERY).fetchall())
        connection.execute("SET search_path = evil, pg_catalog")
        assert sorted(connection.execute(QUERY).fetchall()) == honest
        assert search_path(connection.execute(SESSION_QUERY).fetchall()) == ("evil", "pg_catalog")
        assert connection.execute("SELECT pg_catalog.count(*) FROM evil.log").fetchone() == (0,)


@pytest.mark.parametrize(
    "row", [("relation", "x", "a", "b", "r"), ("relation", "1", None, "b", "r"), ("what", "1", "", "", ""), ("column",)]
)
def test_rows_that_are_none_of_ours(row: tuple[str | None, ...]) -> None:
    with pytest.raises(CatalogMalformed):
        Catalog.from_rows([row])
    with pytest.raises(CatalogMalformed):
        search_path([row] if len(row) != 1 else [(None,)])


ROWS = [
    ("relation", str(oid), schema, name, "r")
    for oid, (schema, name) in enumerate([("a", "t"), ("b", "t"), ("b", "u"), ("pg_temp_3", "t")], 1)
]


@pytest.mark.parametrize(
    ("name", "path", "known", "expected"),
    [
        ("t", ("a", "b"), True, ["a.t"]),
        ("t", ("b", "a"), True, ["b.t"]),
        ("u", ("a", "b"), True, ["b.u"]),
        ("t", ("pg_temp_3", "pg_catalog", "a"), True, ["pg_temp_3.t", "a.t"]),
        ("v", ("pg_catalog", "b", "a"), True, ["b.v"]),
        ("v", ("pg_catalog",), True, ["public.v"]),
        ("pg_class", ("pg_catalog", "a"), True, ["pg_catalog.pg_class"]),
        ("pg_of_release_20", ("pg_catalog", "a"), True, ["pg_catalog.pg_of_release_20"]),
        ("t", None, True, ["a.t", "b.t", "pg_temp_3.t"]),
        ("v", None, True, ["public.v"]),
        ("t", None, False, ["public.t"]),
        ("t", ("pg_catalog", "a", "b"), False, ["a.t", "b.t"]),
        ("t", ("pg_catalog",), False, ["public.t"]),
        ("z.t", ("a",), True, ["z.t"]),
        ("pg_temp.t", ("pg_temp_7", "a"), True, ["pg_temp_7.t"]),
        ("pg_temp.t", None, True, ["pg_temp_3.t"]),
        ("pg_temp.v", None, True, ["pg_temp.v"]),
        ("pg_temp.t", None, False, ["pg_temp.t"]),
    ],
)
def test_resolve(name: str, path: tuple[str, ...] | None, known: bool, expected: list[str]) -> None:
    schema, _, bare = name.rpartition(".")
    catalog = Catalog.from_rows(ROWS) if known else None
    assert [str(found) for found in resolve(Name(bare, schema or None), path, catalog)] == expected


def test_what_may_be_gone_hides_nothing() -> None:
    path, catalog = ("pg_catalog", "a", "b"), Catalog.from_rows(ROWS)
    assert resolve(Name("t"), path, catalog) == (Name("t", "a"),)
    assert resolve(Name("t"), path, catalog, doubted=True) == (Name("t", "a"), Name("t", "b"))
    assert resolve(Name("t", "a"), path, catalog, doubted=True) == (Name("t", "a"),)


def test_where_a_new_relation_goes() -> None:
    assert created_in(("pg_temp_1", "pg_catalog", "b", "a")) == "b"
    assert created_in(None) == "public"
