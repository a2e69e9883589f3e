--=
SELECT email || '' FROM people;
--=
SELECT coalesce(email, '') FROM people;
--=
SELECT greatest(email, ''), least(card, 'z') FROM people;
--=
SELECT nullif(email, 'x') FROM people;
--=
SELECT CASE WHEN id > 0 THEN email END FROM people;
--=
SELECT CASE id WHEN 1 THEN 'x' ELSE token END FROM people;
--=
SELECT email::varchar(200), card::char(16), token::name FROM people;
--=
SELECT CAST(badge AS text) FROM people;
--=
SELECT badge + 0, salary * 1, -badge, @ salary FROM people;
--=
SELECT badge / 1000000000, badge % 1000000000 FROM people;
--=
SELECT born + 0, born + interval '0 days', seen AT TIME ZONE 'UTC' FROM people;
--=
SELECT to_char(born, 'YYYY-MM-DD'), extract(epoch FROM seen), date_trunc('day', seen) FROM people;
--= inference
SELECT born - date '1900-01-01', age(born) FROM people;
--=
SELECT ARRAY[email, card] FROM people;
--=
SELECT (ARRAY[email, card])[1] FROM people;
--=
SELECT aliases[1], aliases[1:2] FROM people;
--=
SELECT ROW(email, card) FROM people;
--=
SELECT ROW(id, token)::text FROM people;
--=
SELECT (ROW(email, card)::contact).mail FROM people;
--=
SELECT p::text FROM people p;
--=
SELECT format('%s %L', email, card) FROM people;
--=
SELECT concat(id, email), concat_ws('-', token, card) FROM people;
--=
SELECT substr(email, 1, 10), substr(email, 11), left(card, 12), right(token, 15) FROM people;
--=
SELECT split_part(email, '@', 1) FROM people;
--=
SELECT lower(span), upper(span) FROM people;
--=
SELECT replace(email, '@', ' at ') FROM people;
--=
SELECT lpad(token, 40, '*'), trim(email), repeat(card, 2) FROM people;
--=
SELECT overlay(email PLACING '#' FROM 1 FOR 1) FROM people;
--=
SELECT regexp_replace(card, '(.{4})', '\1-', 'g') FROM people;
--=
SELECT unnest(ARRAY[email, card]) FROM people;
--=
SELECT unnest(aliases) FROM people;
--=
SELECT a FROM people, unnest(aliases) AS a;
--=
SELECT a, b FROM people, ROWS FROM (unnest(aliases), generate_series(1, 2)) AS t (a, b);
--=
SELECT regexp_split_to_table(email, '@') FROM people;
--=
SELECT (regexp_match(email, '^(.*)@'))[1] FROM people;
--=
SELECT email COLLATE "C" FROM people;
--=
SELECT email::mail FROM people;
--=
SELECT id, lower(email) FROM people GROUP BY id, lower(email);
--=
SELECT DISTINCT ON (id) token FROM people ORDER BY id;
--=
SELECT opening FROM cards;
--=
SELECT c FROM cards c;
--=
SELECT x FROM cards, LATERAL (SELECT opening) AS t (x);
--=
SELECT quote_literal(email), quote_ident(token) FROM people;
--=
SELECT width_bucket(badge, 0, 1000000000000000000, 1000000000) FROM people;
--=
SELECT generate_series(badge, badge) FROM people;
--= inference
SELECT make_interval(secs => salary::float8) FROM people;
--=
SELECT mark || '' FROM imprints ORDER BY id;
