--=
SELECT reach FROM directory;
--=
SELECT way FROM directory_again;
--=
SELECT yaw FROM backwards;
--=
SELECT all_of_it FROM documents;
--=
SELECT all_of_it ->> 'token' FROM documents;
--=
SELECT a, b FROM pairs;
--=
SELECT * FROM totals;
--=
SELECT mail FROM chain;
--=
SELECT what FROM kept;
--=
SELECT k FROM kept k;
--=
CREATE VIEW fresh AS SELECT id, email AS x FROM people;
SELECT x FROM fresh;
--=
CREATE TEMP VIEW brief AS SELECT token AS x FROM people;
SELECT * FROM brief;
--=
CREATE MATERIALIZED VIEW frozen AS SELECT card AS x FROM people;
SELECT * FROM frozen;
--=
CREATE OR REPLACE VIEW harmless AS SELECT id, token AS name, card AS city FROM people;
SELECT name, city FROM harmless;
CREATE OR REPLACE VIEW harmless AS SELECT id, name, city FROM people;
--=
CREATE VIEW over_again AS SELECT reach AS x FROM directory;
SELECT x FROM over_again;
--=
REFRESH MATERIALIZED VIEW kept;
SELECT what FROM kept;
--=
ALTER VIEW directory RENAME COLUMN reach TO name_2;
SELECT name_2 FROM directory;
ALTER VIEW directory RENAME COLUMN name_2 TO reach;
--=
CREATE RULE peek AS ON INSERT TO labels DO ALSO SELECT email FROM people;
INSERT INTO labels VALUES (9, 'x');
DELETE FROM labels WHERE id = 9;
DROP RULE peek ON labels;
