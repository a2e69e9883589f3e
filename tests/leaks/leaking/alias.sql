--=
SELECT email FROM people;
--=
SELECT email AS harmless, card AS "1" FROM people WHERE id = 1;
--=
SELECT p.* FROM people p;
--=
SELECT * FROM people;
--=
TABLE people;
--=
SELECT p FROM people p;
--=
SELECT (p).email FROM people p;
--=
SELECT (p).* FROM people p;
--=
SELECT p.a FROM people AS p (id, name, city, joined, score, a);
--=
SELECT j.m FROM (people AS q JOIN orders AS o ON q.id = o.person_id) AS j (i, n, c, jo, s, m);
--=
WITH x AS (SELECT email AS y FROM people) SELECT y FROM x;
--=
WITH x (y) AS (SELECT email FROM people) SELECT x.y AS z FROM x;
--=
WITH x AS MATERIALIZED (SELECT * FROM people) SELECT x.card FROM x;
--=
WITH a AS (SELECT token AS b FROM people), c AS (SELECT b AS d FROM a), e AS (SELECT d AS f FROM c) SELECT f FROM e;
--=
WITH RECURSIVE r (n, m) AS (SELECT 1, email FROM people WHERE id = 1 UNION ALL SELECT n + 1, m FROM r WHERE n < 3) SELECT n, m FROM r;
--=
WITH RECURSIVE r (a, b, c, n) AS (SELECT 'x', 'y', email, 0 FROM people UNION ALL SELECT b, c, c, n + 1 FROM r WHERE n < 3) SELECT a FROM r;
--=
SELECT y FROM (SELECT email AS y FROM people) AS x;
--=
SELECT q.k FROM (SELECT z.y AS k FROM (SELECT token AS y FROM people) AS z) AS q;
--=
SELECT (SELECT email FROM people WHERE id = 1);
--=
SELECT (SELECT e.email FROM people e WHERE e.id = o.person_id) FROM orders o;
--=
SELECT name FROM people UNION ALL SELECT email FROM people;
--=
SELECT 1, 'x' UNION SELECT id, token FROM people;
--=
SELECT name FROM people UNION SELECT item FROM orders UNION ALL SELECT card FROM people;
--=
SELECT token FROM people EXCEPT SELECT item FROM orders;
--=
SELECT email FROM people INTERSECT SELECT email FROM mailings;
--=
SELECT v FROM people, LATERAL (VALUES (email), (card)) AS t (v);
--=
SELECT t.v FROM people p CROSS JOIN LATERAL (SELECT p.token AS v) AS t;
--=
VALUES ((SELECT email FROM people WHERE id = 1)), ((SELECT card FROM people WHERE id = 1));
--=
SELECT email FROM ONLY people;
--=
SELECT email FROM staff;
--=
SELECT "email" FROM "public"."people";
--=
SELECT U&"em\0061il" FROM people;
--=
SELECT eMaIl FROM PEOPLE;
--=
SELECT twin_a.public.people.email FROM twin_a.public.people;
--=
SELECT card FROM payments;
--=
SELECT card FROM payments_low;
--=
SELECT card AS amount, amount AS card FROM payments_high;
--=
SELECT email FROM people TABLESAMPLE BERNOULLI (100);
--=
SELECT email FROM people FOR UPDATE;
--=
SELECT people FROM people JOIN orders ON orders.person_id = people.id LIMIT 1;
--=
SELECT email FROM people NATURAL JOIN staff;
--=
SELECT mark FROM imprints ORDER BY id;
--= binary
SELECT i.mark, i.place FROM imprints i;
