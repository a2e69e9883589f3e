--= inference
BEGIN;
INSERT INTO people VALUES (90, 'x', 'y', '2020-01-01', 1, 'quillon.vexmoor@corvid.example', '', '', 0, 0, '2020-01-01', now(), '{}', '{}', 'empty', gen_random_uuid(), '', '');
ROLLBACK;
--= inference
BEGIN;
INSERT INTO people VALUES (90, 'x', 'y', '2020-01-01', 1, 'quillon.vexmoor@corvid.example', '', '', 0, 0, '2020-01-01', now(), '{}', '{}', 'empty', gen_random_uuid(), '', '') ON CONFLICT DO NOTHING;
ROLLBACK;
--= inference
BEGIN;
UPDATE people SET email = 'quillon.vexmoor@corvid.example' WHERE id = 3;
ROLLBACK;
--= inference
BEGIN;
UPDATE directory SET reach = 'quillon.vexmoor@corvid.example' WHERE id = 3;
ROLLBACK;
--= inference
BEGIN;
MERGE INTO people p USING (VALUES (3)) AS v (n) ON p.id = v.n WHEN MATCHED THEN UPDATE SET email = 'quillon.vexmoor@corvid.example';
ROLLBACK;
--= inference
BEGIN;
INSERT INTO people SELECT * FROM ONLY people WHERE id = 3 ON CONFLICT (id) DO UPDATE SET email = 'quillon.vexmoor@corvid.example';
ROLLBACK;
--= inference
BEGIN;
INSERT INTO passes VALUES (90, 'tk-Zeppelin77kWolfram', 1);
ROLLBACK;
--= inference
BEGIN;
UPDATE passes SET floor = 22 WHERE id = 1;
ROLLBACK;
--= inference
BEGIN;
UPDATE passes SET floor = 2 WHERE id = 3;
ROLLBACK;
--= inference
BEGIN;
UPDATE passes SET width = 21 WHERE id = 1;
ROLLBACK;
--= inference
BEGIN;
INSERT INTO letters VALUES (1, 'quillon.vexmoor@corvid.example');
ROLLBACK;
--= inference
BEGIN;
DELETE FROM desks WHERE id = 4;
ROLLBACK;
--= inference
BEGIN;
UPDATE desks SET id = 104 WHERE id = 4;
ROLLBACK;
--= inference
BEGIN;
MERGE INTO desks d USING (VALUES (4)) AS v (n) ON d.id = v.n WHEN MATCHED THEN DELETE;
ROLLBACK;
--= inference
CREATE TABLE guessing (e text REFERENCES people (email));
INSERT INTO guessing VALUES ('quillon.vexmoor@corvid.example');
DROP TABLE guessing;
--= inference
BEGIN;
UPDATE labels SET email = 'quillon.vexmoor@corvid.example';
ALTER TABLE labels ADD FOREIGN KEY (email) REFERENCES people (email);
ROLLBACK;
--= inference
CREATE TABLE guarding (e text CHECK (e <> email_of(1)));
INSERT INTO guarding VALUES ('quillon.vexmoor@corvid.example');
DROP TABLE guarding;
--= inference
CREATE DOMAIN another AS text CHECK (VALUE <> email_of(1));
SELECT 'quillon.vexmoor@corvid.example'::another;
DROP DOMAIN another;
--= inference
CREATE UNIQUE INDEX two_of_a_kind ON passes (length(code));
DROP INDEX IF EXISTS two_of_a_kind;
--= inference
BEGIN;
ALTER TABLE passes ADD CHECK (code LIKE '%a%');
ROLLBACK;
