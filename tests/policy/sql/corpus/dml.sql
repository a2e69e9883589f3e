-- What each statement amounts to: effects | reads | writes | flags. Rows are added, never taken away.
--= insert |  | t |
INSERT INTO t VALUES (1)
--= insert |  | t |
INSERT INTO t (a, b) VALUES (1, DEFAULT), (2, 3)
--= insert |  | t |
INSERT INTO t DEFAULT VALUES
--= insert select | u | t |
INSERT INTO t SELECT * FROM u
--= insert select | t | t |
INSERT INTO t SELECT * FROM t
--= insert select | u | t |
INSERT INTO t TABLE u
--= insert select |  | t |
INSERT INTO t SELECT 1
--= insert select | u | t |
INSERT INTO t VALUES ((SELECT max(x) FROM u))
--= insert select | z | t | returning
INSERT INTO t AS x VALUES (1) RETURNING x.id, (SELECT y FROM z)
--= insert |  | t |
INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING
--= insert update |  | t |
INSERT INTO t VALUES (1) ON CONFLICT (id) DO UPDATE SET a = excluded.a
--= insert select update | u v | t |
INSERT INTO t VALUES (1) ON CONFLICT (id) DO UPDATE SET a = (SELECT b FROM u) WHERE t.x IN (SELECT y FROM v)
--= insert |  | t | returning
INSERT INTO t VALUES (1) ON CONFLICT ON CONSTRAINT t_pkey DO NOTHING RETURNING id
--= insert |  | t |
INSERT INTO t OVERRIDING SYSTEM VALUE VALUES (1)
--= insert select |  | t |
WITH t AS (SELECT 1) INSERT INTO t SELECT * FROM t
--= insert select | a | b |
WITH x AS (SELECT * FROM a) INSERT INTO b SELECT * FROM x
--= insert select | a | b |
INSERT INTO b WITH x AS (SELECT * FROM a) SELECT * FROM x
--= insert |  | s.T |
INSERT INTO s."T" (id) VALUES (1)
--= insert |  | pg_catalog.pg_class |
INSERT INTO pg_class VALUES (1)
--= update |  | t | no_where
UPDATE t SET x = 1
--= update |  | t |
UPDATE t SET x = 1 WHERE id = 2
--= update |  | s.t |
UPDATE ONLY s.t AS a SET x = a.y + 1 WHERE a.id = $1
--= select update | u | t |
UPDATE t SET x = (SELECT y FROM u) WHERE id = 1
--= select update | u v | t |
UPDATE t SET (a, b) = (SELECT c, d FROM u) WHERE id IN (SELECT id FROM v)
--= update |  | t |
UPDATE t SET a = DEFAULT, b[1] = 2, c.d = 3 WHERE id = 1
--= select update | u | t |
UPDATE t SET x = u.x FROM u WHERE t.id = u.id
--= select update | t | t |
UPDATE t SET x = 1 FROM t AS t2 WHERE t.id = t2.id
--= update |  | t | returning
UPDATE t SET x = 1 WHERE id = 1 RETURNING *
--= update |  | t | returning
UPDATE t SET x = 1 WHERE id = 1 RETURNING old.x, new.x
--= update |  | t | returning
UPDATE t SET x = 1 WHERE id = 1 RETURNING WITH (OLD AS o, NEW AS n) o.x, n.x
--= update |  | t | tautology
UPDATE t SET x = 1 WHERE true
--= update |  | t |
UPDATE t SET x = 1 WHERE CURRENT OF c
--= select update |  | t |
WITH t AS (SELECT 1) UPDATE t SET x = 1 WHERE id IN (SELECT * FROM t)
--= set update |  | pg_catalog.pg_settings | role_change session_setting
UPDATE pg_settings SET setting = 'x' WHERE name = 'search_path'
--= set update |  | pg_catalog.pg_settings | role_change session_setting
UPDATE pg_catalog.pg_settings SET setting = 'evil' WHERE name = 'role'
--= delete |  | t | no_where
DELETE FROM t
--= delete |  | t |
DELETE FROM t WHERE id = 1
--= delete |  | t | returning
DELETE FROM ONLY t WHERE id = 1 RETURNING id
--= delete select | u v | t |
DELETE FROM t USING u, v WHERE t.id = u.id AND u.x = v.x
--= delete select | u | t | no_where
DELETE FROM t USING u
--= delete select | u | t | tautology
DELETE FROM t WHERE id IN (SELECT id FROM u WHERE true)
--= delete |  | t | tautology
DELETE FROM t WHERE 1 = 1
--= delete |  | t | tautology
DELETE FROM t WHERE NOT false
--= delete |  | t | tautology
DELETE FROM t WHERE true OR id = 1
--= delete |  | t | tautology
DELETE FROM t WHERE 'a' = 'a'
--= delete |  | t | tautology
DELETE FROM t WHERE 'a'::text = 'a'::text
--= delete |  | t | tautology
DELETE FROM t WHERE id = id
--= delete |  | t | tautology
DELETE FROM t WHERE t.id = t.id
--= delete |  | t | tautology
DELETE FROM t WHERE id <= id
--= delete |  | t | tautology
DELETE FROM t WHERE 1 IN (1, 2)
--= delete |  | t | tautology
DELETE FROM t WHERE id IN (5, id)
--= delete |  | t | tautology
DELETE FROM t WHERE 2 > 1
--= delete |  | t | tautology
DELETE FROM t WHERE 1 + 1 = 2
--= delete |  | t | tautology
DELETE FROM t WHERE 3 BETWEEN 1 AND 5
--= delete |  | t | tautology
DELETE FROM t WHERE x IS NULL OR x IS NOT NULL
--= delete |  | t | tautology
DELETE FROM t WHERE x = 1 OR x <> 1
--= delete |  | t | tautology
DELETE FROM t WHERE x = 1 OR NOT x = 1
--= delete |  | t | tautology
DELETE FROM t WHERE x > 5 OR x <= 5
--= delete |  | t | tautology
DELETE FROM t WHERE x LIKE '%'
--= delete |  | t | tautology
DELETE FROM t WHERE x NOT LIKE 'a%' OR x LIKE 'a%'
--= delete |  | t | tautology
DELETE FROM t WHERE x ~ '.*'
--= delete |  | t | tautology
DELETE FROM t WHERE NULL IS NULL
--= delete |  | t | tautology
DELETE FROM t WHERE 1 IS NOT NULL
--= delete |  | t | tautology
DELETE FROM t WHERE ctid IS NOT NULL
--= delete |  | t | tautology
DELETE FROM t WHERE tableoid = tableoid
--= delete select |  | t | tautology
DELETE FROM t WHERE EXISTS (SELECT 1)
--= delete select |  | t | tautology
DELETE FROM t WHERE (SELECT true)
--= delete |  | t | tautology
DELETE FROM t WHERE COALESCE(true, x)
--= delete |  | t | tautology
DELETE FROM t WHERE COALESCE(NULL, true)
--= delete |  | t | tautology
DELETE FROM t WHERE CASE WHEN x THEN true ELSE true END
--= delete |  | t | tautology
DELETE FROM t WHERE CASE WHEN 1 = 1 THEN true ELSE x END
--= delete |  | t | tautology
DELETE FROM t WHERE 't'
--= delete |  | t | tautology
DELETE FROM t WHERE 'yes'::boolean
--= delete |  | t | tautology
DELETE FROM t WHERE 1::boolean
--= delete |  | t | tautology
DELETE FROM t WHERE CAST('on' AS bool)
--= delete |  | t | tautology
DELETE FROM t WHERE true IS TRUE
--= delete |  | t | tautology
DELETE FROM t WHERE false IS NOT TRUE
--= delete |  | t | tautology
DELETE FROM t WHERE NULL IS UNKNOWN
--= delete |  | t | tautology
DELETE FROM t WHERE (1, 2) = (1, 2)
--= delete |  | t | tautology
DELETE FROM t WHERE $1 = $1
--= delete |  | t | tautology
DELETE FROM t WHERE x IS NOT DISTINCT FROM x
--= delete |  | t | tautology
DELETE FROM t WHERE NOT (x IS DISTINCT FROM x)
--= delete |  | t | tautology
DELETE FROM t WHERE NOT (1 = 2 AND x = 3)
--= delete |  | t | tautology
DELETE FROM t WHERE NOT (x <> x)
--= delete |  | t | tautology
DELETE FROM t WHERE 'a' || 'b' = 'ab'
--= delete |  | t | tautology
DELETE FROM t WHERE 1 = ANY (ARRAY[1, 2])
--= delete |  | t | tautology
DELETE FROM t WHERE lower(x) = lower(x)
--= delete |  | t | tautology
DELETE FROM t WHERE now() = now()
--= delete |  | t | tautology
DELETE FROM t WHERE -1 = -1
--= delete |  | t | tautology
DELETE FROM t WHERE 1.0 = 1
--= delete |  | t | tautology
DELETE FROM t WHERE '1' = 1
--= delete |  | t | tautology
DELETE FROM t WHERE current_user = current_user
--= delete |  | t |
DELETE FROM t WHERE random() = random()
--= delete |  | t |
DELETE FROM t WHERE random() < 2
--= delete |  | t |
DELETE FROM t WHERE x = y
--= delete |  | t |
DELETE FROM t WHERE t.id = u.id
--= delete |  | t |
DELETE FROM t WHERE 1 = 2
--= delete |  | t |
DELETE FROM t WHERE false
--= delete |  | t |
DELETE FROM t WHERE NULL
--= delete |  | t |
DELETE FROM t WHERE x LIKE 'a%'
--= delete |  | t |
DELETE FROM t WHERE id = 1 AND 1 = 1
--= delete |  | t | tautology
DELETE FROM t WHERE 1 = 1 AND 2 = 2
--= delete |  | t |
DELETE FROM t WHERE x = 1 OR x <> 2
--= delete |  | t |
DELETE FROM t WHERE x IS NULL OR y IS NOT NULL
--= delete |  | t |
DELETE FROM t WHERE 'a' = 'b' OR 2 < 1
--= delete select |  | t | data_modifying_cte no_where
WITH d AS (DELETE FROM t) SELECT 1
--= delete select |  | t | data_modifying_cte returning
WITH d AS (DELETE FROM t WHERE id = 1 RETURNING *) SELECT * FROM d
--= delete insert select |  | a b | data_modifying_cte no_where returning
WITH d AS (DELETE FROM a RETURNING *) INSERT INTO b SELECT * FROM d
--= delete insert select update | e | a b c | data_modifying_cte no_where tautology
WITH u AS (UPDATE a SET x = 1), i AS (INSERT INTO b VALUES (1)), d AS (DELETE FROM c WHERE true) SELECT * FROM e
--= delete select |  | d | data_modifying_cte returning
WITH d AS (DELETE FROM d WHERE id = 1 RETURNING *) SELECT * FROM d
--= delete merge select | s | t | data_modifying_cte returning
WITH x AS (MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN DELETE RETURNING *) SELECT * FROM x
--= select | a |  |
SELECT * FROM a WHERE id IN (WITH x AS (SELECT 1) SELECT * FROM x)
--= merge select update | s | t |
MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN UPDATE SET x = s.x
--= delete insert merge select | s | t |
MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (s.id)
--= merge select | s | t |
MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN DO NOTHING
--= delete merge select | s | t |
MERGE INTO t USING s ON t.id = s.id WHEN NOT MATCHED BY SOURCE THEN DELETE
--= insert merge select | a b | t |
MERGE INTO t USING (SELECT * FROM a JOIN b USING (id)) s ON t.id = s.id WHEN NOT MATCHED THEN INSERT DEFAULT VALUES
--= merge select update | u | t |
MERGE INTO t USING (VALUES (1)) s(id) ON t.id = s.id WHEN MATCHED THEN UPDATE SET x = (SELECT max(y) FROM u)
--= delete merge select | s | t | tautology
MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE
--= delete merge select | s v | t | returning
MERGE INTO t USING s ON t.id = s.id WHEN MATCHED AND s.x IN (SELECT x FROM v) THEN DELETE RETURNING merge_action(), t.*
--= delete merge select | src | t |
WITH s AS (SELECT * FROM src) MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN DELETE
--= truncate |  | t |
TRUNCATE t
--= truncate |  | a s.b | cascade
TRUNCATE TABLE ONLY a, s.b RESTART IDENTITY CASCADE
--= copy_out | t |  |
COPY t TO STDOUT
--= copy_in |  | t |
COPY t (a, b) FROM STDIN
--= copy_in |  | s.t |
COPY s.t FROM STDIN WITH (FORMAT csv) WHERE a IN (1, 2)
--= copy_out | t |  | file
COPY t TO '/tmp/x'
--= copy_in |  | t | file
COPY t FROM '/etc/passwd'
--= copy_in |  | t | program
COPY t FROM PROGRAM 'id'
--= copy_out | t |  | program
COPY t TO PROGRAM 'curl http://x'
--= copy_out select | t |  |
COPY (SELECT * FROM t) TO STDOUT
--= copy_out select |  |  | program
COPY (SELECT 1) TO PROGRAM 'sh'
--= copy_out delete |  | t | no_where returning
COPY (DELETE FROM t RETURNING *) TO STDOUT
--= copy_out insert |  | t | file returning
COPY (INSERT INTO t VALUES (1) RETURNING id) TO '/tmp/x'
--= copy_out update |  | t | no_where returning
COPY (UPDATE t SET x = 1 RETURNING *) TO STDOUT
--= copy_out delete select |  | t | data_modifying_cte no_where returning
COPY (WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d) TO STDOUT
--= copy_out |  |  |
COPY (VALUES (1)) TO STDOUT
--= copy_out | pg_catalog.pg_authid |  |
COPY pg_authid TO STDOUT
