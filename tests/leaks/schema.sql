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
CREATE EXTENSION fuzzystrmatch;
CREATE FUNCTION tidy(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN upper(trim($1)); END $$;
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

-- What runs unasked, made by the owner of the database: triggers, rules, defaults, checks, row-level policies, domains, casts, operators.
CREATE FUNCTION lies(int) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN (SELECT email FROM people WHERE id = $1); END $$;
CREATE FUNCTION stamper() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.what := (SELECT email FROM people WHERE id = 1); RETURN NEW; END $$;
CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE NOTICE 'it is %', (SELECT card FROM people WHERE id = 1);
  RETURN NULL;
END $$;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not %', (SELECT card FROM people WHERE id = 1); END $$;
CREATE FUNCTION turn() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.way := NEW.code; RETURN NEW; END $$;
CREATE TABLE visits (id int, who text, what text);
CREATE TRIGGER stamps BEFORE INSERT OR UPDATE ON visits FOR EACH ROW EXECUTE FUNCTION stamper();
CREATE VIEW visited AS SELECT id, what FROM visits;
CREATE TABLE loud (id int);
CREATE TRIGGER shouts AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON loud FOR EACH STATEMENT EXECUTE FUNCTION shout();
CREATE TABLE closed (id int);
CREATE TRIGGER refuses AFTER INSERT ON closed FOR EACH ROW EXECUTE FUNCTION refuse();
CREATE TABLE gates (id int, way text, code text);
CREATE TRIGGER turns BEFORE UPDATE ON gates FOR EACH ROW EXECUTE FUNCTION turn();
CREATE TABLE defaulted (id int, what text DEFAULT email_of(1));
CREATE TABLE checked (id int, guess text, CHECK (guess <> email_of(1)));
CREATE TABLE failing (id int CHECK (email_of(id)::int > 0));
CREATE TABLE made (id int, what text GENERATED ALWAYS AS (lies(id)) STORED);
CREATE TABLE indexed (id int);
CREATE INDEX ON indexed ((lies(id)::int));
CREATE TABLE ruled (id int, word text);
CREATE RULE peeks AS ON INSERT TO ruled DO ALSO SELECT email FROM people;
CREATE TABLE overruled (id int, word text);
CREATE RULE peeks AS ON UPDATE TO overruled DO INSTEAD SELECT reverse(email) FROM people;
CREATE VIEW ruled_view AS SELECT id, email FROM labels;
CREATE RULE views AS ON INSERT TO ruled_view DO INSTEAD
  INSERT INTO labels VALUES (NEW.id, 'x') RETURNING id, (SELECT email FROM people WHERE people.id = 1);
CREATE DOMAIN trapdoor AS text CHECK (email_of(1)::regclass IS NOT NULL);
CREATE DOMAIN trap_of_type AS text CHECK (email_of(1)::regtype IS NOT NULL);
CREATE DOMAIN guessed AS text CHECK (VALUE <> email_of(1));
CREATE TYPE trapping AS (a trapdoor);
CREATE TYPE trapping_type AS (a trap_of_type);
CREATE TABLE trapped (id int, door trapdoor);
CREATE TYPE oddity AS (n int);
CREATE FUNCTION odd_text(oddity) RETURNS text LANGUAGE sql AS 'SELECT email FROM people WHERE id = ($1).n';
CREATE CAST (oddity AS text) WITH FUNCTION odd_text(oddity);
CREATE TABLE oddities (id int, odd oddity);
CREATE FUNCTION told_by(text, int) RETURNS text LANGUAGE sql AS 'SELECT $1 || email FROM people WHERE id = $2';
CREATE OPERATOR ## (LEFTARG = text, RIGHTARG = int, FUNCTION = told_by);
CREATE VIEW operated AS SELECT id, email ## 1 AS o FROM labels;
CREATE TABLE lockers (id int, code text, floor int);
ALTER TABLE lockers ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON lockers USING (code = current_setting('app.code', true) OR code LIKE 'tk-Z%');
CREATE TABLE chambers (id int, floor int);
ALTER TABLE chambers ENABLE ROW LEVEL SECURITY;
CREATE POLICY seen ON chambers USING (says_email(id) > 0);
CREATE TABLE cells (id int, floor int);
ALTER TABLE cells ENABLE ROW LEVEL SECURITY;
CREATE POLICY seen ON cells USING (lies(id)::int > 0);
CREATE TABLE niches (id int, floor int);
ALTER TABLE niches ENABLE ROW LEVEL SECURITY;
CREATE POLICY seen ON niches USING (EXISTS (SELECT FROM people WHERE people.id = niches.id AND token LIKE 'tk-Z%'));
CREATE FUNCTION atomically() RETURNS text LANGUAGE sql BEGIN ATOMIC SELECT email FROM people WHERE id = 1; END;
CREATE FUNCTION atomic_rows() RETURNS SETOF people LANGUAGE sql BEGIN ATOMIC SELECT * FROM people; END;
CREATE FUNCTION atomic_return() RETURNS text LANGUAGE sql RETURN email_of(2);
CREATE VIEW over_atomic AS SELECT id, atomically() AS a FROM labels;
CREATE VIEW over_atomic_again AS SELECT id, upper(a) AS b FROM over_atomic;
CREATE VIEW calling AS SELECT id, email_of(id) AS m FROM labels;
CREATE VIEW calling_noisily AS SELECT id, says_email(id) AS n FROM labels;
CREATE VIEW calling_failing AS SELECT id FROM labels WHERE fails_with_email(id) > 0;
CREATE VIEW calling_cast AS SELECT id, CAST(ROW(id)::oddity AS text) AS c FROM labels;
CREATE VIEW calling_text AS SELECT query_to_xml('SELECT email FROM people', true, false, '')::text AS x;
CREATE VIEW statistics_of_all AS SELECT attname, histogram_bounds::text AS h FROM pg_stats WHERE tablename = 'people';

-- What fills columns that carry no tag from those that do: triggers, rules, defaults.
CREATE TABLE ledger (id int GENERATED ALWAYS AS IDENTITY, what text, number int, body jsonb);
CREATE FUNCTION audited() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE kept jsonb;
BEGIN
  kept := to_jsonb(NEW);
  INSERT INTO ledger (what, number, body) VALUES (TG_OP || ' ' || TG_TABLE_NAME, NEW.floor, kept);
  RETURN NEW;
END $$;
CREATE TABLE attics (id int, code text, floor int);
CREATE TRIGGER audits AFTER UPDATE ON attics FOR EACH ROW EXECUTE FUNCTION audited();
CREATE TABLE notebook (id int, line text);
CREATE TABLE cellars (id int, code text, floor int);
CREATE RULE keeps AS ON UPDATE TO cellars DO ALSO INSERT INTO notebook SELECT OLD.id, p.token FROM ONLY people p WHERE p.id = OLD.id;
CREATE TABLE jotter (line text);
CREATE FUNCTION jots() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE 'INSERT INTO jotter SELECT token FROM people';
  RETURN NULL;
END $$;
CREATE TABLE lofts (id int);
CREATE TRIGGER jots AFTER INSERT ON lofts FOR EACH ROW EXECUTE FUNCTION jots();
CREATE FUNCTION cries() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_notify('cries', NEW.code); RETURN NULL; END $$;
CREATE TABLE towers (id int, code text, floor int);
CREATE TRIGGER cries AFTER UPDATE ON towers FOR EACH ROW EXECUTE FUNCTION cries();
CREATE TABLE papers (id int, code text, search tsvector);
CREATE TRIGGER searches BEFORE INSERT OR UPDATE ON papers
  FOR EACH ROW EXECUTE FUNCTION tsvector_update_trigger(search, 'pg_catalog.simple', code);

-- What runs unasked and is no danger.
CREATE TABLE journal (tab text, row_id int, op text);
CREATE FUNCTION journals() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO journal VALUES (TG_TABLE_NAME, NEW.id, TG_OP);
  RETURN NEW;
END $$;
CREATE FUNCTION labelled() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE found_label text;
BEGIN
  SELECT email INTO found_label FROM labels WHERE id = NEW.label;
  IF found_label IS NULL THEN
    RAISE EXCEPTION 'no label %', NEW.label;
  END IF;
  NEW.label_text := found_label;
  RETURN NEW;
END $$;
CREATE TABLE tasks (id int PRIMARY KEY, label int, label_text text, owner int);
CREATE TRIGGER labels BEFORE INSERT OR UPDATE ON tasks FOR EACH ROW EXECUTE FUNCTION labelled();
CREATE TRIGGER writes AFTER INSERT OR UPDATE ON tasks FOR EACH ROW EXECUTE FUNCTION journals();
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.word IS DISTINCT FROM OLD.word THEN
    NEW.stamp := timestamptz '2024-05-05 00:00+00';
  END IF;
  RETURN NEW;
END $$;
CREATE TABLE touched (id int, word text, stamp timestamptz);
CREATE TRIGGER touches BEFORE UPDATE ON touched FOR EACH ROW EXECUTE FUNCTION touch();
CREATE FUNCTION is_short(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN length($1) < 9; END $$;
CREATE DOMAIN short AS text CHECK (is_short(VALUE));
CREATE TABLE shorts (id int, word short, CHECK (is_short(word)));
CREATE TABLE alcoves (id int, code text, floor int);
ALTER TABLE alcoves ENABLE ROW LEVEL SECURITY;
CREATE POLICY low ON alcoves USING (floor < 3);

-- No tag is on the foreign key, whose values are those that it refers to.
CREATE TABLE seals (code text PRIMARY KEY);
CREATE TABLE imprints (id int PRIMARY KEY, mark text NOT NULL REFERENCES seals, place text NOT NULL);

-- A trigger that speaks when the transaction ends, or is told not to wait for that.
CREATE TABLE chests (id int PRIMARY KEY, code text NOT NULL, opened int NOT NULL DEFAULT 0);
CREATE FUNCTION tells_code() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE NOTICE 'it is %', NEW.code;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER tells AFTER UPDATE ON chests DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION tells_code();

-- The number of rows tells whether a value was another one before.
CREATE TABLE stills (id int PRIMARY KEY, code text NOT NULL, shelf int NOT NULL);
CREATE TRIGGER skips BEFORE UPDATE ON stills FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
