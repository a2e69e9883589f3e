-- Everything of the twins but the rows. Secret columns are those that vault.TAGS names.

CREATE TYPE contact AS (mail text, phone text);
CREATE DOMAIN mail AS text;

CREATE TABLE people (
  id      int PRIMARY KEY,
  name    text NOT NULL,
  city    text NOT NULL,
  joined  date NOT NULL,
  score   int NOT NULL,
  email   text NOT NULL UNIQUE,
  card    text NOT NULL,
  token   text NOT NULL,
  salary  numeric(12, 2) NOT NULL,
  badge   bigint NOT NULL,
  born    date NOT NULL,
  seen    timestamptz NOT NULL,
  notes   jsonb NOT NULL,
  aliases text[] NOT NULL,
  span    int4range NOT NULL,
  member  uuid NOT NULL,
  photo   bytea NOT NULL,
  doc     text NOT NULL
);

CREATE TABLE orders (
  id        int PRIMARY KEY,
  person_id int NOT NULL,
  item      text NOT NULL,
  price     int NOT NULL,
  placed    timestamp NOT NULL,
  memo      text,
  extra     jsonb NOT NULL DEFAULT '{}'
);

CREATE TABLE scratch (id int, word text, number numeric, stamp timestamptz, bag jsonb);
CREATE TABLE labels (id int PRIMARY KEY, email text NOT NULL);
CREATE SEQUENCE counter;

-- The tag is on the number alone; what is generated from it is no less secret.
CREATE TABLE cards (id int PRIMARY KEY, number text NOT NULL, opening text GENERATED ALWAYS AS (left(number, 12)) STORED);

-- The tag is on the parent; the rows are in the partitions.
CREATE TABLE payments (id int NOT NULL, card text NOT NULL, amount int NOT NULL) PARTITION BY RANGE (id);
CREATE TABLE payments_low PARTITION OF payments FOR VALUES FROM (0) TO (100);
CREATE TABLE payments_high PARTITION OF payments FOR VALUES FROM (100) TO (1000);

-- The tag is on the child's column of the parent's name.
CREATE TABLE staff (desk int) INHERITS (people);
CREATE TABLE mailings (id int PRIMARY KEY, email mail NOT NULL, subject text NOT NULL);

-- What a constraint on a tagged column answers: taken or not, there or not, long enough or not.
CREATE TABLE passes (
  id    int PRIMARY KEY,
  code  text NOT NULL,
  floor int NOT NULL,
  width int NOT NULL DEFAULT 0,
  ratio int GENERATED ALWAYS AS (100 / (length(code) - width)) STORED,
  CHECK (floor < length(code))
);
CREATE UNIQUE INDEX passes_fit ON passes (floor, length(code));
CREATE TABLE letters (id int PRIMARY KEY, email text REFERENCES people (email));
CREATE TABLE desks (id int PRIMARY KEY);
CREATE TABLE bosses (id int PRIMARY KEY, desk int REFERENCES desks (id));

CREATE VIEW directory AS SELECT id, name, email AS reach FROM people;
CREATE VIEW directory_again AS SELECT id, reach AS way FROM directory;
CREATE VIEW backwards AS SELECT id, reverse(way) AS yaw FROM directory_again;
CREATE VIEW documents AS SELECT id, to_jsonb(p) AS all_of_it FROM people p;
CREATE VIEW harmless AS SELECT id, name, city FROM people;
CREATE VIEW pairs (a, b) AS SELECT token, card FROM people;
CREATE VIEW totals AS SELECT city, count(*) AS n, max(salary) AS top FROM people GROUP BY city;
CREATE MATERIALIZED VIEW kept AS SELECT id, email AS what FROM people WITH NO DATA;
CREATE RECURSIVE VIEW chain (n, mail) AS SELECT 1, email FROM people WHERE id = 1 UNION ALL SELECT n + 1, mail FROM chain WHERE n < 3;

CREATE FUNCTION email_of(int) RETURNS text LANGUAGE sql AS 'SELECT email FROM people WHERE id = $1';
CREATE FUNCTION email_by_plpgsql(int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  RETURN (SELECT email FROM people WHERE id = $1);
END $$;
CREATE FUNCTION everybody() RETURNS SETOF people LANGUAGE sql AS 'SELECT * FROM people';
CREATE FUNCTION wrapped(OUT x text, OUT y text) LANGUAGE sql AS 'SELECT email, card FROM people WHERE id = 1';
CREATE FUNCTION mirror(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT reverse($1)';
CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';
CREATE FUNCTION says_email(int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
  RAISE NOTICE 'it is %', (SELECT email FROM people WHERE id = $1);
  RETURN 1;
END $$;
CREATE FUNCTION fails_with_email(int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'no: %', (SELECT email FROM people WHERE id = $1) USING DETAIL = (SELECT card FROM people WHERE id = $1);
END $$;
CREATE FUNCTION joined_up(text, text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1 || $2';
CREATE AGGREGATE tally (text) (SFUNC = joined_up, STYPE = text, INITCOND = '');
-- Runs where the built-in function of that name seems to be called.
CREATE FUNCTION to_ascii(varchar) RETURNS text LANGUAGE sql AS 'SELECT string_agg(email, '','') FROM people';
