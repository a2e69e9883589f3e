--=
SELECT email::int FROM people;
--=
SELECT CAST(token AS date) FROM people;
--=
SELECT CAST(email AS jsonb) FROM people WHERE id = 2;
--=
SELECT to_regclass(email), email::regclass FROM people;
--=
SELECT 1 FROM people WHERE token::int = 1;
--= inference
SELECT 1 / (badge - 918273645546372819) FROM people WHERE id = 1;
--= inference
SELECT CASE WHEN card LIKE '4929317%' THEN 1 / (id - 1) END FROM people WHERE id = 1;
--=
SELECT email::money FROM people;
--=
SELECT uuid(email) FROM people;
--=
SELECT ('{' || email || '}')::int[] FROM people;
--=
SELECT (token || 'x')::inet FROM people;
--=
SELECT nextval(email) FROM people;
--=
SELECT set_config(token, 'x', false) FROM people WHERE id = 1;
--=
SELECT current_setting(email) FROM people;
--=
INSERT INTO people SELECT 91, name, city, joined, score, email, card, token, salary, badge, born, seen, notes, aliases, span, member, photo, doc FROM people WHERE id = 1;
--=
INSERT INTO labels SELECT NULL, email FROM people WHERE id = 1;
--=
UPDATE people SET id = NULL WHERE id = 1;
--=
CREATE UNIQUE INDEX tight ON mailings (email);
--=
ALTER TABLE cards ADD COLUMN wrong int GENERATED ALWAYS AS (number::int) STORED;
--= 18
SELECT jsonb_path_query(to_jsonb(email), 'strict $.double()') FROM people;
--= extended
SELECT email::int FROM people WHERE id = 1;
