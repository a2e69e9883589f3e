--=
SHOW server_version;
--=
SET application_name = 'clerk';
SHOW application_name;
--=
SET datestyle = 'German';
SELECT joined FROM people ORDER BY id;
--=
BEGIN;
DECLARE k CURSOR FOR SELECT id, item FROM orders ORDER BY id;
FETCH 3 FROM k;
FETCH ALL FROM k;
CLOSE k;
COMMIT;
--=
PREPARE p (int) AS SELECT item FROM orders WHERE id = $1;
EXECUTE p (4);
DEALLOCATE p;
--=
PREPARE p (int) AS SELECT name FROM people WHERE id = $1;
EXECUTE p (2);
--=
EXPLAIN (COSTS OFF) SELECT * FROM orders WHERE id = 1;
--=
EXPLAIN (COSTS OFF) SELECT name FROM people WHERE id = 1;
--=
LISTEN here;
NOTIFY here, 'hello';
UNLISTEN here;
--=
SELECT relname, relkind FROM pg_class WHERE relname IN ('people', 'orders') ORDER BY 1;
--=
SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'people' ORDER BY ordinal_position;
--=
SELECT attname FROM pg_attribute WHERE attrelid = 'people'::regclass AND attnum > 0 ORDER BY attnum;
--=
SELECT 1 / 0;
--=
SELECT nothing FROM orders;
--=
SELECT 'x'::int;
--=
SELEC 1;
--= extended
SELECT id, item, placed FROM orders ORDER BY id;
--= binary
SELECT id, item, price, placed, extra FROM orders ORDER BY id;
--= binary
SELECT id, name, joined, score FROM people ORDER BY id;
--= portal
SELECT id FROM orders ORDER BY id LIMIT 9;
--= pipeline
SELECT 1;
SELECT item FROM orders WHERE id = 2;
SELECT name FROM people WHERE id = 3;
--= together
SELECT 1;
SELECT count(*) FROM orders;
--= together
BEGIN;
INSERT INTO labels VALUES (7, 'seven');
ROLLBACK;
--=
COPY orders TO STDOUT;
--=
COPY (SELECT id, item FROM orders ORDER BY id) TO STDOUT WITH (FORMAT csv);
--=
COPY labels TO STDOUT WITH (FORMAT binary);
--=
COPY people (id, name, city) TO STDOUT;
--=
COPY (SELECT id, name FROM people ORDER BY id) TO STDOUT;
--=
BEGIN;
LOCK TABLE labels;
ROLLBACK;
--=
SELECT 1 / 0 FROM people;
--=
SELECT name::int FROM people ORDER BY id;
--=
SELECT nam, email FROM people;
--=
SELECT * FROM nowhere;
--=
SELECT lower(id), email FROM people;
--=
SELECT email, name::nosuchtype FROM people;
--=
SELECT email FROM people GROUP BY id, city HAVING count(*) > max(name) + 1;
--=
SELECT id, name FROM people WHERE name + 1 = 2;
--=
INSERT INTO people (id, nam) VALUES (1, 'x');
--=
UPDATE people SET nam = 'x' WHERE id = 1;
--= extended
SELECT email, nam FROM people;
--= extended
SELECT 1 / (id - 1), name FROM people ORDER BY id;
--=
SELECT name, score FROM people WHERE id = 1 / (score - score);
--=
SELECT id FROM people WHERE joined = name;
--=
BEGIN;
UPDATE touched SET word = 'three' WHERE id = 1 RETURNING *;
ROLLBACK;
--=
INSERT INTO shorts VALUES (2, 'much too long');
--=
SELECT 'much too long'::short;
--=
SET ROLE pg_read_all_data;
SELECT id, floor FROM alcoves;
SELECT count(*) FROM alcoves WHERE floor > 1;
--=
CREATE TEMP TABLE orders (id int, item text);
INSERT INTO orders VALUES (1, 'kettle');
SELECT upper(item) FROM orders WHERE id = 1;
DROP TABLE orders;
SELECT count(*) FROM orders;
--=
BEGIN;
CREATE TABLE draft (id int, word text);
DROP TABLE draft;
SELECT upper(item) FROM orders WHERE id = 1;
ROLLBACK;
