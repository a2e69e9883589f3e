--=
SELECT 1;
--=
SELECT id, name, city FROM people ORDER BY id;
--=
SELECT name AS email FROM people ORDER BY id;
--=
SELECT 'email' AS card, 1 AS token;
--=
SELECT id FROM people WHERE city = 'Hamburg' ORDER BY id;
--=
SELECT p.name, o.item, o.price FROM people p JOIN orders o ON o.person_id = p.id ORDER BY o.id;
--=
SELECT name, item FROM people LEFT JOIN orders ON person_id = people.id AND price > 1500 ORDER BY people.id, orders.id;
--=
SELECT * FROM orders ORDER BY id;
--=
TABLE labels;
--=
SELECT email FROM labels ORDER BY id;
--=
SELECT l.email AS e FROM labels l ORDER BY 1;
--=
SELECT o FROM orders o ORDER BY id LIMIT 3;
--=
SELECT (o).item FROM orders o ORDER BY id LIMIT 3;
--=
SELECT id, item FROM orders WHERE placed BETWEEN '2024-03-02' AND '2024-03-04' ORDER BY id;
--=
SELECT DISTINCT item FROM orders ORDER BY item;
--=
SELECT DISTINCT city FROM people ORDER BY city;
--=
SELECT * FROM harmless ORDER BY id;
--=
SELECT city FROM harmless WHERE name LIKE 'B%';
--=
VALUES (1, 'a'), (2, 'b');
--=
WITH x AS (SELECT item, sum(price) AS s FROM orders GROUP BY item) SELECT * FROM x ORDER BY s;
--=
WITH RECURSIVE t (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM t WHERE n < 10) SELECT sum(n) FROM t;
--=
WITH x AS (SELECT id, name FROM people) SELECT x.name FROM x ORDER BY id;
--=
SELECT name FROM (SELECT id, name FROM people) AS q ORDER BY id;
--=
SELECT name FROM people UNION SELECT item FROM orders ORDER BY 1;
--=
SELECT id FROM people EXCEPT SELECT person_id FROM orders ORDER BY 1;
--=
SELECT person_id FROM orders INTERSECT SELECT id FROM people ORDER BY 1;
--=
SELECT o.id, t.v FROM orders o, LATERAL (SELECT o.price * 2 AS v) AS t ORDER BY o.id LIMIT 5;
--=
SELECT a.id, b.id FROM orders a, orders b WHERE a.id + 1 = b.id ORDER BY 1 LIMIT 4;
--=
SELECT id, amount FROM payments ORDER BY id;
--=
SELECT amount FROM payments_low ORDER BY id;
--=
SELECT id, desk FROM staff;
--=
SELECT id, subject FROM mailings ORDER BY id;
--=
SELECT id FROM cards ORDER BY id;
--=
SELECT name, score FROM people ORDER BY score DESC LIMIT 2 OFFSET 1;
--=
SELECT id FROM people WHERE joined > '2020-06-01' AND score BETWEEN 2 AND 9 ORDER BY id;
--=
SELECT id FROM orders WHERE memo IS NULL ORDER BY id;
--=
SELECT EXISTS (SELECT FROM orders WHERE person_id = 2);
--=
SELECT id FROM people WHERE id IN (SELECT person_id FROM orders WHERE price > 1500) ORDER BY id;
--=
SELECT name FROM people WHERE id = ANY (ARRAY[1, 3]) ORDER BY id;
--=
SELECT ctid, tableoid::regclass FROM orders ORDER BY id LIMIT 2;
