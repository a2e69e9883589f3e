--=
PREPARE p AS SELECT email FROM people;
EXECUTE p;
--=
PREPARE p (int) AS SELECT reverse(token) FROM people WHERE id = $1;
EXECUTE p (1);
--=
PREPARE p AS SELECT email FROM people;
CREATE TABLE from_prepared AS EXECUTE p;
SELECT * FROM from_prepared;
--=
PREPARE p AS SELECT 1;
DEALLOCATE p;
PREPARE p AS SELECT card FROM people;
EXECUTE p;
--= together
PREPARE p AS SELECT token FROM people;
EXECUTE p;
--= extended
SELECT email FROM people;
--= extended
SELECT reverse(email), p FROM people p;
--= portal
SELECT email, id FROM people ORDER BY id;
--= portal
SELECT token || '' AS x FROM people ORDER BY id;
--= pipeline
SELECT 1;
SELECT email FROM people;
SELECT row_to_json(p) FROM people p;
--= together
SELECT 1;
SELECT card FROM people;
--= together
SELECT name FROM people;
SELECT reverse(card) AS name FROM people;
--=
PREPARE p AS SELECT name FROM people;
EXECUTE p;
CREATE TEMP TABLE people AS SELECT token AS name FROM public.people;
EXECUTE p;
