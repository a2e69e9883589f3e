--= inference
SELECT id FROM people WHERE email LIKE 'qui%';
--= inference
SELECT count(*) FROM people WHERE card LIKE '4929317%';
--= inference
SELECT id FROM people ORDER BY salary;
--= inference
SELECT id, card LIKE '4929317%' FROM people;
--= inference
SELECT CASE WHEN salary > 70000 THEN 'rich' ELSE 'poor' END FROM people;
--= inference
SELECT count(CASE WHEN salary > 70000 THEN 1 END) FROM people;
--= inference
SELECT count(nullif(left(card, 7), '4929317')) FROM people;
--= inference
SELECT count(*) FILTER (WHERE token LIKE 'tk-Z%') FROM people;
--= inference
SELECT id, rank() OVER (ORDER BY badge) FROM people;
--= inference
SELECT id, row_number() OVER (PARTITION BY left(token, 4) ORDER BY id) FROM people;
--= inference
SELECT DISTINCT ON (left(card, 7) = '4929317') id FROM people ORDER BY left(card, 7) = '4929317', id;
--= inference
SELECT o.id FROM orders o JOIN people p ON p.id = o.person_id AND p.salary > 70000 ORDER BY o.id;
--= inference
SELECT id FROM orders o WHERE EXISTS (SELECT 1 FROM people p WHERE p.id = o.person_id AND p.email LIKE 'qui%') ORDER BY id;
--= inference
SELECT id FROM orders WHERE person_id IN (SELECT id FROM people WHERE born < '1970-01-01') ORDER BY id;
--= inference
SELECT 'x' WHERE (SELECT card FROM people WHERE id = 1) LIKE '4929317%';
--= inference
SELECT city, count(*) FROM people GROUP BY city HAVING max(salary) > 75000 ORDER BY city;
--= inference
SELECT city FROM people GROUP BY city ORDER BY min(badge);
--= inference
SELECT id FROM people LIMIT (SELECT badge % 3 FROM people WHERE id = 1);
--= inference
SELECT g FROM generate_series(1, (SELECT badge % 7 FROM people WHERE id = 1)) AS g;
--= inference
SELECT g FROM people, generate_series(1, length(token)) AS g WHERE id = 1;
--= inference
SELECT id FROM people, regexp_matches(card, '4929317') ORDER BY id;
--= inference
SELECT p.id FROM people p, unnest(string_to_array(token, 'e')) ORDER BY p.id;
--= inference
BEGIN;
UPDATE orders SET memo = 'hit' FROM people p WHERE p.id = person_id AND p.card LIKE '4929317%';
SELECT count(*) FROM orders WHERE memo = 'hit';
ROLLBACK;
--= inference
BEGIN;
UPDATE people SET score = score WHERE salary > 70000;
ROLLBACK;
--= inference
BEGIN;
DELETE FROM payments WHERE card LIKE '4929317%';
ROLLBACK;
--= inference
BEGIN;
MERGE INTO labels l USING people p ON l.id = p.id AND p.token LIKE 'tk-Z%' WHEN MATCHED THEN UPDATE SET email = 'hit';
SELECT email FROM labels ORDER BY id;
ROLLBACK;
--= inference
BEGIN;
INSERT INTO scratch (id) SELECT id FROM people WHERE card LIKE '4929317%' RETURNING id;
ROLLBACK;
--= inference
SELECT id FROM directory WHERE reach LIKE 'qui%';
--= inference
SELECT top > 75000 FROM totals ORDER BY city;
--= inference
WITH x AS (SELECT id, email AS y FROM people) SELECT id FROM x WHERE y LIKE 'qui%';
--= inference
SELECT id FROM (SELECT id, reverse(card) AS c FROM people) AS q WHERE c LIKE '%7139294';
--= inference
SELECT id FROM people p WHERE p::text LIKE '%quillon%';
--= inference
SELECT id FROM people p WHERE to_jsonb(p) ->> 'token' LIKE 'tk-Z%';
--= inference
SELECT id FROM people WHERE notes @> '{"iban": "DE4929317580642317"}';
--= inference
SELECT id FROM people WHERE notes ? 'iban' AND jsonb_path_exists(notes, '$.iban ? (@ starts with "DE4929317")');
--= inference
SELECT id FROM people WHERE span @> 46372819;
--= inference
SELECT id FROM people WHERE born BETWEEN '1970-01-01' AND '1980-01-01' ORDER BY id;
--= inference
SELECT id FROM people WHERE badge IN (918273645546372819, 5);
--= inference
SELECT id FROM people WHERE 'tk-Zeppelin77kWolfram' = ANY (aliases);
--= inference
SELECT (SELECT count(*) FROM people WHERE email > 'quf');
--= inference
SELECT EXISTS (SELECT FROM people WHERE email_of(id) LIKE 'qui%');
--= inference
SELECT a.id FROM people a JOIN LATERAL (SELECT 1 WHERE a.salary > 70000) AS t ON true ORDER BY a.id;
--= inference
SELECT id FROM people EXCEPT SELECT id FROM people WHERE salary > 70000 ORDER BY 1;
--= inference
SELECT 1 FROM (SELECT left(card, 7) AS c FROM people UNION SELECT '4929317') AS q;
--= inference
SELECT left(card, 7) IN ('4929317') AS x, id FROM people GROUP BY 1, 2 ORDER BY 2;
--= inference
SELECT p.id FROM people p JOIN (VALUES ('4929317')) AS v (c) ON left(p.card, 7) = v.c;
--= inference
SELECT id FROM people NATURAL JOIN (SELECT 'tk-Zeppelin77kWolfram'::text AS token) AS t;
--= inference
SELECT id FROM people JOIN (SELECT 'tk-Zeppelin77kWolfram'::text AS token) AS t USING (token);
--= inference
SELECT id FROM people FETCH FIRST (SELECT length(token) % 4 FROM people WHERE id = 1) ROWS ONLY;
--= inference
SELECT sum(score) OVER (ORDER BY salary) FROM people ORDER BY id;
--= inference
SELECT string_agg(name, ',' ORDER BY badge) FROM people;
--= inference
SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY salary) > 65000 FROM people;
--= inference
SELECT pg_sleep(0.01), g FROM people, generate_series(1, CASE WHEN card LIKE '4929317%' THEN 2 ELSE 1 END) AS g WHERE id = 1;
--= inference
BEGIN;
INSERT INTO people SELECT 90, name, city, joined, score, 'quillon.vexmoor@corvid.example', '', '', 0, 0, joined, now(), '{}', '{}', 'empty', gen_random_uuid(), '', '' FROM people WHERE id = 1;
ROLLBACK;
--= inference portal
SELECT id FROM people WHERE card LIKE '4929%' AND salary > 80000;
--= inference extended
SELECT id FROM people WHERE token > 'tk-M' ORDER BY id;
--= inference
PREPARE q (text) AS SELECT id FROM people WHERE card LIKE $1 || '%';
EXECUTE q ('4929317');
--= inference
SELECT id FROM imprints WHERE mark > 'tk-M' ORDER BY id;
--= inference
SELECT id FROM orders WHERE email_by_plpgsql(1) > 'qb' ORDER BY id;
--= inference
SELECT id FROM orders ORDER BY substr(email_by_plpgsql(id % 4 + 1), 2), id;
--= inference
SELECT 1 / (ascii(substr(email_by_plpgsql(1), 2)) - 117);
--= inference
SELECT id FROM orders ORDER BY id LIMIT ascii(substr(email_by_plpgsql(1), 2)) - 90;
--= inference
SELECT generate_series(1, ascii(substr(email_by_plpgsql(1), 2)) - 90);
--= inference
SELECT CASE WHEN email_by_plpgsql(1) > 'qb' THEN 1 / (id - 1) ELSE id END FROM orders ORDER BY id;
--= inference
BEGIN;
UPDATE stills SET code = 'tk-Zeppelin77kWolfram' WHERE id = 1;
ROLLBACK;
