-- What only newer psql has: the extended protocol by hand, and pipelines.
CREATE TABLE p (id int PRIMARY KEY, body text);
INSERT INTO p VALUES ($1, $2) RETURNING * \bind 1 'one' \g
SELECT $1::int + $2::int AS sum \bind 1 2 \g
SELECT $1::int \bind x \g
SELECT id, body AS renamed FROM p WHERE id = $1 \parse named
\bind_named named 1 \g
\bind_named named 2 \g
\close_prepared named
\bind_named named 1 \g
SELECT count(*) FROM p \watch c=2 i=0.1
\startpipeline
INSERT INTO p VALUES ($1, $2) \bind 2 'two' \sendpipeline
SELECT * FROM p ORDER BY id \bind \sendpipeline
\syncpipeline
INSERT INTO p VALUES ($1, $2) \bind 3 'three' \sendpipeline
INSERT INTO p VALUES ($1, $2) \bind 1 'dup' \sendpipeline
INSERT INTO p VALUES ($1, $2) \bind 4 'skipped' \sendpipeline
\syncpipeline
INSERT INTO p VALUES ($1, $2) \bind 5 'five' \sendpipeline
\flushrequest
\getresults
\endpipeline
SELECT * FROM p ORDER BY id;
SELEC $1 \bind 1 \g
\startpipeline
INSERT INTO p VALUES ($1, $2) \bind 6 'six' \sendpipeline
SELEC 1 \bind \sendpipeline
SELECT 1 \bind \sendpipeline
\syncpipeline
SELECT ( \bind \sendpipeline
\endpipeline
SELECT * FROM p ORDER BY id;
\startpipeline
COPY p FROM STDIN \bind \sendpipeline
\endpipeline
10	ten
\.
SELECT count(*) FROM p;
