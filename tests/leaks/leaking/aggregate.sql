--=
SELECT string_agg(email, ',') FROM people;
--=
SELECT array_agg(card), array_agg(p) FROM people p;
--=
SELECT min(email), max(token) FROM people;
--= inference
SELECT sum(badge), avg(salary), stddev(salary) FROM people;
--= inference
SELECT bit_and(badge), bit_or(badge) FROM people;
--=
SELECT json_agg(email), jsonb_agg(p) FROM people p;
--=
SELECT json_object_agg(id, token), jsonb_object_agg(token, id) FROM people;
--=
SELECT mode() WITHIN GROUP (ORDER BY salary) FROM people;
--=
SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY salary), percentile_disc(0.5) WITHIN GROUP (ORDER BY email) FROM people;
--=
SELECT first_value(email) OVER (ORDER BY id) FROM people;
--=
SELECT lag(card) OVER w, lead(token) OVER w, nth_value(email, 2) OVER w FROM people WINDOW w AS (ORDER BY id);
--=
SELECT string_agg(email, ',') FILTER (WHERE id < 3) FROM people;
--=
SELECT string_agg(token, ',') OVER () FROM people;
--=
SELECT any_value FROM (SELECT max(email) AS any_value FROM people GROUP BY id) AS x;
--=
SELECT city, max(salary) FROM people GROUP BY ROLLUP (city);
--=
SELECT DISTINCT email FROM people;
--=
SELECT email FROM people GROUP BY email;
--=
SELECT email, count(*) FROM people GROUP BY GROUPING SETS ((email), ());
--=
SELECT tally(email) FROM people;
--=
SELECT range_agg(span), range_intersect_agg(span) FROM people;
--= 15
SELECT xmlagg(xmlelement(name x, email)) FROM people;
--= inference
SELECT corr(salary, id), regr_slope(badge, id) FROM people;
--= inference
SELECT every(email > 'm'), bool_or(card LIKE '4929317%') FROM people;
