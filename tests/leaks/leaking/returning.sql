--=
UPDATE people SET score = score RETURNING email;
--=
UPDATE people SET score = score WHERE id = 1 RETURNING *;
--=
UPDATE people p SET score = score RETURNING row_to_json(p);
--=
UPDATE orders SET memo = 'x' FROM people p WHERE p.id = 1 AND orders.id = 1 RETURNING p.email;
--=
UPDATE orders SET memo = email FROM people p WHERE p.id = 1 AND orders.id = 1 RETURNING memo;
--=
BEGIN;
DELETE FROM payments WHERE id = 1 RETURNING card;
ROLLBACK;
--=
BEGIN;
DELETE FROM orders USING people p WHERE p.id = person_id RETURNING reverse(p.token);
ROLLBACK;
--=
BEGIN;
INSERT INTO labels SELECT 50 + id, email FROM people RETURNING email;
ROLLBACK;
--=
BEGIN;
INSERT INTO labels VALUES (60, (SELECT email FROM people WHERE id = 1)) RETURNING *;
ROLLBACK;
--=
INSERT INTO people SELECT * FROM people WHERE id = 1 ON CONFLICT (id) DO UPDATE SET score = people.score RETURNING people.email;
--=
WITH u AS (UPDATE people SET score = score RETURNING token) SELECT token FROM u;
--=
WITH u AS (UPDATE people SET score = score RETURNING *) SELECT reverse(email) FROM u;
--=
BEGIN;
WITH d AS (DELETE FROM payments RETURNING card) INSERT INTO scratch (word) SELECT card FROM d RETURNING word;
ROLLBACK;
--= 18
MERGE INTO labels l USING people p ON l.id = p.id WHEN MATCHED THEN UPDATE SET id = l.id RETURNING p.email;
--= 18
UPDATE people SET score = score + 0 RETURNING old.email, new.card;
--= 18
UPDATE people SET score = score + 0 RETURNING WITH (OLD AS o, NEW AS n) o.token, n;
