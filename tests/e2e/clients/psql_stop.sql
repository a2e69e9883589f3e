-- Stops at the first error: psql says so with exit code 3.
\set ON_ERROR_STOP on
CREATE TABLE s (id int PRIMARY KEY);
INSERT INTO s VALUES (1);
INSERT INTO s VALUES (1);
INSERT INTO s VALUES (2);
