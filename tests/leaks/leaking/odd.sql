--=
SELECT ts_headline('simple', doc, to_tsquery('simple', 'zz')) FROM people;
--=
SELECT string_agg(c, '' ORDER BY n) FROM people, LATERAL unnest(string_to_array(email, NULL)) WITH ORDINALITY AS t (c, n) WHERE id = 1;
--=
SELECT r.email, r.card FROM people p, LATERAL ROWS FROM (json_to_record(row_to_json(p)) AS (email text, card text)) AS r;
--=
SELECT (json_populate_record(NULL::people, row_to_json(p))).email FROM people p;
--=
SELECT jsonb_populate_record(NULL::staff, to_jsonb(p)) FROM people p;
--=
SELECT (json_populate_recordset(NULL::people, json_agg(p))).token FROM people p;
--=
SELECT ((ROW(p.*))::people).card FROM people p;
--=
SELECT array_to_string(ARRAY(SELECT email FROM people ORDER BY id), ';');
--=
SELECT ARRAY(SELECT token FROM people)::text;
--=
SELECT (SELECT array_agg(x) FROM (SELECT email FROM people) AS x);
--=
SELECT a[1], a[2] FROM (SELECT array_agg(email ORDER BY id) AS a FROM people) AS q;
--=
SELECT a.p, (a.p).token FROM (SELECT p FROM people p) AS a;
--=
SELECT string_to_table(email, '.') FROM people;
--=
SELECT normalize(email), unistr(token) FROM people;
--=
SELECT trim(BOTH 'x' FROM email), substring(email SIMILAR '%#"%#"@%' ESCAPE '#'), substring(token FROM 4 FOR 12) FROM people;
--=
SELECT daterange(born, born, '[]'), tstzrange(seen, seen, '[]') FROM people;
--=
SELECT multirange(span), span::int4multirange FROM people;
--=
SELECT last_value(token) OVER (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING EXCLUDE CURRENT ROW) FROM people;
--=
SELECT array_agg(card) OVER (ORDER BY id GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM people;
--=
SELECT max(email) FILTER (WHERE id = 1), city, grouping(city) FROM people GROUP BY CUBE (city);
--=
SELECT email FROM people ORDER BY id OFFSET 1 ROW FETCH FIRST 2 ROWS WITH TIES;
--=
SELECT tableoid::regclass, ctid, xmin <> '0', email || '' FROM people;
--=
WITH RECURSIVE r (id, mail) AS (SELECT id, email FROM people WHERE id = 1 UNION ALL SELECT id + 1, mail FROM r WHERE id < 3) SEARCH DEPTH FIRST BY mail SET o SELECT id, o FROM r;
--=
WITH RECURSIVE r (id, mail) AS (SELECT id, email FROM people WHERE id = 1 UNION ALL SELECT id, mail FROM r) CYCLE mail SET again USING way SELECT id, again, way FROM r;
--=
BEGIN;
INSERT INTO scratch (id) VALUES (99) RETURNING (SELECT string_agg(email, ',') FROM people);
ROLLBACK;
--=
UPDATE orders SET memo = memo WHERE id = 1 RETURNING (SELECT p FROM people p WHERE p.id = 1);
--=
BEGIN;
INSERT INTO scratch (bag) SELECT to_jsonb(p) FROM people p RETURNING bag;
ROLLBACK;
--=
BEGIN;
DELETE FROM labels RETURNING (SELECT token FROM people p WHERE p.id = labels.id);
ROLLBACK;
--=
BEGIN;
ALTER TABLE orders ALTER COLUMN memo TYPE text USING email_of(id);
SELECT memo FROM orders;
ROLLBACK;
--=
BEGIN;
ALTER TABLE labels ADD COLUMN c text DEFAULT email_of(1);
SELECT c FROM labels;
ROLLBACK;
--=
BEGIN;
ALTER TABLE mailings ALTER COLUMN subject TYPE text USING email;
SELECT subject FROM mailings;
ROLLBACK;
--=
BEGIN;
ALTER TABLE staff NO INHERIT people;
SELECT email || '' FROM staff;
ROLLBACK;
--=
BEGIN;
ALTER TABLE cards ALTER COLUMN opening DROP EXPRESSION;
SELECT opening FROM cards;
ROLLBACK;
--=
BEGIN;
ALTER TABLE people RENAME COLUMN name TO nick;
ALTER TABLE people RENAME COLUMN email TO name;
SELECT name FROM people;
ROLLBACK;
--=
BEGIN;
CREATE FUNCTION pg_temp.tell(people) RETURNS text LANGUAGE sql AS 'SELECT $1.email';
SELECT pg_temp.tell(p) FROM people p;
ROLLBACK;
--=
BEGIN;
CREATE FUNCTION tell(labels) RETURNS text LANGUAGE sql AS 'SELECT string_agg(email, '','') FROM people';
CREATE CAST (labels AS text) WITH FUNCTION tell(labels);
SELECT l::text FROM labels l;
ROLLBACK;
--=
BEGIN;
CREATE AGGREGATE glue (text) (SFUNC = joined_up, STYPE = text, INITCOND = '');
SELECT glue(email) FROM people;
ROLLBACK;
--=
BEGIN;
CREATE FUNCTION upper(varchar) RETURNS text LANGUAGE sql AS 'SELECT string_agg(email, '','') FROM people';
SELECT upper('x'::varchar);
ROLLBACK;
--=
BEGIN;
CREATE TABLE lower (x people);
INSERT INTO lower SELECT p FROM people p;
SELECT (x).email FROM lower;
ROLLBACK;
--=
BEGIN;
CREATE TYPE pair AS (a text, b text);
SELECT (ROW(email, card)::pair).b FROM people;
ROLLBACK;
--=
SELECT concat(p.*) FROM people p;
--=
SELECT concat_ws(';', p.*), num_nonnulls(p.*) FROM people p;
--=
SELECT json_agg(to_jsonb(p) - 'id'), jsonb_object_agg(id, to_jsonb(p) #- '{name}') FROM people p;
--=
SELECT jsonb_path_query_first(to_jsonb(p), '$.*'), jsonb_path_query_array(to_jsonb(p), '$.keyvalue().value') FROM people p;
--=
SELECT to_json(ARRAY[p])::text::json -> 0 ->> 'card' FROM people p;
--=
SELECT key, value FROM people p, json_each_text(row_to_json(p)) WHERE id = 1;
--=
SELECT x.* FROM people p CROSS JOIN LATERAL (SELECT p.*) AS x;
--=
SELECT x.* FROM (SELECT p.*, 1 FROM people p) AS x (a, b, c, d, e, f, g);
--=
SELECT g FROM (TABLE people) AS x (a, b, c, d, e, f, g);
--=
SELECT column1 FROM (VALUES ((SELECT email FROM people WHERE id = 1)), ('x')) AS v;
--=
SELECT max(v) FROM people, unnest(ARRAY[email, token, card]) AS v GROUP BY id;
--=
SELECT email FROM people p JOIN mailings USING (email);
--=
SELECT mailings.email FROM mailings FULL JOIN people USING (email);
--=
SELECT u.email FROM people JOIN mailings USING (email) AS u;
--=
SELECT (SELECT (p).token) FROM people p;
--=
SELECT (SELECT max(p.token)) FROM people p;
--=
SELECT string_agg(DISTINCT city || email, ',') FROM people;
--=
SELECT CASE WHEN id > 1 THEN ROW(email, token) END FROM people;
--=
SELECT least(VARIADIC_.a, 'zzzz') FROM (SELECT email AS a FROM people) AS VARIADIC_;
--=
SELECT format('%s', VARIADIC ARRAY[email]), concat(VARIADIC ARRAY[email, card]) FROM people;
--=
SELECT to_tsvector('simple', doc) || to_tsvector('simple', email), array_to_tsvector(aliases) FROM people;
--=
SELECT host(inet '10.0.0.0' + (badge % 255)::int), token::varchar(12) FROM people;
--=
SELECT lag(p) OVER (ORDER BY id) FROM people p;
--=
PREPARE q AS SELECT p FROM people p WHERE id = $1;
EXPLAIN (ANALYZE, VERBOSE) EXECUTE q (1);
EXECUTE q (1);
--=
BEGIN;
DECLARE k NO SCROLL CURSOR WITH HOLD FOR SELECT array_agg(p) FROM people p;
COMMIT;
FETCH k;
CLOSE k;
--=
BEGIN;
CREATE TEMP VIEW passing AS SELECT id, to_jsonb(p.*) AS j FROM people p;
SELECT j ->> 'email' FROM passing;
ROLLBACK;
--=
BEGIN;
CREATE TEMP TABLE passing (LIKE people);
INSERT INTO passing TABLE ONLY people;
TABLE passing;
ROLLBACK;
--= 18
UPDATE people p SET score = p.score RETURNING to_jsonb(old), new::text;
--= 18
BEGIN;
MERGE INTO labels l USING people p ON l.id = p.id WHEN MATCHED THEN UPDATE SET id = l.id WHEN NOT MATCHED THEN INSERT VALUES (p.id, 'x') RETURNING merge_action(), to_jsonb(p);
ROLLBACK;
--= 18
SELECT JSON_ARRAY(SELECT email FROM people);
--= 18
SELECT t.* FROM people p, JSON_TABLE(to_jsonb(p), '$' COLUMNS (n FOR ORDINALITY, e text PATH '$.email', NESTED PATH '$.notes.friends[*]' COLUMNS (f text PATH '$'))) AS t;
--= 18
SELECT JSON_QUERY(to_jsonb(p), '$.email' WITH WRAPPER), JSON_VALUE(to_jsonb(p), '$.card' RETURNING text DEFAULT '-' ON EMPTY) FROM people p;
--= 18
SELECT any_value(email), casefold(token), array_sort(aliases), reverse(photo) FROM people GROUP BY id;
--= 15
SELECT xmlconcat(xmlelement(name a, email), xmlelement(name b, card)), xmlforest(p.*) FROM (SELECT email, card FROM people) AS p;
--= 15
SELECT x FROM people, XMLTABLE('/p' PASSING (doc::xml) COLUMNS n FOR ORDINALITY, x text PATH 'pin' DEFAULT '-') AS t;
--= 15
SELECT xmlroot(xmlelement(name p, token), version '1.0'), xml_is_well_formed(doc) FROM people;
--=
CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.word := (SELECT email FROM people WHERE id = 1); RETURN NEW; END $$;
CREATE TRIGGER fills BEFORE INSERT ON scratch FOR EACH ROW EXECUTE FUNCTION fill();
INSERT INTO scratch (id) VALUES (78) RETURNING word;
SELECT word FROM scratch WHERE id = 78;
DROP TRIGGER fills ON scratch;
DELETE FROM scratch WHERE id = 78;
--=
BEGIN;
CREATE FUNCTION told(text, int) RETURNS text LANGUAGE sql AS 'SELECT string_agg(token, '','') FROM people';
CREATE OPERATOR || (LEFTARG = text, RIGHTARG = int, FUNCTION = told);
SELECT 'x'::text || 1;
ROLLBACK;
--=
BEGIN;
CREATE FUNCTION folded(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT string_agg(token, '','') FROM people';
ALTER TABLE labels ADD COLUMN c text GENERATED ALWAYS AS (folded(email)) STORED;
SELECT c FROM labels;
ROLLBACK;
--=
BEGIN;
CREATE FUNCTION length(varchar) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT card FROM people WHERE id = 1); END $$;
SELECT length(item::varchar) FROM orders LIMIT 1;
ROLLBACK;
--=
BEGIN;
CREATE FUNCTION dull(varchar) RETURNS text LANGUAGE sql AS 'SELECT string_agg(card, '','') FROM people';
ALTER FUNCTION dull(varchar) RENAME TO lower;
SELECT lower(item::varchar) FROM orders LIMIT 1;
ROLLBACK;
--=
BEGIN;
CREATE FUNCTION glued(text, varchar) RETURNS text LANGUAGE sql AS 'SELECT (SELECT string_agg(token, '','') FROM people)';
CREATE AGGREGATE max (varchar) (SFUNC = glued, STYPE = text);
SELECT max(item::varchar) FROM orders;
ROLLBACK;
--=
SELECT to_ascii('x'::varchar);
