--=
UPDATE attics SET floor = floor;
SELECT body FROM ledger;
--=
UPDATE attics SET floor = floor;
SELECT l FROM ledger l;
--=
CREATE VIEW ledgered AS SELECT body ->> 'code' AS c FROM ledger;
UPDATE attics SET floor = floor WHERE id = 1;
SELECT * FROM ledgered;
SELECT body ->> 'code' FROM ledger;
DROP VIEW IF EXISTS ledgered;
--=
UPDATE attics SET floor = floor;
COPY ledger TO STDOUT;
--= binary
UPDATE attics SET floor = floor;
SELECT * FROM ledger;
--=
UPDATE attics SET floor = floor;
CREATE TEMP TABLE copied AS SELECT body FROM ledger;
SELECT * FROM copied;
SELECT body #>> '{code}' FROM ledger;
--= inference
UPDATE attics SET floor = floor;
SELECT count(*) FROM ledger WHERE body ->> 'code' LIKE 'tk-Z%';
--=
UPDATE cellars SET floor = floor;
SELECT line FROM notebook;
--=
INSERT INTO lofts VALUES (1);
SELECT line FROM jotter;
--=
LISTEN cries;
UPDATE towers SET floor = floor;
SELECT 1;
--=
SELECT search FROM papers;
--=
SELECT tsvector_to_array(search), array_to_string(tsvector_to_array(search), ' ') FROM papers;
--= inference
SELECT id FROM papers WHERE search @@ to_tsquery('simple', 'zeppelin77kwolfram:*');
--=
INSERT INTO visits (id) VALUES (1);
SELECT what FROM visits;
DELETE FROM visits;
--=
UPDATE gates SET id = id;
SELECT way FROM gates;
--=
INSERT INTO defaulted (id) VALUES (1);
SELECT what FROM defaulted;
DELETE FROM defaulted;
--=
CREATE TRIGGER again AFTER INSERT ON visits FOR EACH ROW EXECUTE FUNCTION audited();
CREATE RULE again AS ON INSERT TO labels DO ALSO INSERT INTO notebook SELECT id, token FROM people;
UPDATE cellars SET floor = floor;
TABLE notebook;
DROP TRIGGER IF EXISTS again ON visits;
DROP RULE IF EXISTS again ON labels;
--=
ALTER TABLE people SET SCHEMA information_schema;
SELECT token FROM information_schema.people;
ALTER TABLE information_schema.people SET SCHEMA public;
--=
CREATE TABLE above (email text);
ALTER TABLE mailings ALTER COLUMN email TYPE text;
ALTER TABLE mailings INHERIT above;
SELECT email FROM above;
SELECT email FROM mailings;
ALTER TABLE mailings NO INHERIT above;
DROP TABLE above;
--=
BEGIN;
CREATE TEMP TABLE just AS SELECT id, name FROM people;
SELECT just.*, p.token, p.email FROM just JOIN people p USING (id) ORDER BY id;
ALTER TABLE just ADD COLUMN x text;
SELECT just.*, reverse(p.token) FROM just JOIN people p USING (id) ORDER BY id;
ROLLBACK;
--=
BEGIN;
SAVEPOINT a;
CREATE TEMP TABLE people AS SELECT 1 AS id, 'x'::text AS token;
ROLLBACK TO a;
SELECT token FROM people;
ROLLBACK;
--=
BEGIN;
CREATE TABLE just (id int, what text);
CREATE TRIGGER stamps BEFORE INSERT ON just FOR EACH ROW EXECUTE FUNCTION stamper();
INSERT INTO just VALUES (1, 'x');
SELECT what FROM just;
ROLLBACK;
--=
BEGIN;
CREATE TABLE just (id int, what text);
INSERT INTO just SELECT id, token FROM people;
CREATE TEMP VIEW over_it AS SELECT token FROM people;
SELECT * FROM just;
SELECT * FROM over_it;
ROLLBACK;
SELECT token FROM people;
