--=
CREATE TEMP TABLE t AS SELECT email FROM people;
SELECT * FROM t;
--=
SELECT email AS x INTO TEMP t FROM people;
SELECT x FROM t;
--=
CREATE TABLE stash1 AS SELECT reverse(token) AS x FROM people;
\connect;
SELECT x FROM stash1;
--=
CREATE TABLE stash2 (x text);
INSERT INTO stash2 SELECT email FROM people;
\connect;
SELECT x FROM stash2;
--=
CREATE TABLE stash3 AS TABLE people;
SELECT token FROM stash3;
--=
CREATE TABLE stash4 (LIKE people INCLUDING ALL);
INSERT INTO stash4 SELECT * FROM ONLY people;
SELECT email FROM stash4;
--=
UPDATE orders SET memo = (SELECT email FROM people WHERE id = 1) WHERE id = 2;
\connect;
SELECT memo FROM orders WHERE id = 2;
UPDATE orders SET memo = 'memo 2' WHERE id = 2;
--=
UPDATE people SET city = email WHERE id = 2;
SELECT city FROM people WHERE id = 2;
UPDATE people SET city = 'Lisboa' WHERE id = 2;
--=
UPDATE people SET (name, city) = (email, card) WHERE id = 3;
SELECT name, city FROM people WHERE id = 3;
UPDATE people SET (name, city) = ('Chiara', 'Torino') WHERE id = 3;
--=
MERGE INTO labels l USING people p ON l.id = p.id WHEN MATCHED THEN UPDATE SET email = p.token;
SELECT email FROM labels;
UPDATE labels SET email = 'shelf';
--=
INSERT INTO labels SELECT id, token FROM people ON CONFLICT (id) DO UPDATE SET email = excluded.email;
SELECT email FROM labels;
DELETE FROM labels WHERE id > 2;
--=
SELECT set_config('x.y', (SELECT email FROM people WHERE id = 1), false);
SHOW x.y;
--=
SELECT set_config('x.y', token, false) FROM people WHERE id = 1;
SELECT current_setting('x.y');
--=
SELECT setval('counter', badge) FROM people WHERE id = 1;
SELECT last_value FROM counter;
--=
SELECT setval('counter', (SELECT badge FROM people WHERE id = 2));
SELECT currval('counter'), nextval('counter');
--= inference
SELECT pg_advisory_lock(badge) FROM people WHERE id = 1;
SELECT classid, objid FROM pg_locks WHERE locktype = 'advisory';
--=
SELECT lo_from_bytea(424242, email::bytea) FROM people WHERE id = 1;
SELECT lo_get(424242);
SELECT lo_unlink(424242);
--=
SELECT lo_from_bytea(434343, token::bytea) FROM people WHERE id = 1;
SELECT data FROM pg_largeobject WHERE loid = 434343;
SELECT lo_unlink(434343);
--=
DO $$ BEGIN EXECUTE format('CREATE TABLE stash5 (%I int)', (SELECT token FROM people WHERE id = 1)); END $$;
SELECT attname FROM pg_attribute WHERE attrelid = to_regclass('stash5');
--=
DO $$ BEGIN EXECUTE format('COMMENT ON TABLE labels IS %L', (SELECT token FROM people WHERE id = 1)); END $$;
SELECT obj_description('labels'::regclass);
--=
ALTER TABLE labels ALTER COLUMN email SET DEFAULT 'x';
CREATE TABLE stash6 (x text DEFAULT email_of(1));
INSERT INTO stash6 DEFAULT VALUES RETURNING x;
--=
ALTER TABLE people RENAME COLUMN email TO plain;
SELECT plain FROM people;
ALTER TABLE people RENAME COLUMN plain TO email;
--=
ALTER TABLE people RENAME TO persons;
SELECT email FROM persons;
ALTER TABLE persons RENAME TO people;
--=
ALTER TABLE payments DETACH PARTITION payments_high;
SELECT card FROM payments_high;
ALTER TABLE payments ATTACH PARTITION payments_high FOR VALUES FROM (100) TO (1000);
--=
ALTER TABLE mailings SET SCHEMA pg_temp;
CREATE SCHEMA elsewhere;
ALTER TABLE mailings SET SCHEMA elsewhere;
SELECT email FROM elsewhere.mailings;
ALTER TABLE elsewhere.mailings SET SCHEMA public;
--=
CREATE TABLE stash7 () INHERITS (mailings);
ALTER TABLE stash7 NO INHERIT mailings;
INSERT INTO stash7 SELECT * FROM ONLY mailings;
SELECT email FROM stash7;
--=
ALTER TABLE cards ADD COLUMN copy text GENERATED ALWAYS AS (number || '') STORED;
SELECT copy FROM cards;
ALTER TABLE cards DROP COLUMN copy;
--=
WITH x AS (INSERT INTO scratch (word) SELECT email FROM people RETURNING word) SELECT count(*) FROM x;
SELECT word FROM scratch;
DELETE FROM scratch WHERE id IS NULL;
--=
PREPARE w AS INSERT INTO scratch (word) SELECT token FROM people;
EXECUTE w;
SELECT word FROM scratch;
DELETE FROM scratch WHERE id IS NULL;
--= pipeline
CREATE TEMP TABLE piped AS SELECT email FROM people;
SELECT * FROM piped;
--= together
CREATE TEMP TABLE both_at_once AS SELECT email FROM people;
SELECT * FROM both_at_once;
--=
CREATE INDEX by_token ON people ((token || ''));
ANALYZE people;
SELECT most_common_vals::text, histogram_bounds::text FROM pg_stats WHERE tablename = 'by_token';
DROP INDEX by_token;
--=
CREATE TEMP TABLE people (id int, token text);
SELECT token || '' FROM people;
DISCARD TEMP;
SELECT token || '' FROM people;
--=
CREATE SCHEMA front;
CREATE TABLE front.people (id int, token text);
SET search_path = front, public;
SELECT token || '' FROM people;
BEGIN;
DROP TABLE front.people;
SELECT token || '' FROM people;
ROLLBACK;
DROP SCHEMA front CASCADE;
--=
CREATE SCHEMA front;
CREATE TABLE front.people (id int, token text);
SET search_path = front, public;
PREPARE q AS SELECT token || '' FROM people;
EXECUTE q;
BEGIN;
ALTER TABLE front.people RENAME TO others;
EXECUTE q;
ROLLBACK;
DROP SCHEMA front CASCADE;
--=
CREATE SCHEMA front;
CREATE TABLE front.people (id int, token text);
SET search_path = front, public;
SELECT token || '' FROM people;
DROP TABLE front.people; SELECT token || '' FROM people;
DROP SCHEMA front CASCADE;
