--= inference
SET a.z = '1';
SELECT current_setting('a.' || lower(substr(token, 4, 1))) FROM people WHERE id = 1;
--= inference
SELECT has_table_privilege(replace(left(token, 4), 'tk-Z', 'orders'), 'select') FROM people WHERE id = 1;
--= inference
SELECT setseed(0);
SELECT setseed(length(token)::numeric / 100) FROM people WHERE id = 1;
SELECT random();
--= inference
SET statement_timeout = '200ms';
SELECT pg_sleep(strpos(token, 'kWolfram') / 10.0) FROM people WHERE id = 1;
--= inference
SELECT lo_create(400000 + length(token)) FROM people WHERE id = 1;
SELECT oid FROM pg_largeobject_metadata WHERE oid BETWEEN 400000 AND 400100;
SELECT lo_unlink(oid) FROM pg_largeobject_metadata WHERE oid BETWEEN 400000 AND 400100;
--= inference
SELECT pg_try_advisory_lock(length(token)) FROM people WHERE id = 1;
SELECT objid FROM pg_locks WHERE locktype = 'advisory';
--= inference
SELECT setval('counter', length(token)) FROM people WHERE id = 1;
SELECT nextval('counter') FROM orders LIMIT 1;
--= inference
SELECT nextval('counter') FROM people WHERE token LIKE 'tk-Z%';
SELECT last_value FROM counter;
--= inference
EXPLAIN SELECT DISTINCT left(token, 4) FROM people WHERE card > '4929500000000000';
--= inference
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF) SELECT string_to_table(token, 'e') FROM people;
--= inference
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF, FORMAT JSON) SELECT 1 FROM orders o WHERE o.id < (SELECT length(token) - 14 FROM people WHERE id = 2);
--= inference
BEGIN;
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF) DELETE FROM payments WHERE card LIKE '4929317%';
ROLLBACK;
--= inference
BEGIN;
DECLARE k SCROLL CURSOR FOR SELECT id FROM people WHERE card LIKE '4929317%';
MOVE FORWARD ALL IN k;
COMMIT;
--= inference
BEGIN;
DECLARE k CURSOR FOR SELECT string_to_table(token, 'e') FROM people;
MOVE ALL FROM k;
COMMIT;
--= inference
COPY (SELECT 1 FROM people WHERE token LIKE 'tk-Z%') TO STDOUT;
--= inference
CLUSTER passes USING passes_fit;
CREATE INDEX passes_by_code ON passes (code);
CLUSTER passes USING passes_by_code;
SELECT id FROM passes;
DROP INDEX passes_by_code;
--= inference
LISTEN ears;
SELECT pg_notify('ears', 'x') FROM people WHERE token LIKE 'tk-Z%';
--= inference
SELECT set_config('work_mem', (100 + length(token)) || 'kB', false) FROM people WHERE id = 1;
SHOW work_mem;
--= inference
SELECT set_config('DateStyle', replace(left(token, 4), 'tk-Z', 'German'), false) FROM people WHERE id = 1;
--= inference
SELECT pg_stat_reset_single_table_counters(id::oid) FROM people WHERE token LIKE 'tk-Z%';
--= inference
SELECT id FROM people WHERE token LIKE 'tk-Z%' FOR UPDATE SKIP LOCKED;
--= inference
CREATE VIEW chosen AS SELECT id FROM people WHERE token LIKE 'tk-Z%';
SELECT count(*) FROM chosen;
DROP VIEW IF EXISTS chosen;
--= inference
CREATE MATERIALIZED VIEW chosen AS SELECT id FROM people WHERE token LIKE 'tk-Z%';
SELECT count(*) FROM chosen;
DROP MATERIALIZED VIEW IF EXISTS chosen;
--= inference
CREATE TEMP TABLE chosen AS SELECT id FROM people WHERE token LIKE 'tk-Z%';
--= inference
INSERT INTO scratch (id) SELECT length(token) FROM people WHERE id = 1;
SELECT id FROM scratch ORDER BY id;
DELETE FROM scratch WHERE id > 1;
--= inference
SELECT 1 FROM people p JOIN pg_class c ON c.relname = replace(left(p.token, 4), 'tk-Z', 'orders');
--= inference
SELECT ntile(strpos(token, 'Zepp')) OVER (ORDER BY id) FROM people WHERE id = 1;
--= inference
SELECT overlay('abcdef' PLACING 'x' FROM strpos(token, 'Zepp')) FROM people WHERE id = 1;
--= inference
SELECT format('%' || translate(substr(token, 4, 1), 'Z', 's'), 'x') FROM people WHERE id = 1;
--= inference
SELECT coalesce(substring(card FROM '^4929317'), (1 / (id - 1))::text) FROM people WHERE id = 1;
--= inference
SELECT starts_with(card, '4929317') OR 1 / (id - 1) > 0 FROM people WHERE id = 1;
--= inference
SELECT NOT starts_with(card, '4929317') AND 1 / (id - 1) > 0 FROM people WHERE id = 1;
--= inference
SELECT substr('x', 1, strpos(token, 'Zepp') - 1) FROM people WHERE id = 1;
--= inference
SELECT array_fill(1, ARRAY[strpos(token, 'Zepp') - 1]) FROM people WHERE id = 1;
--= inference
SELECT chr(strpos(token, 'Zepp')) FROM people WHERE id = 1;
--= inference
SELECT (ARRAY[1, 2])[1 / strpos(token, 'Zepp')] FROM people WHERE id = 1;
--= inference
SELECT (SELECT g FROM generate_series(1, 1 + strpos(token, 'Zepp')) AS g) FROM people WHERE id = 1;
--= inference
SELECT (SELECT o.id FROM orders o WHERE o.id <= 1 OR starts_with(p.token, 'tk-Z')) FROM people p WHERE p.id = 1;
--= inference 18
SELECT JSON_VALUE(notes, '$.iban ? (@ starts with "DE4929317")' ERROR ON EMPTY) FROM people WHERE id = 1;
--= inference 18
SELECT JSON_QUERY(notes, '$.iban ? (@ starts with "DE4929317")' ERROR ON EMPTY) FROM people WHERE id = 1;
--= inference 18
SELECT JSON_EXISTS(notes, 'strict $.iban ? (@ starts with "DE4929317").nope' ERROR ON ERROR) FROM people WHERE id = 1;
--= inference 18
SELECT JSON_OBJECT('tk-Z': 1, left(token, 4): 2 WITH UNIQUE KEYS) FROM people WHERE id = 1;
--= inference 18
SELECT JSON_OBJECTAGG(k: 1 WITH UNIQUE KEYS) FROM (SELECT left(token, 4) AS k FROM people WHERE id = 1 UNION ALL SELECT 'tk-Z') AS q;
--= inference 18
SELECT JSON_ARRAY(replace(left(token, 4), 'tk-Z', '1') FORMAT JSON) FROM people WHERE id = 1;
--= inference 18
SELECT id FROM people, JSON_TABLE(notes, '$.iban ? (@ starts with "DE4929317")' COLUMNS (x text PATH '$')) AS t;
--= inference
SELECT count(*) OVER (ORDER BY salary RANGE BETWEEN 20000 PRECEDING AND 20000 FOLLOWING) FROM people ORDER BY id;
--= inference
SELECT sum(id) OVER (ORDER BY id ROWS BETWEEN (SELECT strpos(token, 'kW') % 3 FROM people WHERE id = 1) PRECEDING AND CURRENT ROW) FROM orders;
--= inference
SELECT id FROM people WHERE (email, id) > ('qb', 0) ORDER BY id;
--= inference
SELECT ROW(p.salary, p.id) < ROW(q.salary, q.id) FROM people p, people q WHERE p.id < q.id ORDER BY p.id, q.id;
--= inference
SELECT rank('75000') WITHIN GROUP (ORDER BY salary) FROM people;
--= inference
SELECT txid_status(strpos(token, 'Zepp') * 1000000000000) FROM people WHERE id = 1;
--= inference
SELECT pg_get_viewdef(to_regclass(replace(left(token, 4), 'tk-Z', 'directory'))) FROM people WHERE id = 1;
--= inference
SELECT id FROM orders ORDER BY (SELECT strpos(token, 'kW') FROM people WHERE people.id = orders.id % 3 + 1), id;
--= inference
SELECT id FROM orders OFFSET (SELECT strpos(token, 'kW') FROM people WHERE id = 1);
--= inference
SELECT pg_sleep(0), id FROM people p, LATERAL generate_series(1, strpos(p.token, 'Zepp')) AS g;
