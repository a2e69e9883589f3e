INSERT INTO people VALUES
  (1, 'Ada', 'Hamburg', '2020-01-05', 7, $p1),
  (2, 'Bruno', 'Lisboa', '2020-02-06', 3, $p2),
  (3, 'Chiara', 'Torino', '2021-03-07', 9, $p3),
  (4, 'Dmitri', 'Hamburg', '2022-04-08', 1, $p4);
INSERT INTO staff VALUES (5, 'Elif', 'Izmir', '2023-05-09', 5, $p5, 12);
INSERT INTO orders
SELECT n, 1 + n % 4, (ARRAY['kettle', 'cup', 'saucer'])[1 + n % 3], 100 * n, timestamp '2024-03-01 08:00' + n * interval '7 hours',
       CASE WHEN n % 5 > 0 THEN 'memo ' || n END, jsonb_build_object('n', n, 'list', jsonb_build_array(n, n + 1))
FROM generate_series(1, 20) AS n;
INSERT INTO scratch VALUES (1, 'one', 1.5, '2024-01-01 00:00+00', '{"a": 1}');
INSERT INTO labels VALUES (1, 'shelf'), (2, 'drawer');
INSERT INTO cards VALUES (1, '$card1'), (2, '$card2');
INSERT INTO payments VALUES (1, '$card1', 10), (2, '$card2', 20), (100, '$card3', 30);
INSERT INTO mailings VALUES (1, '$mail1', 'hello'), (2, '$mail2', 'again'), (3, '$mail1', 'third');
INSERT INTO passes (id, code, floor) SELECT id, token, id FROM ONLY people;
INSERT INTO desks SELECT generate_series(1, 10);
INSERT INTO bosses VALUES (1, 1 + substr('$card1', 5, 1)::int);
INSERT INTO gates SELECT id, 'left', token FROM ONLY people;
INSERT INTO lockers SELECT id, token, id FROM ONLY people;
INSERT INTO alcoves SELECT id, token, id FROM ONLY people;
INSERT INTO attics SELECT id, token, id FROM ONLY people;
INSERT INTO cellars SELECT id, token, id FROM ONLY people;
INSERT INTO towers SELECT id, token, id FROM ONLY people;
INSERT INTO papers SELECT id, token FROM ONLY people;
INSERT INTO tasks VALUES (1, 1), (2, 2);
INSERT INTO chambers VALUES (1, 1), (2, 2);
INSERT INTO cells VALUES (1, 1), (2, 2);
INSERT INTO niches VALUES (1, 1), (2, 2);
INSERT INTO oddities VALUES (1, ROW(1)), (2, ROW(2));
INSERT INTO touched VALUES (1, 'one'), (2, 'two');
INSERT INTO shorts VALUES (1, 'one');
INSERT INTO seals SELECT token FROM ONLY people;
INSERT INTO imprints SELECT id, token, city FROM ONLY people;
INSERT INTO chests SELECT id, token FROM ONLY people;
INSERT INTO stills SELECT id, token, id FROM ONLY people;
REFRESH MATERIALIZED VIEW kept;
ANALYZE;
