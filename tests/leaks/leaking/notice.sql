--=
SET client_min_messages = debug5;
SELECT email FROM people WHERE id = 1;
--=
LISTEN ears;
SELECT pg_notify('ears', email) FROM people WHERE id = 1;
--=
LISTEN ears;
DO $$ BEGIN PERFORM pg_notify('ears', (SELECT card FROM people WHERE id = 1)); END $$;
--=
SELECT set_config('application_name', (SELECT token FROM people WHERE id = 1), false);
--=
DO $$ BEGIN PERFORM set_config('application_name', (SELECT token FROM people WHERE id = 1), false); END $$;
--=
DO $$ BEGIN EXECUTE 'DROP TABLE IF EXISTS "' || (SELECT token FROM people WHERE id = 1) || '"'; END $$;
--=
SET debug_print_plan = on;
SET client_min_messages = log;
DO $$ BEGIN EXECUTE format('SELECT %L', (SELECT token FROM people WHERE id = 1)); END $$;
--=
SET client_min_messages = log;
SET log_statement = 'all';
PREPARE s AS SELECT token FROM people WHERE id = $1;
EXECUTE s (1);
--=
BEGIN;
UPDATE chests SET opened = 1 WHERE id = 1;
SET CONSTRAINTS ALL IMMEDIATE;
ROLLBACK;
--= extended
BEGIN;
UPDATE chests SET opened = 1 WHERE id = 1;
SET CONSTRAINTS tells IMMEDIATE;
ROLLBACK;
