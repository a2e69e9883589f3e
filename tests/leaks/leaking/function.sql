--=
SELECT email_of(1);
--=
SELECT email_of(id) FROM orders;
--=
SELECT * FROM email_of(2) AS t (x);
--=
SELECT email_by_plpgsql(1);
--=
SELECT email FROM everybody();
--=
SELECT e.* FROM everybody() AS e;
--=
SELECT (everybody()).token;
--=
SELECT x, y FROM wrapped();
--=
SELECT mirror(email) FROM people;
--=
SELECT says_email(1);
--=
SELECT fails_with_email(1);
--=
CREATE FUNCTION pick() RETURNS text LANGUAGE sql AS 'SELECT token FROM people WHERE id = 1';
SELECT pick();
--=
CREATE FUNCTION pick_atomic() RETURNS SETOF text LANGUAGE sql BEGIN ATOMIC SELECT email FROM people; END;
SELECT pick_atomic();
--=
DO $$ DECLARE e text; BEGIN SELECT email INTO e FROM people WHERE id = 1; RAISE NOTICE '%', e; END $$;
--=
DO $$ DECLARE e text; BEGIN SELECT email INTO e FROM people WHERE id = 1; RAISE EXCEPTION '%', e; END $$;
--=
CREATE PROCEDURE shout(INOUT x text) LANGUAGE plpgsql AS $$ BEGIN x := (SELECT email FROM people WHERE id = 1); END $$;
CALL shout('');
--=
CREATE FUNCTION spill() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE '%', (SELECT card FROM people WHERE id = 1); RETURN NEW; END $$;
CREATE TRIGGER spills BEFORE INSERT ON scratch FOR EACH ROW EXECUTE FUNCTION spill();
INSERT INTO scratch (id) VALUES (77);
DROP TRIGGER spills ON scratch;
--=
CREATE OPERATOR !!! (FUNCTION = mirror, RIGHTARG = text);
SELECT !!! email FROM people;
DROP OPERATOR !!! (NONE, text);
--=
CREATE FUNCTION cast_it(people) RETURNS text LANGUAGE sql AS 'SELECT $1.email';
SELECT p.cast_it FROM people p;
--=
SELECT ts_rewrite('a'::tsquery, 'SELECT ''a''::tsquery, to_tsquery(''simple'', replace(token, ''-'', '''')) FROM people WHERE id = 1');
--=
SELECT * FROM ts_stat('SELECT to_tsvector(''simple'', token) FROM people') ORDER BY word;
