-- psql of any version: what people type.
\set VERBOSITY verbose
\pset null '(null)'
\conninfo
CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, email text UNIQUE, since date DEFAULT '2024-01-01');
CREATE INDEX by_name ON customers (lower(name));
CREATE VIEW names AS SELECT id, name FROM customers;
CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT n * 2';
COMMENT ON TABLE customers IS 'who buys';
INSERT INTO customers SELECT n, 'name ' || n, 'user' || n || '@example.com' FROM generate_series(1, 30) n;
\d
\d customers
\d+ names
\dt+ customers
\di by_name
\df+ twice
\dn
\dT
\du
\dx
\sf twice
\sv names
\z customers
\x auto
SELECT * FROM customers WHERE id < 3;
\x off
SELECT id, name AS renamed, email FROM customers ORDER BY id LIMIT 3 \gdesc
SELECT count(*) AS total, max(id) AS last FROM customers \gset
\echo :total :last
SELECT format('SELECT %s AS made;', n) FROM generate_series(1, 3) n \gexec
SELECT id % 2 AS odd, id % 3 AS third, count(*) FROM customers GROUP BY 1, 2 ORDER BY 1, 2 \crosstabview
\copy customers (id, name) FROM STDIN
101	copied
102	also copied
\.
\copy customers (id, name) FROM STDIN WITH (FORMAT csv)
103,"csv, quoted"
\.
\copy customers (id, name) FROM STDIN
1	duplicate
\.
\copy (SELECT * FROM customers WHERE id > 100 ORDER BY id) TO STDOUT
\copy (SELECT * FROM customers ORDER BY id) TO STDOUT WITH (FORMAT csv, HEADER)
COPY (SELECT id FROM customers WHERE id < 4 ORDER BY id) TO STDOUT;
\copy missing TO STDOUT
\set FETCH_COUNT 7
SELECT id, email FROM customers ORDER BY id;
SELECT 12 / (20 - id) FROM customers ORDER BY id;
\unset FETCH_COUNT
SELECT * FROM missing;
\errverbose
SELEC 1;
SELECT name,
  email FRO customers
  WHERE id = 1;
SELECT 'zwölf ☃' FROM FROM customers;
SELECT (1;
\set VERBOSITY default
SELECT name,
  email FRO customers
  WHERE id = 1;
\errverbose
\set VERBOSITY sqlstate
SELEC 1;
\set VERBOSITY verbose
SELECT 1 / 0;
\echo :SQLSTATE :LAST_ERROR_MESSAGE :ROW_COUNT
BEGIN;
INSERT INTO customers VALUES (200, 'in a block');
SELECT 1 / 0;
SELECT 1;
SELEC 1;
COMMIT;
BEGIN;
INSERT INTO customers VALUES (200, 'in a block');
SELEC 1;
SELECT 1;
COMMIT;
SELECT count(*) FROM customers WHERE id = 200;
\set ON_ERROR_ROLLBACK on
BEGIN;
INSERT INTO customers VALUES (201, 'in a block');
SELECT 1 / 0;
COMMIT;
SELECT count(*) FROM customers WHERE id = 201;
\set AUTOCOMMIT off
INSERT INTO customers VALUES (202, 'rolled back');
ROLLBACK;
\set AUTOCOMMIT on
SELECT 1 AS a \; SELECT 2 AS b;
PREPARE p (int) AS SELECT name FROM customers WHERE id = $1;
EXECUTE p(3);
DEALLOCATE p;
SELECT says('noted');
SELECT fails('raised');
LISTEN news;
NOTIFY news, 'hello';
SET search_path = pg_catalog, public;
SELECT current_schemas(true), id FROM customers WHERE id = 1;
RESET search_path;
EXPLAIN (COSTS OFF) SELECT * FROM customers WHERE id = 1;
\encoding
\! echo the shell
SELECT 'unterminated
