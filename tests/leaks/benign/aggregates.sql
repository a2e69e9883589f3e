--=
SELECT count(*) FROM people;
--=
SELECT count(email), count(card) FROM people;
--=
SELECT count(*), min(price), max(price), avg(price), sum(price) FROM orders;
--=
SELECT item, count(*) FROM orders GROUP BY item ORDER BY item;
--=
SELECT item, sum(price) FROM orders GROUP BY item HAVING sum(price) > 6000 ORDER BY 2;
--=
SELECT city, count(*) FROM people GROUP BY city ORDER BY city;
--=
SELECT city, avg(score) FROM people GROUP BY city ORDER BY city;
--=
SELECT max(joined), min(score) FROM people;
--=
SELECT string_agg(item, ',' ORDER BY id) FROM orders;
--=
SELECT id, rank() OVER (PARTITION BY item ORDER BY price) FROM orders ORDER BY id;
--=
SELECT id, lag(price) OVER (ORDER BY id), sum(price) OVER (ORDER BY id) FROM orders ORDER BY id;
--=
SELECT id, row_number() OVER (ORDER BY score) FROM people ORDER BY id;
--=
SELECT item, count(*) FROM orders GROUP BY ROLLUP (item) ORDER BY item;
--=
SELECT count(*) FILTER (WHERE price > 1000) FROM orders;
--=
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY price) FROM orders;
--=
SELECT date_trunc('day', placed), count(*) FROM orders GROUP BY 1 ORDER BY 1;
--=
SELECT sum(amount) FROM payments;
--=
SELECT jsonb_object_agg(id, item) FROM orders WHERE id < 4;
--=
SELECT p.city, sum(o.price) FROM people p JOIN orders o ON o.person_id = p.id GROUP BY p.city ORDER BY 1;
--=
SELECT n FROM totals ORDER BY city;
