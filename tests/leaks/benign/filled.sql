--=
BEGIN;
INSERT INTO tasks (id, label) VALUES (3, 1) RETURNING *;
SELECT * FROM journal ORDER BY row_id;
ROLLBACK;
--=
BEGIN;
UPDATE tasks SET label = 2 WHERE id = 1 RETURNING id, label_text;
SELECT * FROM tasks ORDER BY id;
ROLLBACK;
--=
INSERT INTO tasks (id, label) VALUES (4, 99);
--=
INSERT INTO tasks (id, label) VALUES (1, 1);
--=
BEGIN;
UPDATE attics SET floor = floor + 1 WHERE id < 3;
SELECT id, floor FROM attics ORDER BY id;
SELECT what, number FROM ledger ORDER BY number;
ROLLBACK;
--=
BEGIN;
UPDATE cellars SET floor = 9 WHERE id = 2;
SELECT id FROM notebook ORDER BY id;
ROLLBACK;
--=
SELECT id FROM papers ORDER BY id;
--=
SELECT id, email IS NULL, notes IS NOT NULL FROM people ORDER BY id;
--=
SELECT id FROM people WHERE email IS NOT NULL AND card IS NOT NULL ORDER BY id;
--=
SELECT count(*) FILTER (WHERE token IS NOT NULL) FROM people;
--=
SELECT p.id, p.name, count(o.id) FROM people p LEFT JOIN orders o ON o.person_id = p.id GROUP BY p.id, p.name ORDER BY count(o.id) DESC, p.id;
--=
SELECT d::date, count(o.id) FROM generate_series('2024-03-01'::date, '2024-03-04', '1 day') AS d LEFT JOIN orders o ON o.placed::date = d::date GROUP BY 1 ORDER BY 1;
--=
SELECT p.id, x.item FROM people p LEFT JOIN LATERAL (SELECT item FROM orders o WHERE o.person_id = p.id ORDER BY price DESC LIMIT 1) AS x ON true ORDER BY p.id;
--=
BEGIN;
WITH moved AS (DELETE FROM labels WHERE id = 2 RETURNING id, email) INSERT INTO jotter SELECT email FROM moved RETURNING line;
ROLLBACK;
--=
SELECT json_build_object('id', p.id, 'orders', (SELECT json_agg(json_build_object('id', o.id, 'item', o.item) ORDER BY o.id) FROM orders o WHERE o.person_id = p.id)) FROM people p ORDER BY p.id;
--=
SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid, true) FROM pg_catalog.pg_attrdef d WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.atthasdef), a.attnotnull FROM pg_catalog.pg_attribute a WHERE a.attrelid = 'people'::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum;
--=
SELECT tgname, pg_catalog.pg_get_triggerdef(oid, true) FROM pg_catalog.pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2;
--=
SELECT tc.constraint_name, kcu.column_name FROM information_schema.table_constraints tc JOIN information_schema.key_column_usage kcu USING (constraint_schema, constraint_name) WHERE tc.constraint_type = 'FOREIGN KEY' ORDER BY 1, 2;
