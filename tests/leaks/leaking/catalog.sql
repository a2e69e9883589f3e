--=
SELECT most_common_vals::text, histogram_bounds::text FROM pg_stats WHERE tablename = 'people';
--=
SELECT stavalues1::text, stavalues2::text FROM pg_statistic WHERE starelid = 'people'::regclass;
--=
SELECT x FROM (SELECT histogram_bounds AS x FROM pg_catalog.pg_stats WHERE tablename = 'people') AS q;
--=
SELECT row_to_json(s) FROM pg_stats s WHERE tablename = 'people';
--=
COPY pg_statistic TO STDOUT;
--=
COPY (SELECT histogram_bounds FROM pg_stats WHERE tablename = 'people') TO STDOUT;
--=
CREATE TEMP TABLE sampled AS SELECT attname, histogram_bounds::text AS b FROM pg_stats WHERE tablename = 'people';
SELECT b FROM sampled;
--=
CREATE VIEW sample_view AS SELECT tablename, histogram_bounds::text AS b FROM pg_stats;
SELECT b FROM sample_view WHERE tablename = 'people';
--= 15
SELECT query_to_xml('SELECT histogram_bounds FROM pg_stats WHERE tablename = ''people''', true, false, '');
--=
CREATE STATISTICS tied (mcv) ON email, token FROM people;
ANALYZE people;
SELECT most_common_vals FROM pg_stats_ext WHERE statistics_name = 'tied';
DROP STATISTICS tied;
--=
SELECT encode(substr(pg_read_binary_file(pg_relation_filepath('people')), 1, 8192), 'escape');
--= inference
EXPLAIN SELECT 1 FROM people WHERE salary > 75000;
--= inference
EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF, BUFFERS OFF) SELECT 1 FROM people WHERE card LIKE '4929317%';
