--=
SELECT row_to_json(p) FROM people p;
--=
SELECT to_jsonb(p) ->> 'email' FROM people p;
--=
SELECT to_jsonb(p) -> 'card' FROM people p;
--=
SELECT json_build_object('a', email, 'b', card), json_build_array(token) FROM people;
--=
SELECT notes FROM people;
--=
SELECT notes -> 'friends' -> 0, notes ->> 'iban', notes #>> '{depth,pin}' FROM people;
--=
SELECT notes['iban'] FROM people;
--=
SELECT k, v FROM people, jsonb_each_text(notes) AS e (k, v);
--=
SELECT e.value FROM people p, jsonb_each_text(to_jsonb(p)) AS e WHERE p.id = 1;
--=
SELECT jsonb_array_elements_text(notes -> 'friends') FROM people;
--=
SELECT jsonb_path_query(notes, '$.**') FROM people;
--=
SELECT jsonb_path_query_array(to_jsonb(p), '$.email') FROM people p;
--=
SELECT jsonb_set('{}', '{x}', to_jsonb(email)) FROM people;
--=
SELECT jsonb_pretty(notes), jsonb_strip_nulls(notes) FROM people;
--=
SELECT x.email FROM people p, jsonb_to_record(to_jsonb(p)) AS x (email text);
--=
SELECT (jsonb_populate_record(NULL::contact, jsonb_build_object('mail', email))).mail FROM people;
--=
SELECT hstore FROM (SELECT array_to_json(array_agg(p)) AS hstore FROM people p) AS q;
--= 18
SELECT JSON_OBJECT('e': email), JSON_ARRAY(card, token) FROM people;
--= 18
SELECT JSON_OBJECTAGG(id: email), JSON_ARRAYAGG(token) FROM people;
--= 18
SELECT JSON_VALUE(notes, '$.iban'), JSON_QUERY(notes, '$.friends') FROM people;
--= 18
SELECT t.iban FROM people, JSON_TABLE(notes, '$' COLUMNS (iban text PATH '$.iban')) AS t;
--= 18
SELECT JSON_SCALAR(email), JSON_SERIALIZE(JSON_SCALAR(card)) FROM people;
--= 18 inference
SELECT JSON_EXISTS(notes, '$ ? (@.iban starts with "DE4929317")') FROM people;
--= 15
SELECT query_to_xml('SELECT * FROM people', true, false, '');
--= 15
SELECT table_to_xml('people', true, false, '');
--= 15
SELECT schema_to_xml('public', true, false, '');
--= 15
SELECT database_to_xml(true, false, '');
--= 15
SELECT xmlforest(email, card AS c) FROM people;
--= 15
SELECT xmlelement(name p, xmlattributes(email AS e)) FROM people;
--= 15
SELECT xpath('//pin/text()', doc::xml) FROM people;
--= 15
SELECT t.pin FROM people, XMLTABLE('/p' PASSING (doc::xml) COLUMNS pin text PATH 'pin') AS t;
--= 15
SELECT xmlserialize(content xmlelement(name x, token) AS text) FROM people;
--= 15
SELECT cursor_to_xml('c', 10, true, false, '') FROM (SELECT 1) AS x;
SELECT query_to_xml_and_xmlschema('SELECT email FROM people', true, false, '');
