-- What each statement amounts to: effects | reads | writes | flags. Rows are added, never taken away.
--= delete |  | t | no_where
/**/DELETE/**/FROM/**/t
--= delete |  | t | no_where
dElEtE	fRoM t
--=  |  |  |
--x
--= select |  |  |
SELECT 'a''; DROP TABLE x; --'
--= drop select |  | x | ddl multi_statement
SELECT E'\''; DROP TABLE x; --'
--= drop select |  | x | ddl multi_statement
SELECT '\'; DROP TABLE x; --'
--= drop select |  | x | ddl multi_statement
SELECT $$a$$; DROP TABLE x
--= select |  |  |
SELECT U&'\0027; DROP TABLE x; --'
--= select | t |  |
SELECT U&"\0064elete" FROM t
--= select | t";~DROP~TABLE~y |  |
SELECT "a""b; DROP TABLE x" FROM "t""; DROP TABLE y"
--= select |  |  |
SELECT 1 /* /* */ DROP TABLE x */
--= drop select |  | x | ddl multi_statement
SELECT 1 /* */ ; DROP TABLE x /* */
--= select | t |  |
SELECT * FROM t WHERE x = 'a' --' AND y = 'b'
--= delete select |  | t | no_where
WITH x AS (SELECT 1) DELETE FROM t
--= delete select |  | x | no_where
WITH x AS (SELECT 1) DELETE FROM x
--= delete select |  | t | data_modifying_cte no_where returning
WITH a AS (WITH b AS (DELETE FROM t RETURNING *) SELECT * FROM b) SELECT * FROM a
--= delete explain select |  | t | data_modifying_cte explain_analyze no_where returning
EXPLAIN (COSTS OFF, ANALYZE) WITH d AS (DELETE FROM t RETURNING *) SELECT count(*) FROM d
--= execute explain |  |  | explain_analyze opaque
EXPLAIN ANALYZE EXECUTE p (1)
--= delete explain |  | t | multi_statement no_where
EXPLAIN (ANALYZE, ANALYZE off) SELECT 1; DELETE FROM t
--= declare_cursor delete select |  | t | data_modifying_cte no_where returning
DECLARE c CURSOR FOR WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d
--= delete prepare select |  | t | data_modifying_cte deferred no_where returning
PREPARE p AS WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d
--= delete merge prepare select | s | t | deferred tautology
PREPARE p AS MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE
--= create select | a c | b | ddl into
((SELECT * FROM a)) UNION ((SELECT * INTO b FROM c))
--= create select | c d | b | ddl into
SELECT * INTO b FROM c UNION SELECT * FROM d
--= unknown |  |  |
(DELETE FROM t)
--= select | update |  |
SELECT delete, update, "insert" FROM "update"
--= select | t |  |
SELECT count(delete) AS truncate FROM t AS drop
--= call select |  |  | opaque
SELECT public.query_to_xml('x', true, true, '')
--= select unknown |  |  | opaque
SELECT * FROM query_to_xml('DELETE FROM t', true, true, '') AS x
--= select unknown |  |  | opaque
SELECT (SELECT cursor_to_xml('c', 10, true, true, ''))
--= select unknown | t |  | opaque
SELECT * FROM t WHERE query_to_xml('DELETE FROM t', true, true, '') IS NOT NULL
--= insert |  | t | file side_effect
INSERT INTO t VALUES (nextval('s'), pg_read_file('/etc/passwd'))
--= update |  | t | file
UPDATE t SET x = pg_read_file('/etc/passwd') WHERE id = 1
--= delete |  | t | side_effect
DELETE FROM t WHERE id = nextval('s')
--= copy_out select |  |  | file
COPY (SELECT pg_read_file('/etc/passwd')) TO STDOUT
--= call copy_in |  | t | opaque
COPY t FROM STDIN WHERE evil(x)
--= select |  |  | file
SELECT * FROM pg_catalog.pg_read_binary_file('/etc/passwd')
--= select set |  |  | role_change session_setting
SELECT pg_catalog.set_config('role', 'postgres', true)
--= select set | pg_catalog.pg_settings |  | role_change session_setting
SELECT set_config(name, 'x', false) FROM pg_settings
--= select set |  |  | session_setting
SELECT count(*) FROM (SELECT set_config('search_path', 'x', false)) x
--= select |  |  | side_effect
SELECT lo_from_bytea(0, 'x'), lo_put(1, 0, 'x'), lowrite(1, 'x')
--= select | t |  | locking side_effect
SELECT nextval('s') FROM t FOR UPDATE
--= select |  |  | side_effect
VALUES (pg_terminate_backend(1))
--= call |  |  | opaque
CALL pg_catalog.query_to_xml('x')
--= delete set |  | t | multi_statement no_where role_change session_setting
SET ROLE TO DEFAULT; DELETE FROM t
--= select set |  |  | multi_statement role_change session_setting
SET LOCAL ROLE postgres; SELECT 1
--= set |  |  | role_change session_setting
SET SESSION "session_authorization" TO 'postgres'
--= set |  |  | role_change session_setting
RESET "role"
--= delete transaction |  | t | multi_statement no_where
BEGIN; DELETE FROM t; ROLLBACK
--= do select unknown |  |  | multi_statement opaque
DO 'BEGIN END'; SELECT 1
--= call select |  |  | opaque
SELECT 1 UNION SELECT my_function()
--= call select | a b |  | opaque
SELECT * FROM a, (SELECT my_function() FROM b) c
--= call select | t |  | opaque
SELECT array_agg(x ORDER BY my_function(x)) FROM t
--= call select | t |  | opaque
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY my_function(x)) FROM t
--= call select | t |  | opaque
SELECT sum(x) OVER (PARTITION BY my_function(x) ROWS my_function() PRECEDING) FROM t
--= call select | t |  | opaque
SELECT x FROM t GROUP BY my_function(x)
--= call select | t |  | opaque
SELECT x FROM t LIMIT my_function()
--= call select | t |  | opaque
SELECT t.x[my_function()] FROM t
--= call select |  |  | opaque
SELECT (my_function()).x
--= call select |  |  | opaque
SELECT CAST(my_function() AS int)
--= call select | t |  | opaque
SELECT x FROM t WHERE x = ANY (my_function())
--= call select | t |  | opaque
SELECT * FROM xmltable(xmlnamespaces(my_function() AS x), '/a' PASSING y COLUMNS z int DEFAULT my_function()), t
--= call select | t |  | opaque
SELECT * FROM json_table(j, '$' PASSING my_function() AS v COLUMNS (x int)), t
--= call select | t |  | opaque
SELECT JSON_QUERY(j, '$' DEFAULT my_function() ON ERROR) FROM t
--= call select | t |  | opaque
SELECT COALESCE(x, NULLIF(my_function(), 1)) FROM t
--= call insert |  | t | opaque
INSERT INTO t VALUES (1) ON CONFLICT (my_function(x)) WHERE other_function() DO NOTHING
--= create select unknown |  | t | ddl opaque
CREATE TABLE t AS SELECT query_to_xml('x', true, true, '')
--= alter unknown |  | t | ddl
ALTER TABLE t ADD COLUMN x xml DEFAULT query_to_xml('DELETE FROM u', true, true, '')
--= create unknown |  | t | ddl
CREATE INDEX ON t (query_to_xml(x, true, true, ''))
--= create select | pg_catalog.pg_authid | v | ddl deferred
CREATE VIEW v AS SELECT * FROM pg_authid
--= create |  |  | ddl deferred superuser
CREATE FUNCTION f() RETURNS int LANGUAGE 'C' AS 'lib'
--= create |  |  | ddl
CREATE ROLE r ROLE a, b ADMIN c
--= create |  |  | ddl superuser
CREATE ROLE r LOGIN SUPERUSER
--= alter |  |  | ddl
ALTER ROLE ALL SET search_path = evil
--= alter |  |  | ddl superuser
ALTER USER CURRENT_USER WITH SUPERUSER
--= grant |  |  | superuser
GRANT pg_execute_server_program, pg_write_server_files TO bob
--= drop |  | t u | cascade ddl multi_statement
DROP TABLE t; DROP TABLE u CASCADE
--= unknown |  |  |
SELEC 1
--= unknown |  |  |
SELECT 'unterminated
--= unknown |  |  |
SELECT /* unterminated
--= unknown |  |  |
SELECT $$unterminated
--= unknown |  |  |
SELECT 1a
--= unknown |  |  |
START_REPLICATION SLOT s LOGICAL 0/0
--= copy_in select |  | t | multi_statement
COPY t FROM STDIN; SELECT 1
--= call select | t |  | opaque tautology
SELECT 1 FROM t WHERE 1 = 1 OR sleep(5)
--= select | T |  |
SELECT "t".* FROM "T" AS "t"
--= select | PUBLIC.orders public.orders |  |
SELECT * FROM "public"."orders", PUBLIC.ORDERS, "PUBLIC".orders
