--=
BEGIN;
INSERT INTO labels VALUES (10, 'x') RETURNING *;
ROLLBACK;
--=
BEGIN;
INSERT INTO labels SELECT id + 100, item FROM orders;
SELECT * FROM labels ORDER BY id;
ROLLBACK;
--=
BEGIN;
INSERT INTO labels VALUES (1, 'y') ON CONFLICT (id) DO UPDATE SET email = excluded.email;
SELECT * FROM labels ORDER BY id;
ROLLBACK;
--=
BEGIN;
UPDATE orders SET memo = 'm' WHERE id = 3 RETURNING id, memo;
ROLLBACK;
--=
BEGIN;
UPDATE people SET city = 'Riga' WHERE id = 4 RETURNING id, city;
ROLLBACK;
--= | a unique column that the agent may not see answers guesses, so to write it takes a permit for match
BEGIN;
UPDATE people SET email = 'new@example.com' WHERE id = 4;
ROLLBACK;
--=
BEGIN;
UPDATE people SET token = 'new', score = 4 WHERE id = 4;
ROLLBACK;
--=
BEGIN;
UPDATE harmless SET city = 'Porto' WHERE id = 2;
INSERT INTO desks VALUES (11);
INSERT INTO letters (id) VALUES (7);
ROLLBACK;
--=
BEGIN;
UPDATE orders SET price = price + 1 WHERE item = 'cup';
SELECT sum(price) FROM orders;
ROLLBACK;
--=
BEGIN;
DELETE FROM orders WHERE id > 15 RETURNING id;
ROLLBACK;
--=
BEGIN;
DELETE FROM people WHERE id = 3;
ROLLBACK;
--=
BEGIN;
MERGE INTO labels l USING orders o ON l.id = o.id WHEN MATCHED THEN UPDATE SET email = o.item WHEN NOT MATCHED THEN INSERT VALUES (o.id, o.item);
SELECT * FROM labels ORDER BY id;
ROLLBACK;
--=
BEGIN;
WITH d AS (DELETE FROM labels RETURNING id) SELECT count(*) FROM d;
ROLLBACK;
--=
BEGIN;
CREATE TEMP TABLE t AS SELECT id, item FROM orders;
SELECT count(*) FROM t;
ROLLBACK;
--=
BEGIN;
CREATE TEMP TABLE names AS SELECT id, name FROM people;
SELECT * FROM names ORDER BY id;
ROLLBACK;
--=
BEGIN;
INSERT INTO scratch (id, word) SELECT id, name FROM people;
ROLLBACK;
--=
BEGIN;
SAVEPOINT a;
INSERT INTO labels VALUES (1, 'twice');
ROLLBACK TO a;
SELECT count(*) FROM labels;
ROLLBACK;
--=
BEGIN;
SELECT setval('counter', 5), nextval('counter');
ROLLBACK;
--=
BEGIN;
CREATE VIEW cheap AS SELECT id, item FROM orders WHERE price < 500;
SELECT * FROM cheap ORDER BY id;
ROLLBACK;
--=
BEGIN;
TRUNCATE scratch;
ROLLBACK;
--=
BEGIN;
CREATE TEMP TABLE staging (word text, number int) ON COMMIT DROP;
INSERT INTO staging VALUES ('w', 1), ('v', 2);
SELECT * FROM staging;
SELECT s.word, p.name FROM staging s JOIN people p ON p.id = s.number ORDER BY p.id;
UPDATE staging SET word = 'z' RETURNING word;
COPY staging TO STDOUT;
COMMIT;
