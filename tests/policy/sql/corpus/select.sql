-- What each statement amounts to: effects | reads | writes | flags. Rows are added, never taken away.
--= select |  |  |
SELECT 1
--= select |  |  |
SELECT
--= select |  |  |
VALUES (1), (2)
--= select | orders |  |
TABLE orders
--= select | orders |  |
SELECT * FROM orders
--= select | orders |  |
SELECT * FROM ONLY orders
--= select | public.orders |  |
SELECT * FROM public.orders o WHERE o.id = 1
--= select | Orders |  |
SELECT * FROM "Orders"
--= select | orders |  |
SELECT * FROM ORDERS
--= select | orders |  |
SELECT * FROM U&"ord\0065rs"
--= select | orders |  |
SELECT * FROM U&"ord!0065rs" UESCAPE '!'
--= select | orders |  |
SELECT id AS delete FROM orders
--= select | delete |  |
SELECT "drop table x" FROM "delete"
--= select |  |  |
SELECT 'DROP TABLE orders; DELETE FROM orders'
--= select | audit |  |
SELECT $$ DELETE FROM orders $$ FROM audit
--= select |  |  |
SELECT $tag$ $$; DROP TABLE x; $$ $tag$
--= select | t |  |
SELECT 1 /* ; DROP TABLE x; /* nested */ DELETE FROM y */ FROM t
--= select |  |  |
SELECT 1 -- DELETE FROM t
--= select | u |  |
SELECT E'it\'s; DELETE FROM t' FROM u
--= select | a b c.d |  |
SELECT * FROM a, b, c.d
--= select | a b c d e |  |
SELECT * FROM a JOIN b USING (id) LEFT JOIN c ON c.id = b.id CROSS JOIN d NATURAL JOIN e
--= select | inner_table |  |
SELECT * FROM (SELECT * FROM inner_table) AS x
--= select | a b |  |
SELECT (SELECT max(id) FROM b) FROM a
--= select | a b |  |
SELECT * FROM a WHERE EXISTS (SELECT 1 FROM b WHERE b.id = a.id)
--= select | a b c |  |
SELECT * FROM a WHERE id IN (SELECT id FROM b) AND x > ALL (SELECT x FROM c)
--= select | a |  |
SELECT ARRAY(SELECT id FROM a)
--= select | a b c d |  |
SELECT * FROM a UNION SELECT * FROM b EXCEPT (SELECT * FROM c INTERSECT SELECT * FROM d)
--= select | a b |  |
SELECT * FROM a, LATERAL (SELECT * FROM b WHERE b.id = a.id) x
--= select | a |  |
SELECT * FROM a TABLESAMPLE bernoulli (10)
--= call select | a |  | opaque
SELECT * FROM a TABLESAMPLE my_method (10)
--= select | a b c |  |
SELECT count(*) FILTER (WHERE x > (SELECT avg(y) FROM b)) OVER w FROM a WINDOW w AS (PARTITION BY (SELECT z FROM c))
--= select | a b c d |  |
SELECT * FROM a ORDER BY (SELECT x FROM b) LIMIT (SELECT n FROM c) OFFSET (SELECT m FROM d)
--= select | f t |  |
SELECT a FROM t GROUP BY GROUPING SETS ((a), ROLLUP (b), CUBE (c)) HAVING max(d) > (SELECT e FROM f)
--= select | a b |  |
SELECT DISTINCT ON ((SELECT x FROM b)) y FROM a
--= select | a b c |  |
SELECT CASE WHEN (SELECT true FROM b) THEN 1 ELSE (SELECT 2 FROM c) END FROM a
--= select | a b c |  |
SELECT COALESCE((SELECT x FROM b), GREATEST((SELECT y FROM c), 1)) FROM a
--= select | t u v w |  |
SELECT (SELECT row(t.*) FROM t)::text, ((SELECT x FROM u)).y, (ARRAY[(SELECT 1 FROM v)])[(SELECT 1 FROM w)]
--= select | docs |  |
SELECT * FROM json_table((SELECT j FROM docs), '$' COLUMNS (x int PATH '$.x'))
--= select | docs |  |
SELECT * FROM xmltable('/r' PASSING (SELECT d FROM docs) COLUMNS y int)
--= select | a b c |  |
SELECT JSON_OBJECT('k': (SELECT x FROM a)), JSON_ARRAY(SELECT y FROM b), JSON_ARRAYAGG(z) FROM c
--= select | b c e |  |
SELECT xmlelement(name a, xmlattributes((SELECT x FROM b) AS y), (SELECT z FROM c)), XMLSERIALIZE(CONTENT d AS text) FROM e
--= select | docs |  |
SELECT JSON_VALUE(j, '$.a' DEFAULT (1) ON EMPTY) FROM docs
--= select | t |  |
SELECT EXTRACT(year FROM d), SUBSTRING(n FROM 1 FOR 2), TRIM(n), POSITION('a' IN n), OVERLAY(n PLACING 'x' FROM 1) FROM t
--= select | t |  |
SELECT d AT TIME ZONE 'UTC', d AT LOCAL, n COLLATE "C", NORMALIZE(n), n IS NORMALIZED FROM t
--= select |  |  |
SELECT current_user, session_user, current_date, current_timestamp(2), localtime
--= select |  |  |
SELECT * FROM generate_series(1, 10) g
--= select |  |  |
SELECT * FROM ROWS FROM (generate_series(1, 2), unnest(ARRAY[1])) WITH ORDINALITY
--= select | pg_catalog.pg_class |  |
SELECT * FROM pg_class
--= select | pg_catalog.pg_authid |  |
SELECT * FROM pg_catalog.pg_authid
--= select | information_schema.tables |  |
SELECT * FROM information_schema.tables
--= select | public.pg_class |  |
SELECT * FROM public.pg_class
--= select | db.public.orders |  |
SELECT * FROM db.public.orders
--= select | t |  |
SELECT id FROM t WHERE a = $1 AND b LIKE $2
--= select |  |  | multi_statement
SELECT 1; SELECT 2
--= select |  |  |
SELECT 1;;
--=  |  |  |
;
--= select transaction | a |  | multi_statement
BEGIN; SELECT * FROM a; COMMIT
--= drop select |  | orders | ddl multi_statement
SELECT 1; DROP TABLE orders
--= delete select update |  | a b | multi_statement no_where
SELECT 1; DELETE FROM a; UPDATE b SET x = 1
--= create select | orders | copy_of | ddl into
SELECT * INTO copy_of FROM orders
--= create select | orders | pg_temp.copy_of | ddl into
SELECT * INTO TEMP copy_of FROM orders
--= create select | orders | s.copy_of | ddl into
SELECT * INTO UNLOGGED s.copy_of FROM orders WHERE id > 5
--= create select | z | y | ddl into
WITH x AS (SELECT * INTO y FROM z) SELECT * FROM x
--= select | orders |  | locking
SELECT * FROM orders FOR UPDATE
--= select | orders |  | locking
SELECT * FROM orders FOR NO KEY UPDATE NOWAIT
--= select | orders |  | locking
SELECT * FROM orders FOR SHARE SKIP LOCKED
--= select | customers orders |  | locking
SELECT * FROM orders o, customers c FOR KEY SHARE OF c
--= select | orders |  | locking
SELECT * FROM (SELECT * FROM orders) x FOR UPDATE
--= select | orders |  | locking
SELECT * FROM (SELECT * FROM orders FOR UPDATE) x
--= select |  |  | locking
WITH x AS (SELECT 1) SELECT * FROM x FOR UPDATE
--= select | a |  |
WITH x AS (SELECT * FROM a) SELECT * FROM x
--= select | a |  |
WITH a AS (SELECT * FROM a) SELECT * FROM a
--= select |  |  |
WITH RECURSIVE a AS (SELECT * FROM a) SELECT * FROM a
--= select | public.x |  |
WITH x AS (SELECT * FROM public.x) SELECT * FROM public.x, x
--= select | y |  |
WITH x AS (SELECT * FROM y), y AS (SELECT 1) SELECT * FROM x
--= select |  |  |
WITH RECURSIVE x AS (SELECT * FROM y), y AS (SELECT 1) SELECT * FROM x
--= select | other |  |
WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t JOIN other ON true) SELECT n FROM t
--= select |  |  |
WITH RECURSIVE t AS (SELECT 1 AS n) SEARCH DEPTH FIRST BY n SET o CYCLE n SET c USING p SELECT * FROM t
--= select | x |  |
SELECT * FROM x, (WITH x AS (SELECT 1) SELECT * FROM x) y
--= select | b x |  |
SELECT (WITH x AS (SELECT * FROM b) SELECT count(*) FROM x) FROM x
--= select |  |  |
WITH x AS (SELECT 1) SELECT * FROM (SELECT * FROM (SELECT * FROM x) a) b
--= select | deep y |  |
WITH x AS (WITH y AS (SELECT * FROM deep) SELECT * FROM y) SELECT * FROM x, y
--= select | b |  |
WITH a AS (SELECT 1) (SELECT * FROM a UNION SELECT * FROM b) ORDER BY 1
--= select | real |  |
WITH a AS (SELECT 1) SELECT * FROM a UNION (WITH a AS (SELECT * FROM real) SELECT * FROM a)
--= select | x |  |
WITH "X" AS (SELECT 1) SELECT * FROM x
--= select | y |  |
WITH x AS MATERIALIZED (TABLE y) TABLE x
--= select | t |  | tautology
SELECT * FROM t WHERE true
--= select | t |  | tautology
SELECT * FROM t WHERE 1 = 1
--= select | t |  | tautology
SELECT * FROM t WHERE id = 1 OR 'a' = 'a'
--= select | customers |  | tautology
SELECT t.email FROM customers t WHERE t.id = t.id
--= select | t |  |
SELECT * FROM t WHERE id = 1 AND 1 = 1
--= select | orders |  |
SELECT * FROM orders AS t(a, b) WHERE a = 1
--= select |  |  |
SELECT 1 OPERATOR(pg_catalog.+) 2
--= call select | t |  | opaque
SELECT 1 OPERATOR(public.+) 2 FROM t
--= call select | t |  | opaque
SELECT a <=> b FROM t
--= select | t |  |
SELECT a @@@ b, a -> 'x' ->> 'y', a || b, a ~* 'x', NOT a, -a FROM t
--= call select | t |  | opaque
SELECT a FROM t ORDER BY a USING OPERATOR(evil.<)
--= call select | t u v |  | opaque
SELECT a = ANY (SELECT b FROM u), a OPERATOR(evil.=) ALL (SELECT c FROM v) FROM t
--= select | t |  |
SELECT x::public.mytype, CAST(y AS int[]), 'pg_class'::regclass FROM t
--= select |  |  |
SELECT DATE '2020-01-01', INTERVAL '1' DAY, B'101', X'1F', 1e10, 0x1F, 1_000, NULL
