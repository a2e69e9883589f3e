-- What each statement amounts to: effects | reads | writes | flags. Rows are added, never taken away.
--= create |  | t | ddl
CREATE TABLE t (id int PRIMARY KEY, x text DEFAULT 'a')
--= create |  | s.t | ddl
CREATE TABLE IF NOT EXISTS s.t (id serial)
--= create |  | pg_temp.t | ddl
CREATE TEMP TABLE t (id int)
--= create |  | t | ddl
CREATE UNLOGGED TABLE t ()
--= create |  | t | ddl
CREATE TABLE t (id int DEFAULT nextval('s'), y int DEFAULT my_function())
--= create |  | t | ddl
CREATE TABLE t (id int REFERENCES parent (id), LIKE other INCLUDING ALL)
--= create |  | t | ddl
CREATE TABLE t (x int GENERATED ALWAYS AS (y * 2) STORED, y int CHECK (evil(y)))
--= create |  | child | ddl
CREATE TABLE child () INHERITS (parent)
--= create |  | part | ddl
CREATE TABLE part PARTITION OF whole FOR VALUES FROM (1) TO (10)
--= create |  | t | ddl
CREATE TABLE t (a int) PARTITION BY RANGE (a)
--= create |  | t | ddl
CREATE TABLE t OF mytype
--= create |  | pg_class | ddl
CREATE TABLE pg_class (id int)
--= create select | u | t | ddl
CREATE TABLE t AS SELECT * FROM u
--= create select | u | t | ddl
CREATE TABLE t AS SELECT * FROM u WITH NO DATA
--= create select | u | pg_temp.t | ddl
CREATE TEMP TABLE t AS TABLE u
--= create execute |  | t | ddl opaque
CREATE TABLE t AS EXECUTE p(1)
--= create delete select |  | t u | data_modifying_cte ddl no_where returning
CREATE TABLE t AS WITH d AS (DELETE FROM u RETURNING *) SELECT * FROM d
--= create select | t | m | ddl deferred
CREATE MATERIALIZED VIEW m AS SELECT * FROM t
--= create select | t | v | ddl deferred
CREATE VIEW v AS SELECT * FROM t
--= create select | a b | s.v | ddl deferred
CREATE OR REPLACE VIEW s.v AS SELECT secret FROM a JOIN b USING (id)
--= create select |  | pg_temp.v | ddl deferred
CREATE TEMP VIEW v AS SELECT 1
--= create select |  | r | ddl deferred
CREATE RECURSIVE VIEW r (n) AS SELECT 1 UNION ALL SELECT n + 1 FROM r
--= create |  | t | ddl
CREATE INDEX ON t (a)
--= create |  | s.t | ddl
CREATE UNIQUE INDEX CONCURRENTLY i ON s.t USING btree (lower(a)) WHERE evil(b)
--= create |  | s | ddl
CREATE SEQUENCE s
--= create |  |  | ddl
CREATE SCHEMA s
--= create select | t | s.t s.v | ddl deferred
CREATE SCHEMA s CREATE TABLE t (id int) CREATE VIEW v AS SELECT * FROM t
--= create |  |  | ddl deferred
CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'DELETE FROM t'
--= create |  |  | ddl deferred
CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM t; END $$
--= create |  |  | ddl deferred
CREATE OR REPLACE FUNCTION public.lower(text) RETURNS text LANGUAGE sql RETURN 'x'
--= create delete insert |  | t u | ddl deferred no_where
CREATE FUNCTION f() RETURNS void LANGUAGE sql BEGIN ATOMIC DELETE FROM t; INSERT INTO u VALUES (1); END
--= create |  |  | ddl deferred superuser
CREATE FUNCTION f(x int DEFAULT evil()) RETURNS int LANGUAGE c AS 'lib', 'sym'
--= create |  |  | ddl deferred superuser
CREATE FUNCTION f() RETURNS int LANGUAGE plpython3u AS 'import os'
--= create |  |  | ddl deferred
CREATE PROCEDURE p() LANGUAGE sql AS 'DELETE FROM t'
--= create |  |  | ddl deferred
CREATE AGGREGATE a (int) (sfunc = evil, stype = int)
--= create |  |  | ddl deferred
CREATE OPERATOR === (FUNCTION = pg_terminate_backend, LEFTARG = int)
--= create |  |  | ddl
CREATE TYPE s.mood AS ENUM ('ok')
--= create |  |  | ddl
CREATE TYPE c AS (x int)
--= create |  |  | ddl
CREATE TYPE r AS RANGE (subtype = int)
--= create |  |  | ddl deferred superuser
CREATE TYPE b (input = f, output = g)
--= create |  |  | ddl
CREATE DOMAIN d AS int CHECK (evil(VALUE))
--= create |  |  | ddl deferred
CREATE CAST (text AS int) WITH FUNCTION f(text)
--= create |  |  | ddl superuser
CREATE CAST (text AS int) WITHOUT FUNCTION
--= create |  |  | ddl
CREATE CAST (text AS int) WITH INOUT AS IMPLICIT
--= create |  | s.x | ddl deferred
CREATE TRIGGER t BEFORE INSERT ON s.x FOR EACH ROW EXECUTE FUNCTION f()
--= create |  | x | ddl deferred
CREATE CONSTRAINT TRIGGER t AFTER INSERT ON x FROM y DEFERRABLE FOR EACH ROW WHEN (evil(new.a)) EXECUTE FUNCTION f()
--= create |  |  | ddl deferred superuser
CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION f()
--= create delete |  | t u | ddl deferred no_where
CREATE RULE r AS ON INSERT TO t DO INSTEAD DELETE FROM u
--= create insert notify select |  | log t | ddl deferred
CREATE RULE r AS ON UPDATE TO t DO ALSO (INSERT INTO log SELECT new.id; NOTIFY c)
--= create |  | t | ddl deferred
CREATE RULE r AS ON DELETE TO t DO INSTEAD NOTHING
--= create |  | t | ddl
CREATE POLICY p ON t USING (x = current_user)
--= create |  | t | ddl
CREATE STATISTICS st ON a, b FROM t
--= create |  |  | ddl opaque superuser
CREATE EXTENSION hstore
--= create |  |  | ddl opaque superuser
CREATE EXTENSION IF NOT EXISTS dblink SCHEMA s CASCADE
--= create |  |  | ddl network
CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'evil')
--= create |  |  | ddl network
CREATE USER MAPPING FOR me SERVER s OPTIONS (password 'x')
--= create |  |  | ddl deferred network superuser
CREATE FOREIGN DATA WRAPPER w HANDLER h
--= create |  | t | ddl network
CREATE FOREIGN TABLE t (id int) SERVER s
--= create |  |  | ddl network
IMPORT FOREIGN SCHEMA remote FROM SERVER s INTO local
--= create |  |  | ddl network superuser
CREATE SUBSCRIPTION s CONNECTION 'host=evil' PUBLICATION p
--= create |  |  | ddl
CREATE PUBLICATION p FOR TABLE a, b WHERE (x > 1)
--= create |  |  | ddl superuser
CREATE PUBLICATION p FOR ALL TABLES
--= create |  |  | ddl superuser
CREATE PUBLICATION p FOR TABLES IN SCHEMA s
--= create |  |  | ddl
CREATE ROLE r
--= create |  |  | ddl superuser
CREATE USER r SUPERUSER PASSWORD 'x'
--= create |  |  | ddl
CREATE ROLE r NOSUPERUSER
--= create |  |  | ddl superuser
CREATE ROLE r IN ROLE pg_execute_server_program
--= create |  |  | ddl
CREATE DATABASE d
--= create |  |  | ddl file superuser
CREATE TABLESPACE t LOCATION '/tmp/x'
--= create |  |  | ddl opaque superuser
CREATE LANGUAGE plperlu
--= create |  |  | ddl
CREATE COLLATION c FROM "C"
--= create |  |  | ddl deferred
CREATE CONVERSION c FOR 'UTF8' TO 'LATIN1' FROM f
--= create |  |  | ddl deferred superuser
CREATE TRANSFORM FOR int LANGUAGE sql (FROM SQL WITH FUNCTION f(internal))
--= create |  |  | ddl deferred superuser
CREATE OPERATOR CLASS o FOR TYPE int USING btree AS FUNCTION 1 f(int, int)
--= create |  |  | ddl superuser
CREATE OPERATOR FAMILY o USING btree
--= create |  |  | ddl superuser
CREATE ACCESS METHOD m TYPE INDEX HANDLER h
--= create |  |  | ddl
CREATE TEXT SEARCH CONFIGURATION c (COPY = english)
--= create |  |  | ddl superuser
CREATE TEXT SEARCH PARSER p (START = f, GETTOKEN = g, END = h, LEXTYPES = i)
--= alter |  | t | ddl
ALTER TABLE t ADD COLUMN x int DEFAULT evil()
--= alter |  | t | cascade ddl
ALTER TABLE t DROP COLUMN x CASCADE
--= alter |  | s.t | ddl
ALTER TABLE s.t ALTER COLUMN x TYPE int USING evil(x), DISABLE TRIGGER ALL
--= alter |  | t | ddl
ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u (b)
--= alter |  | p t | ddl
ALTER TABLE t ATTACH PARTITION p FOR VALUES IN (1)
--= alter |  | t | ddl
ALTER TABLE t INHERIT parent
--= alter |  | t | ddl
ALTER TABLE t RENAME TO u
--= alter |  | t | ddl
ALTER TABLE t RENAME COLUMN a TO b
--= alter |  | t | ddl
ALTER TABLE t SET SCHEMA s
--= alter |  | t | ddl
ALTER TABLE t OWNER TO bob
--= alter |  | t | ddl
ALTER TABLE t DISABLE ROW LEVEL SECURITY
--= alter |  |  | ddl
ALTER TABLE ALL IN TABLESPACE a SET TABLESPACE b
--= alter |  | v | ddl
ALTER VIEW v SET (security_barrier)
--= alter |  | m | ddl
ALTER MATERIALIZED VIEW m RENAME TO n
--= alter |  |  | ddl
ALTER INDEX i RENAME TO j
--= alter |  | s | ddl
ALTER SEQUENCE s RESTART
--= alter |  |  | ddl
ALTER FUNCTION f(int) SECURITY DEFINER
--= alter |  |  | ddl
ALTER FUNCTION f(int) OWNER TO bob
--= alter |  |  | ddl
ALTER FUNCTION s.f(int) SET SCHEMA t
--= alter |  |  | ddl
ALTER TYPE mood ADD VALUE 'x'
--= alter |  |  | ddl
ALTER TYPE c ADD ATTRIBUTE y int
--= alter |  |  | ddl
ALTER DOMAIN d ADD CHECK (evil(VALUE))
--= alter |  |  | ddl
ALTER SCHEMA a RENAME TO b
--= alter |  |  | ddl
ALTER DATABASE d SET search_path = evil
--= alter |  |  | ddl superuser
ALTER ROLE r SUPERUSER
--= alter |  |  | ddl
ALTER ROLE r NOSUPERUSER
--= alter |  |  | ddl
ALTER USER r SET search_path = evil
--= alter_system |  |  | superuser
ALTER SYSTEM SET shared_preload_libraries = 'evil'
--= alter_system |  |  | superuser
ALTER SYSTEM RESET ALL
--= alter grant |  |  | ddl
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO bob
--= alter revoke |  |  | ddl
ALTER DEFAULT PRIVILEGES IN SCHEMA s REVOKE ALL ON FUNCTIONS FROM bob
--= alter |  |  | ddl opaque superuser
ALTER EXTENSION e UPDATE
--= alter |  |  | ddl
ALTER EXTENSION e ADD TABLE t
--= alter |  |  | ddl
ALTER PUBLICATION p ADD TABLE t
--= alter |  |  | ddl network
ALTER SUBSCRIPTION s CONNECTION 'host=evil'
--= alter |  |  | ddl network
ALTER SERVER s OPTIONS (SET host 'evil')
--= alter |  | t | ddl
ALTER POLICY p ON t USING (true)
--= alter |  | t | ddl
ALTER TRIGGER a ON t RENAME TO b
--= alter |  |  | ddl superuser
ALTER EVENT TRIGGER e DISABLE
--= alter |  |  | ddl
ALTER LARGE OBJECT 1 OWNER TO bob
--= alter |  |  | ddl
ALTER OPERATOR + (int, int) OWNER TO bob
--= drop |  | t | ddl
DROP TABLE t
--= drop |  | b s.a | cascade ddl
DROP TABLE IF EXISTS s.a, b CASCADE
--= drop |  | v | ddl
DROP VIEW v
--= drop |  | m | ddl
DROP MATERIALIZED VIEW m
--= drop |  |  | ddl
DROP INDEX i
--= drop |  | s | ddl
DROP SEQUENCE s
--= drop |  | f | ddl
DROP FOREIGN TABLE f
--= drop |  |  | cascade ddl
DROP SCHEMA s CASCADE
--= drop |  |  | ddl
DROP FUNCTION f(int), s.g
--= drop |  |  | ddl
DROP PROCEDURE p
--= drop |  |  | ddl
DROP OPERATOR + (int, int)
--= drop |  | s.x | ddl
DROP TRIGGER t ON s.x
--= drop |  | x | ddl
DROP POLICY p ON x
--= drop |  | x | ddl
DROP RULE r ON x
--= drop |  |  | ddl
DROP TYPE s.mood
--= drop |  |  | cascade ddl
DROP EXTENSION e CASCADE
--= drop |  |  | ddl
DROP ROLE a, b
--= drop |  |  | ddl
DROP DATABASE d
--= drop |  |  | cascade ddl
DROP OWNED BY bob CASCADE
--= drop |  |  | ddl network
DROP SUBSCRIPTION s
--= drop |  |  | ddl
DROP TABLESPACE t
--= drop |  |  | ddl
DROP CAST (int AS text)
--= drop |  |  | ddl
DROP USER MAPPING FOR me SERVER s
--= alter |  |  | ddl
REASSIGN OWNED BY bob TO alice
--= comment |  |  |
COMMENT ON TABLE s.t IS 'x'
--= comment |  |  |
COMMENT ON COLUMN t.x IS NULL
--= comment |  |  |
COMMENT ON FUNCTION f(int) IS 'x'
--= comment |  |  |
COMMENT ON DATABASE d IS 'x'
--= security_label |  |  |
SECURITY LABEL ON TABLE t IS 'x'
--= grant |  |  |
GRANT SELECT ON t TO bob
--= grant |  |  |
GRANT ALL ON ALL TABLES IN SCHEMA s TO PUBLIC
--= grant |  |  |
GRANT UPDATE (x) ON t TO bob WITH GRANT OPTION
--= grant |  |  |
GRANT EXECUTE ON FUNCTION f(int) TO bob
--= grant |  |  |
GRANT USAGE ON SCHEMA s TO bob
--= grant |  |  |
GRANT admin TO bob
--= grant |  |  | superuser
GRANT pg_read_server_files TO bob
--= revoke |  |  | cascade
REVOKE SELECT ON t FROM bob CASCADE
--= revoke |  |  |
REVOKE admin FROM bob
--= refresh |  | m |
REFRESH MATERIALIZED VIEW CONCURRENTLY m
