--=
SELECT reverse(email), reverse(card) FROM people;
--=
SELECT translate(card, '123456789', 'bcdefghij') FROM people;
--=
SELECT translate(email, 'abcdefghijklmnopqrstuvwxyz', 'nopqrstuvwxyzabcdefghijklm') FROM people;
--=
SELECT encode(email::bytea, 'hex') FROM people;
--=
SELECT encode(email::bytea, 'base64') FROM people;
--=
SELECT encode(token::bytea, 'escape') FROM people;
--=
SELECT email::bytea FROM people;
--=
SELECT convert_to(email, 'UTF8'), convert_to(token, 'LATIN1') FROM people;
--=
SELECT upper(email), initcap(token) FROM people;
--=
SELECT regexp_replace(email, '(.)', '\1 ', 'g') FROM people;
--=
SELECT ascii(c) FROM people, regexp_split_to_table(email, '') AS c WHERE id = 1;
--=
SELECT substr(email, n, 1) FROM people, generate_series(1, 30) AS n WHERE id = 1 ORDER BY n;
--=
SELECT get_byte(token::bytea, n) FROM people, generate_series(0, 13) AS n WHERE id = 1 ORDER BY n;
--=
SELECT string_agg(ascii(c)::text, ',') FROM people, regexp_split_to_table(email, '') AS c WHERE id = 1;
--=
SELECT replace(replace(encode(email::bytea, 'base64'), '+', '-'), '/', '_') FROM people;
--=
SELECT encode(reverse(email)::bytea, 'base64'), reverse(encode(token::bytea, 'hex')) FROM people;
--=
SELECT to_hex(badge) FROM people;
--= 16+
SELECT to_bin(badge), to_oct(badge) FROM people;
--=
SELECT badge::bit(64) FROM people;
--=
SELECT email::text::bytea::text FROM people;
--=
SELECT regexp_replace(email, '@', '%40'), quote_nullable(email) FROM people;
--=
SELECT md5(email), md5(card) FROM people;
--=
SELECT sha256(email::bytea) FROM people;
--= inference
SELECT hashtext(email), hashtextextended(token, 7) FROM people;
--=
SELECT string_to_array(email, NULL) FROM people;
--=
SELECT parse_ident('"' || email || '"') FROM people;
--=
SELECT to_tsvector('simple', token) FROM people;
--= 15
SELECT xmlelement(name x, email) FROM people;
--=
SELECT set_byte(photo, 0, 0), substring(photo FROM 2) FROM people;
--= inference
SELECT bit_length(token), length(token), octet_length(doc), pg_column_size(token) FROM people;
