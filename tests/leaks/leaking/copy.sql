--=
COPY people TO STDOUT;
--=
COPY people (id, email) TO STDOUT;
--=
COPY people TO STDOUT WITH (FORMAT csv, HEADER);
--=
COPY people TO STDOUT WITH (FORMAT binary);
--=
COPY (SELECT email FROM people) TO STDOUT;
--=
COPY (SELECT reverse(email) AS x FROM people) TO STDOUT WITH (FORMAT binary);
--=
COPY (SELECT row_to_json(p) FROM people p) TO STDOUT;
--=
COPY payments_low TO STDOUT;
--=
COPY (SELECT * FROM directory) TO STDOUT CSV;
--=
COPY (UPDATE people SET score = score RETURNING email) TO STDOUT;
--=
COPY (SELECT email_of(1)) TO STDOUT;
--= extended
COPY (TABLE people) TO STDOUT;
--=
COPY imprints TO STDOUT;
