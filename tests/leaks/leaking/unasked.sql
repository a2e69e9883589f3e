--=
BEGIN;
INSERT INTO visits VALUES (1, 'x') RETURNING what;
ROLLBACK;
--=
BEGIN;
INSERT INTO visits VALUES (1, 'x') RETURNING *;
ROLLBACK;
--= binary
INSERT INTO visits VALUES (1, 'x') RETURNING upper(what);
--=
BEGIN;
WITH v AS (INSERT INTO visits VALUES (1, 'x') RETURNING what) SELECT * FROM v;
ROLLBACK;
--=
BEGIN;
INSERT INTO visited (id) VALUES (1) RETURNING what;
ROLLBACK;
--= 18
BEGIN;
MERGE INTO visits USING (VALUES (1)) AS s (n) ON false WHEN NOT MATCHED THEN INSERT VALUES (1, 'x') RETURNING what;
ROLLBACK;
--=
PREPARE p AS INSERT INTO visits VALUES (1, 'x') RETURNING what;
EXECUTE p;
--=
BEGIN;
UPDATE gates SET id = 9 WHERE id = 1 RETURNING way;
ROLLBACK;
--=
INSERT INTO loud VALUES (1);
--=
TRUNCATE loud;
--=
UPDATE loud SET id = 2;
--= extended
DELETE FROM loud WHERE id = 3;
--=
COPY loud FROM STDIN;
--=
INSERT INTO closed VALUES (1);
--=
BEGIN;
INSERT INTO defaulted (id) VALUES (1) RETURNING what;
ROLLBACK;
--=
BEGIN;
INSERT INTO defaulted VALUES (1, DEFAULT) RETURNING *;
ROLLBACK;
--=
INSERT INTO failing VALUES (1);
--= inference
INSERT INTO checked VALUES (1, 'quillon.vexmoor@corvid.example');
--=
BEGIN;
INSERT INTO made VALUES (1) RETURNING what;
ROLLBACK;
--=
INSERT INTO indexed VALUES (1);
--=
INSERT INTO ruled VALUES (1);
--=
UPDATE overruled SET id = 1;
--=
BEGIN;
INSERT INTO ruled_view VALUES (99, 'x') RETURNING email;
ROLLBACK;
--=
SELECT '("x")'::trapping FROM people;
--=
SELECT '("x")'::trapping;
--=
SELECT '("x")'::trapping_type FROM people;
--=
SELECT '("x")'::trapping_type;
--=
SELECT 'x'::U&"tr\0061pdoor";
--=
SELECT name::trapdoor FROM people;
--= inference
SELECT 'quillon.vexmoor@corvid.example'::guessed;
--=
INSERT INTO trapped VALUES (1, 'x');
--=
CREATE TEMP TABLE t (d trapdoor);
INSERT INTO t VALUES ('x');
--=
SELECT ROW(1)::oddity::text;
--=
SELECT odd::text FROM oddities;
--=
SELECT email ## 1 FROM labels;
--=
SELECT * FROM operated;
--= inference
SET ROLE pg_read_all_data;
SELECT id, floor FROM lockers;
--= inference
SET ROLE pg_read_all_data;
SELECT count(*) FROM lockers;
--= inference
SET ROLE pg_read_all_data;
SET app.code = 'tk-Yonder20Marzipan';
SELECT id FROM lockers;
--= inference
SET ROLE pg_read_all_data;
COPY (SELECT id FROM lockers) TO STDOUT;
--= inference
SET ROLE pg_read_all_data;
SELECT * FROM niches;
--= inference
SET ROLE pg_read_all_data;
WITH n AS (SELECT id FROM niches) SELECT count(*) FROM n;
--=
SET ROLE pg_read_all_data;
SELECT * FROM chambers;
--=
SET ROLE pg_read_all_data;
SELECT * FROM cells;
--=
SELECT atomically();
--=
SELECT email FROM atomic_rows();
--=
SELECT atomic_return();
--=
SELECT * FROM over_atomic;
--=
SELECT * FROM over_atomic_again;
--=
SELECT * FROM calling;
--=
SELECT * FROM calling_noisily;
--=
SELECT * FROM calling_failing;
--=
SELECT * FROM calling_cast;
--= 15
SELECT * FROM calling_text;
--=
SELECT * FROM statistics_of_all;
