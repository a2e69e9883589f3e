--= binary
SELECT email, card, token FROM people;
--= binary
SELECT badge FROM people;
--= binary
SELECT born, seen FROM people;
--= binary
SELECT salary FROM people;
--= binary
SELECT notes, aliases FROM people;
--= binary
SELECT span, member, photo FROM people;
--= binary
SELECT p FROM people p;
--= binary
SELECT badge + 1 - 1, ARRAY[badge], int8send(badge) FROM people;
--= binary
SELECT * FROM people;
--= binary
SELECT to_jsonb(p) FROM people p;
--= binary
SELECT timestamptz_send(seen), date_send(born), uuid_send(member) FROM people;
