-- What each statement amounts to: effects | reads | writes | flags. Rows are added, never taken away.
--= transaction |  |  |
BEGIN
--= transaction |  |  |
START TRANSACTION ISOLATION LEVEL SERIALIZABLE READ ONLY
--= transaction |  |  |
COMMIT
--= transaction |  |  |
COMMIT AND CHAIN
--= transaction |  |  |
END
--= transaction |  |  |
ROLLBACK
--= transaction |  |  |
ABORT
--= transaction |  |  |
SAVEPOINT s
--= transaction |  |  |
RELEASE s
--= transaction |  |  |
ROLLBACK TO s
--= transaction |  |  |
PREPARE TRANSACTION 'x'
--= transaction |  |  |
COMMIT PREPARED 'x'
--= set |  |  | session_setting
SET search_path = evil
--= set |  |  | session_setting
SET LOCAL search_path TO DEFAULT
--= set |  |  | session_setting
SET SESSION statement_timeout = 0
--= set |  |  | session_setting
SET TIME ZONE 'UTC'
--= set |  |  | session_setting
SET client_encoding = 'LATIN1'
--= set |  |  | session_setting
SET NAMES 'UTF8'
--= set |  |  | role_change session_setting
SET ROLE postgres
--= set |  |  | role_change session_setting
SET ROLE NONE
--= set |  |  | role_change session_setting
SET SESSION ROLE postgres
--= set |  |  | role_change session_setting
SET "role" = 'postgres'
--= set |  |  | role_change session_setting
SET SESSION AUTHORIZATION postgres
--= set |  |  | role_change session_setting
SET SESSION AUTHORIZATION DEFAULT
--= set |  |  | session_setting
SET TRANSACTION ISOLATION LEVEL SERIALIZABLE
--= set |  |  | session_setting
SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE
--= set |  |  | session_setting
SET TRANSACTION SNAPSHOT 'x'
--= set |  |  | session_setting
SET CONSTRAINTS ALL DEFERRED
--= set |  |  | session_setting
SET myapp.tenant = 'x'
--= set |  |  | session_setting
RESET search_path
--= set |  |  | role_change session_setting
RESET ROLE
--= set |  |  | role_change session_setting
RESET SESSION AUTHORIZATION
--= set |  |  | session_setting
RESET ALL
--= show |  |  |
SHOW search_path
--= show |  |  |
SHOW ALL
--= discard |  |  | role_change session_setting
DISCARD ALL
--= discard |  |  |
DISCARD PLANS
--= listen |  |  |
LISTEN c
--= notify |  |  |
NOTIFY c, 'payload'
--= unlisten |  |  |
UNLISTEN *
--= lock |  |  |
LOCK TABLE a, s.b IN ACCESS EXCLUSIVE MODE
--= declare_cursor select | t |  |
DECLARE c CURSOR FOR SELECT * FROM t
--= declare_cursor select | t |  | locking
DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT * FROM t FOR UPDATE
--= fetch |  |  |
FETCH ALL FROM c
--= fetch |  |  |
FETCH 10 c
--= fetch |  |  |
MOVE FORWARD 5 IN c
--= close_cursor |  |  |
CLOSE c
--= close_cursor |  |  |
CLOSE ALL
--= prepare select | t |  | deferred
PREPARE p AS SELECT * FROM t
--= delete prepare |  | t | deferred no_where
PREPARE p (int) AS DELETE FROM t
--= insert prepare select | u | t | deferred returning
PREPARE p AS INSERT INTO t SELECT * FROM u RETURNING id
--= execute |  |  | opaque
EXECUTE p
--= execute |  |  | opaque
EXECUTE p (1, (2 + 3))
--= deallocate |  |  |
DEALLOCATE p
--= deallocate |  |  |
DEALLOCATE ALL
--= explain |  |  |
EXPLAIN SELECT * FROM t
--= explain |  |  |
EXPLAIN DELETE FROM t
--= explain |  |  |
EXPLAIN VERBOSE UPDATE t SET x = 1
--= explain |  |  |
EXPLAIN (COSTS off, FORMAT json) INSERT INTO t SELECT * FROM u
--= delete explain |  | t | explain_analyze no_where
EXPLAIN ANALYZE DELETE FROM t
--= explain select | t |  | explain_analyze
EXPLAIN ANALYZE VERBOSE SELECT * FROM t
--= delete explain |  | t | explain_analyze
EXPLAIN (ANALYZE) DELETE FROM t WHERE id = 1
--= delete explain |  | t | explain_analyze
EXPLAIN (ANALYZE true) DELETE FROM t WHERE id = 1
--= delete explain |  | t | explain_analyze
EXPLAIN (ANALYZE on, BUFFERS) DELETE FROM t WHERE id = 1
--= delete explain |  | t | explain_analyze
EXPLAIN (ANALYZE 1) DELETE FROM t WHERE id = 1
--= delete explain |  | t | explain_analyze
EXPLAIN (ANALYZE 'TRUE') DELETE FROM t WHERE id = 1
--= explain |  |  |
EXPLAIN (analyze false) DELETE FROM t WHERE id = 1
--= explain |  |  |
EXPLAIN (ANALYZE 0) DELETE FROM t WHERE id = 1
--= explain |  |  |
EXPLAIN (ANALYZE off) DELETE FROM t WHERE id = 1
--= delete explain |  | t | explain_analyze
EXPLAIN (ANALYZE false, ANALYZE true) DELETE FROM t WHERE id = 1
--= explain |  |  |
EXPLAIN (ANALYZE true, ANALYZE false) DELETE FROM t WHERE id = 1
--= delete explain |  | t | explain_analyze
EXPLAIN (ANALYZE maybe) DELETE FROM t WHERE id = 1
--= explain |  |  |
EXPLAIN EXECUTE p
--= execute explain |  |  | explain_analyze opaque
EXPLAIN ANALYZE EXECUTE p
--= explain |  |  |
EXPLAIN CREATE TABLE t AS SELECT * FROM u
--= create explain select | u | t | ddl explain_analyze
EXPLAIN ANALYZE CREATE TABLE t AS SELECT * FROM u
--= explain |  |  |
EXPLAIN DECLARE c CURSOR FOR SELECT * FROM t
--= explain |  |  |
EXPLAIN SELECT evil(x) FROM t
--= explain |  |  |
EXPLAIN SELECT * FROM t WHERE true
--= do unknown |  |  | opaque
DO $$ BEGIN DELETE FROM t; END $$
--= do unknown |  |  | opaque
DO LANGUAGE plpgsql 'BEGIN END'
--= call |  |  | opaque
CALL p()
--= call |  |  | opaque
CALL s.p((1), 'x')
--= vacuum |  |  |
VACUUM
--= vacuum |  |  |
VACUUM t
--= analyze vacuum |  |  |
VACUUM (FULL, ANALYZE) s.t
--= analyze vacuum |  |  |
VACUUM ANALYZE t
--= vacuum |  |  |
VACUUM (ANALYZE false) t
--= analyze |  |  |
ANALYZE
--= analyze |  |  |
ANALYZE t (a, b)
--= cluster |  |  |
CLUSTER
--= cluster |  |  |
CLUSTER t USING i
--= reindex |  |  |
REINDEX TABLE t
--= reindex |  |  |
REINDEX INDEX i
--= reindex |  |  |
REINDEX SCHEMA s
--= reindex |  |  |
REINDEX DATABASE d
--= checkpoint |  |  |
CHECKPOINT
--= load |  |  | file opaque superuser
LOAD 'evil'
--= select |  |  | side_effect
SELECT nextval('s'), setval('s', 1), currval('s')
--= select |  |  | side_effect
SELECT pg_advisory_lock(1)
--= select |  |  |
SELECT pg_sleep(10)
--= select |  |  | file
SELECT pg_read_file('/etc/passwd')
--= select |  |  | file
SELECT pg_ls_dir('/')
--= select |  |  | file side_effect
SELECT lo_import('/etc/passwd')
--= select |  |  | file side_effect
SELECT lo_export(1, '/tmp/x')
--= select |  |  | side_effect
SELECT lo_get(1), lo_create(0)
--= select |  |  | side_effect
SELECT pg_terminate_backend(1)
--= select |  |  | side_effect
SELECT pg_reload_conf()
--= select unknown |  |  | opaque
SELECT query_to_xml('DELETE FROM t', true, true, '')
--= select unknown |  |  | opaque
SELECT pg_catalog.query_to_xml($1, true, true, '')
--= select unknown |  |  | opaque
SELECT table_to_xml('customers', true, true, '')
--= select unknown |  |  | opaque
SELECT ts_stat('SELECT x FROM t')
--= select unknown |  |  | opaque
SELECT ts_rewrite('a'::tsquery, 'SELECT t, s FROM aliases')
--= select |  |  |
SELECT ts_rewrite('a'::tsquery, 'b'::tsquery, 'c'::tsquery)
--= call select |  |  | opaque
SELECT evil.ts_rewrite(1, 2, 3)
--= select unknown |  |  | opaque
SELECT database_to_xml(true, true, '')
--= select unknown |  |  | network opaque
SELECT * FROM dblink('host=evil', 'SELECT 1') AS x (a int)
--= select unknown |  |  | network opaque
SELECT ext.dblink_exec('DELETE FROM t')
--= select set |  |  | session_setting
SELECT set_config('search_path', 'evil', false)
--= select set |  |  | role_change session_setting
SELECT set_config('role', 'postgres', false)
--= select set |  |  | role_change session_setting
SELECT set_config('ROLE', 'postgres', false)
--= select set |  |  | role_change session_setting
SELECT set_config($1, 'x', false)
--= select set |  |  | role_change session_setting
SELECT set_config('ro' || 'le', 'x', false)
--= select set |  |  | role_change session_setting shadows_catalog
SELECT set_config(is_local => false, setting_name => 'role', new_value => 'x')
--= set |  |  | session_setting shadows_catalog
SET search_path = evil, pg_catalog;
--= set |  |  | session_setting
SET search_path = pg_catalog, public;
--= select set |  |  | session_setting shadows_catalog
SELECT set_config('search_path', 'evil, PG_catalog', false);
--= select set |  |  | session_setting shadows_catalog
SELECT set_config('search_path', concat('evil', ', pg_catalog'), false);
--= notify select |  |  | side_effect
SELECT pg_notify('c', 'x')
--= select |  |  |
SELECT current_setting('x'), version(), now(), pg_backend_pid()
--= call select |  |  | opaque
SELECT my_function(1)
--= call select | t |  | opaque
SELECT public.lower(x) FROM t
--= call select | t |  | opaque
SELECT evil.count(*) FROM t
--= select | t |  |
SELECT pg_catalog.lower(x) FROM t
--= select | t |  |
SELECT lower(x), upper(y), jsonb_build_object('a', z), row_to_json(t) FROM t
--= call select | t |  | opaque
SELECT * FROM my_set_function(1, (SELECT x FROM t))
--= call select | t |  | opaque
SELECT * FROM t WHERE my_predicate(x)
--= call select | t |  | opaque
SELECT * FROM t ORDER BY my_order(x)
--= call select | t |  | opaque
SELECT my_window(x) OVER (ORDER BY y) FROM t
--= select |  |  | opaque side_effect
SELECT pg_logical_slot_get_changes('s', NULL, NULL)
--= select |  |  | side_effect
SELECT pg_stat_reset()
--= select |  |  | side_effect
SELECT pg_switch_wal()
--= select |  |  |
SELECT * FROM pg_stat_get_activity(NULL)
--= select |  |  |
SELECT pg_get_viewdef('v'), has_table_privilege('t', 'select'), to_regclass('t')
--= call select |  |  | opaque
SELECT not_yet_known_function_of_postgres_20()
--= select | t |  |
SELECT int4(x), date(y), regclass('t') FROM t
