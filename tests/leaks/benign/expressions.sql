--=
SELECT 1 + 1, 'a' || 'b', true AND false, NULL;
--=
SELECT upper(item), length(memo), price / 3.0 FROM orders ORDER BY id;
--=
SELECT to_char(placed, 'YYYY-MM'), extract(dow FROM placed), placed + interval '1 day' FROM orders ORDER BY id LIMIT 5;
--=
SELECT CASE WHEN price > 1000 THEN 'dear' ELSE 'cheap' END FROM orders ORDER BY id;
--=
SELECT coalesce(memo, 'none'), nullif(item, 'cup'), greatest(price, 500) FROM orders ORDER BY id;
--=
SELECT ARRAY[id, price], ROW(id, item) FROM orders ORDER BY id LIMIT 3;
--=
SELECT extra -> 'list' -> 0, extra ->> 'n', extra #> '{list,1}' FROM orders ORDER BY id LIMIT 4;
--=
SELECT jsonb_array_elements(extra -> 'list') FROM orders WHERE id = 3;
--=
SELECT row_to_json(o) FROM orders o ORDER BY id LIMIT 2;
--=
SELECT json_build_object('id', id, 'item', item) FROM orders ORDER BY id LIMIT 2;
--=
SELECT to_jsonb(l) FROM labels l ORDER BY id;
--=
SELECT substr(item, 1, 2), reverse(item), md5(item), encode(item::bytea, 'hex') FROM orders ORDER BY id LIMIT 3;
--=
SELECT regexp_replace(memo, '\d+', '#'), split_part(memo, ' ', 2) FROM orders ORDER BY id LIMIT 3;
--=
SELECT unnest(ARRAY[1, 2, 3]);
--=
SELECT generate_series(1, 5);
--=
SELECT upper(name), length(city) FROM people ORDER BY id;
--=
SELECT name || ' of ' || city FROM people ORDER BY id;
--=
SELECT date_part('year', joined), joined + 1 FROM people ORDER BY id;
--=
SELECT score * 2, score % 3, -score FROM people ORDER BY id;
--=
SELECT CASE WHEN score > 4 THEN name END FROM people ORDER BY id;
--=
SELECT (SELECT count(*) FROM orders o WHERE o.person_id = p.id) FROM people p ORDER BY id;
--=
SELECT (SELECT name FROM people WHERE id = 1);
--=
SELECT p.name || o.item FROM people p JOIN orders o ON o.person_id = p.id ORDER BY o.id;
--=
SELECT json_build_object('n', name) FROM people ORDER BY id;
--=
SELECT array_agg(name ORDER BY id) FROM people;
--=
SELECT upper(city) FROM harmless ORDER BY id;
--=
SELECT amount * 2 FROM payments ORDER BY id;
--=
SELECT upper(subject) FROM mailings ORDER BY id;
--=
SELECT current_database(), current_schema, session_user;
--=
SELECT '{1,2}'::int[], '[1,5)'::int4range, '2024-02-29'::date, 'abc'::bytea, 1.50::numeric;
--=
SELECT format('%s-%s', id, item) FROM orders ORDER BY id LIMIT 2;
--=
SELECT twice(id) FROM orders ORDER BY id LIMIT 2;
--=
SELECT tidy(name) FROM people WHERE tidy(city) > 'B' ORDER BY tidy(name);
--=
SELECT id, place FROM imprints ORDER BY id;
--=
SELECT name FROM people WHERE levenshtein(name, 'Anna') < 9 ORDER BY levenshtein(name, 'Anna'), name;
