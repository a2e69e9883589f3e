"""The columns of views, by the trees that real servers store of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import servers
from hypothesis import given
from hypothesis import strategies as st

from hostguard.policy.layout import lay_out
from hostguard.policy.lineage.nodetree import BadTree, read
from hostguard.policy.lineage.views import settle, sources
from hostguard.policy.sql.catalog import Catalog
from hostguard.policy.sql.catalog_queries import QUERY
from hostguard.protocols.disclosure import Mask

SCRIPT = """
CREATE TABLE t (id int, gone int, a text, secret text, doc jsonb);
ALTER TABLE t DROP COLUMN gone;
CREATE TABLE u (id int, b text);
CREATE VIEW plain AS SELECT id, secret AS s, a FROM t;
CREATE VIEW over AS SELECT s AS x, upper(s) AS y, id + 1 AS z FROM plain;
CREATE VIEW subquery AS SELECT q.e, q.n FROM (SELECT secret AS e, count(secret) AS n, max(a) FROM t GROUP BY secret) AS q;
CREATE VIEW joined AS SELECT * FROM t FULL JOIN u USING (id);
CREATE VIEW united AS SELECT a FROM t UNION ALL SELECT b FROM u UNION SELECT secret FROM t;
CREATE VIEW cte AS WITH w AS (SELECT secret, a FROM t) SELECT a, secret, (SELECT max(b) FROM u WHERE u.id = 1) AS m FROM w;
CREATE VIEW recursive AS WITH RECURSIVE r AS (SELECT id, a FROM t UNION ALL SELECT id, a FROM r) SELECT a FROM r;
CREATE VIEW vals AS SELECT v.c1, v.c2 FROM t, LATERAL (VALUES (t.a, 1), (t.secret, 2)) AS v (c1, c2);
CREATE VIEW whole AS SELECT row_to_json(t) AS j, id FROM t;
CREATE VIEW func AS SELECT e.key, t.id FROM t, jsonb_each(t.doc) AS e;
CREATE VIEW windowed AS SELECT id, rank() OVER (ORDER BY secret) AS r, sum(id) OVER (PARTITION BY a) AS p FROM t;
CREATE VIEW correlated AS
  SELECT (SELECT b FROM u WHERE u.b = t.secret) AS c, EXISTS (SELECT FROM u WHERE u.id = t.id) AS e FROM t;
CREATE VIEW "sp ace""({" AS SELECT a AS ":rtable", id AS "\\{", secret AS "<>" FROM t AS ":targetList";
CREATE VIEW caged AS SELECT CASE WHEN secret = 'x' THEN a END AS c, coalesce(a, 'n') AS d FROM t WHERE secret <> 'y';
CREATE MATERIALIZED VIEW stored AS SELECT secret AS m, a FROM t;
CREATE VIEW grouped AS SELECT a, secret, grouping(a), count(*) FROM t GROUP BY ROLLUP (a, secret);
CREATE FUNCTION f(text) RETURNS text LANGUAGE sql AS 'SELECT $1';
CREATE VIEW called AS SELECT f(a) AS x FROM t;
"""

EXPECTED = {
    "plain": ["=t.id", "=t.secret", "=t.a"],
    "over": ["=t.secret", "t.secret", "t.id"],
    "subquery": ["=t.secret", ""],
    "joined": ["t.id u.id", "=t.a", "=t.secret", "=t.doc", "=u.b"],
    "united": ["t.a t.secret u.b"],
    "cte": ["=t.a", "=t.secret", "u.b u.id"],
    "recursive": ["t.a t.id"],
    "vals": ["t.a t.secret", ""],
    "whole": ["t.*", "=t.id"],
    "func": ["t.doc", "=t.id"],
    "windowed": ["=t.id", "t.a t.secret", "t.a t.id t.secret"],
    "correlated": ["t.secret u.b", "t.id u.id"],
    'sp ace"({': ["=t.a", "=t.id", "=t.secret"],
    "caged": ["t.a t.secret", "t.a"],
    "stored": ["=t.secret", "=t.a"],
    "grouped": ["=t.a", "=t.secret", "t.a", ""],
    "called": None,
}


@pytest.fixture(scope="module", params=["postgres15", "postgres18"])
def catalog(request: pytest.FixtureRequest) -> Iterator[Catalog]:
    server: servers.Server = request.getfixturevalue(request.param)
    with server.database("lineage_views", SCRIPT) as name, server.connect(name) as connection:
        yield Catalog.from_rows(connection.execute(QUERY).fetchall())


@pytest.mark.parametrize("view", EXPECTED)
def test_each_column_of_a_view_comes_from_these(catalog: Catalog, view: str) -> None:
    found = settle(catalog.oids_of("public", view)[0], catalog.tree, {})
    assert (None if found is None else [spelled(catalog, column) for column in found]) == EXPECTED[view]


def spelled(catalog: Catalog, column: object) -> str:
    names = []
    for oid, number in column.places:  # type: ignore[attr-defined]
        relation = catalog.relation(oid)
        assert relation is not None
        names.append(f"{relation.name}.{catalog.columns(oid)[number] if number else '*'}")
    return ("=" if column.plain else "") + " ".join(sorted(names))  # type: ignore[attr-defined]


def test_a_view_s_columns_are_masked_or_pass_by_what_they_are(catalog: Catalog) -> None:
    hidden = {("public", "t"): {"secret": Mask("partial", "pii")}}
    layout = lay_out(hidden, catalog)
    (over,), (plain,) = catalog.oids_of("public", "over"), catalog.oids_of("public", "plain")
    assert (layout.masks[over, 1].kind, layout.masks[plain, 2].kind) == ("partial", "partial")
    assert {(over, 3), (plain, 1), (plain, 3)} <= layout.visible
    assert (over, 2) not in layout.visible
    assert (over, 2) not in layout.masks
    assert layout.origins["public", "over", "y"] == {("public", "t", "secret")}
    assert ("public", "over", "z") not in layout.origins
    (called,) = catalog.oids_of("public", "called")
    assert (called, 1) not in layout.visible
    (whole,) = catalog.oids_of("public", "whole")
    assert (whole, 1) not in layout.visible
    assert (whole, 2) in layout.visible


@pytest.mark.parametrize("text", ["", "(", "({)", "{", "{QUERY", "{QUERY :x}", "a b", "({QUERY :rtable <>})", "({QUERY :x 1 {})"])
def test_what_is_no_tree_is_told(text: str) -> None:
    with pytest.raises(BadTree):
        sources(text)


@given(st.text(alphabet='(){}\\: Qab"<>1', max_size=40))
def test_reading_a_tree_raises_nothing_else(text: str) -> None:
    try:
        read(text)
        sources(text)
    except BadTree:
        pass
