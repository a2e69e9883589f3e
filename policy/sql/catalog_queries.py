"""What hostguard asks a database about itself; `catalog` reads the answers.

Both queries are run on connections whose search_path somebody else chose, so nothing in them is looked up along it: relations,
functions, types, operators are all qualified. An unqualified ``=`` would call whatever function a schema in front of
``pg_catalog`` attached to that symbol, with the rights of whoever asks.
"""

from __future__ import annotations

from .functions import CLASSES

_OPAQUE = sorted(name for name, kind in CLASSES.items() if kind in ("runs_sql_text", "reads_files", "network", "large_objects"))
_SAMPLES = "'pg_stat_statements', 'pg_largeobject', 'pg_stat_activity', 'pg_statistic', 'pg_statistic_ext_data', 'pg_stats'"
_SAMPLES += ", 'pg_stats_ext', 'pg_stats_ext_exprs'"
# A function that may read tables when it runs: neither PostgreSQL's own nor in C, as what extensions bring.
_CODE = """p.oid::pg_catalog.int8 OPERATOR(pg_catalog.>=) 16384
   AND l.lanname::pg_catalog.text OPERATOR(pg_catalog.<>) ALL (ARRAY['c', 'internal'])"""

_RELATIONS = r"""
SELECT 'relation'::pg_catalog.text, c.oid::pg_catalog.text, n.nspname::pg_catalog.text, c.relname::pg_catalog.text,
       c.relkind::pg_catalog.text
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
 WHERE c.relkind::pg_catalog.text OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'p', 'v', 'm', 'f', 'S'])
   AND n.nspname::pg_catalog.text OPERATOR(pg_catalog.<>) ALL (ARRAY['pg_catalog', 'information_schema', 'pg_toast'])
   AND NOT n.nspname::pg_catalog.text OPERATOR(pg_catalog.~) '^pg_toast'
UNION ALL
SELECT 'column', a.attrelid::pg_catalog.text, a.attnum::pg_catalog.text, a.attname::pg_catalog.text,
       a.attgenerated::pg_catalog.text
  FROM pg_catalog.pg_attribute a
  JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) a.attrelid
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
 WHERE a.attnum::pg_catalog.int4 OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
   AND c.relkind::pg_catalog.text OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'p', 'v', 'm', 'f'])
   AND n.nspname::pg_catalog.text OPERATOR(pg_catalog.<>) ALL (ARRAY['pg_catalog', 'information_schema', 'pg_toast'])
   AND NOT n.nspname::pg_catalog.text OPERATOR(pg_catalog.~) '^pg_toast'
UNION ALL
SELECT 'type', a.attrelid::pg_catalog.text, a.attnum::pg_catalog.text, a.atttypid::pg_catalog.text, ''
  FROM pg_catalog.pg_attribute a
  JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) a.attrelid
 WHERE a.attnum::pg_catalog.int4 OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
   AND c.relkind::pg_catalog.text OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'p', 'v', 'm', 'f'])
   AND c.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
UNION ALL
SELECT 'domain', t.oid::pg_catalog.text, t.typbasetype::pg_catalog.text, '', '' FROM pg_catalog.pg_type t
 WHERE t.typtype::pg_catalog.text OPERATOR(pg_catalog.=) 'd'
UNION ALL
SELECT 'child', i.inhparent::pg_catalog.text, i.inhrelid::pg_catalog.text, '', '' FROM pg_catalog.pg_inherits i
UNION ALL
SELECT 'view', r.ev_class::pg_catalog.text, d.refobjid::pg_catalog.text,
       CASE WHEN r.ev_action::pg_catalog.text OPERATOR(pg_catalog.~~) '%:varattno 0 %' THEN '0'
            ELSE d.refobjsubid::pg_catalog.text END, ''
  FROM pg_catalog.pg_rewrite r
  JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) r.ev_class
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
  JOIN pg_catalog.pg_depend d ON d.objid OPERATOR(pg_catalog.=) r.oid
 WHERE c.relkind::pg_catalog.text OPERATOR(pg_catalog.=) ANY (ARRAY['v', 'm'])
   AND n.nspname::pg_catalog.text OPERATOR(pg_catalog.<>) ALL (ARRAY['pg_catalog', 'information_schema'])
   AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass::pg_catalog.oid
   AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid
   AND d.refobjid OPERATOR(pg_catalog.<>) r.ev_class
UNION ALL
SELECT 'tree', r.ev_class::pg_catalog.text, r.ev_action::pg_catalog.text, '', ''
  FROM pg_catalog.pg_rewrite r
  JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) r.ev_class
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
 WHERE c.relkind::pg_catalog.text OPERATOR(pg_catalog.=) ANY (ARRAY['v', 'm'])
   AND r.ev_type::pg_catalog.text OPERATOR(pg_catalog.=) '1'
   AND n.nspname::pg_catalog.text OPERATOR(pg_catalog.<>) ALL (ARRAY['pg_catalog', 'information_schema'])
   AND pg_catalog.length(r.ev_action::pg_catalog.text) OPERATOR(pg_catalog.<) 200000
UNION ALL
SELECT 'calls', r.ev_class::pg_catalog.text, '', '', ''
  FROM pg_catalog.pg_rewrite r
  JOIN pg_catalog.pg_depend d ON d.objid OPERATOR(pg_catalog.=) r.oid
  JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) d.refobjid
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
 WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass::pg_catalog.oid
   AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid
   AND n.nspname::pg_catalog.text OPERATOR(pg_catalog.<>) ALL (ARRAY['pg_catalog', 'information_schema'])
UNION ALL
SELECT 'constraint', i.indrelid::pg_catalog.text,
       pg_catalog.concat_ws(' ', i.indkey::pg_catalog.text,
         (SELECT pg_catalog.string_agg(d.refobjsubid::pg_catalog.text, ' ')
            FROM pg_catalog.pg_depend d
           WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid
             AND d.objid OPERATOR(pg_catalog.=) i.indexrelid
             AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid
             AND d.refobjid OPERATOR(pg_catalog.=) i.indrelid)),
       CASE WHEN i.indisprimary THEN 'primary key' WHEN i.indisunique THEN 'unique index'
            WHEN i.indisexclusion THEN 'exclusion constraint'
            WHEN i.indexprs IS NOT NULL OR i.indpred IS NOT NULL THEN 'index of expressions' ELSE 'index' END, ''
  FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.indrelid
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
 WHERE n.nspname::pg_catalog.text OPERATOR(pg_catalog.<>) ALL (ARRAY['pg_catalog', 'information_schema', 'pg_toast'])
   AND NOT n.nspname::pg_catalog.text OPERATOR(pg_catalog.~) '^pg_toast'
UNION ALL
SELECT CASE WHEN k.contype::pg_catalog.text OPERATOR(pg_catalog.=) 'f' THEN 'foreign' ELSE 'constraint' END,
       k.conrelid::pg_catalog.text, coalesce(k.conkey::pg_catalog.text, ''),
       CASE WHEN k.contype::pg_catalog.text OPERATOR(pg_catalog.=) 'f' THEN k.confrelid::pg_catalog.text
            ELSE 'check constraint' END, coalesce(k.confkey::pg_catalog.text, '')
  FROM pg_catalog.pg_constraint k
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) k.connamespace
 WHERE k.contype::pg_catalog.text OPERATOR(pg_catalog.=) ANY (ARRAY['c', 'f'])
   AND k.conrelid::pg_catalog.int8 OPERATOR(pg_catalog.>) 0
   AND n.nspname::pg_catalog.text OPERATOR(pg_catalog.<>) ALL (ARRAY['pg_catalog', 'information_schema'])
UNION ALL
SELECT 'constraint', a.attrelid::pg_catalog.text,
       pg_catalog.concat_ws(' ', a.attnum::pg_catalog.text,
         (SELECT pg_catalog.string_agg(d.refobjsubid::pg_catalog.text, ' ')
            FROM pg_catalog.pg_attrdef e JOIN pg_catalog.pg_depend d ON d.objid OPERATOR(pg_catalog.=) e.oid
           WHERE e.adrelid OPERATOR(pg_catalog.=) a.attrelid AND e.adnum OPERATOR(pg_catalog.=) a.attnum
             AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_attrdef'::pg_catalog.regclass::pg_catalog.oid
             AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid
             AND d.refobjid OPERATOR(pg_catalog.=) a.attrelid)),
       'generated column', ''
  FROM pg_catalog.pg_attribute a
  JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) a.attrelid
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
 WHERE a.attgenerated::pg_catalog.text OPERATOR(pg_catalog.<>) '' AND NOT a.attisdropped
   AND n.nspname::pg_catalog.text OPERATOR(pg_catalog.<>) ALL (ARRAY['pg_catalog', 'information_schema'])
"""

_UNASKED = rf"""
UNION ALL
SELECT 'constraint', t.tgrelid::pg_catalog.text,
       (SELECT pg_catalog.string_agg(a.attnum::pg_catalog.text, ' ') FROM pg_catalog.pg_attribute a
         WHERE a.attrelid OPERATOR(pg_catalog.=) t.tgrelid AND a.attnum::pg_catalog.int4 OPERATOR(pg_catalog.>) 0),
       'trigger that skips what changes nothing', ''
  FROM pg_catalog.pg_trigger t
 WHERE t.tgfoid OPERATOR(pg_catalog.=)
       'pg_catalog.suppress_redundant_updates_trigger'::pg_catalog.regproc::pg_catalog.oid
UNION ALL
SELECT 'calls', r.ev_class::pg_catalog.text, '', '', ''
  FROM pg_catalog.pg_rewrite r
  JOIN pg_catalog.pg_proc p
    ON r.ev_action::pg_catalog.text OPERATOR(pg_catalog.~~) pg_catalog.concat('%:funcid ', p.oid::pg_catalog.text, ' %')
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
 WHERE n.nspname::pg_catalog.text OPERATOR(pg_catalog.=) 'pg_catalog' AND r.oid::pg_catalog.int8 OPERATOR(pg_catalog.>=) 16384
   AND p.proname::pg_catalog.text OPERATOR(pg_catalog.=) ANY (ARRAY[{", ".join(f"'{name}'" for name in _OPAQUE)}])
UNION ALL
SELECT 'calls', r.ev_class::pg_catalog.text, '', '', ''
  FROM pg_catalog.pg_rewrite r
  JOIN pg_catalog.pg_class c
    ON r.ev_action::pg_catalog.text OPERATOR(pg_catalog.~~) pg_catalog.concat('%:relid ', c.oid::pg_catalog.text, ' %')
 WHERE c.relname::pg_catalog.text OPERATOR(pg_catalog.=) ANY (ARRAY[{_SAMPLES}])
   AND r.oid::pg_catalog.int8 OPERATOR(pg_catalog.>=) 16384 AND r.ev_class OPERATOR(pg_catalog.<>) c.oid
UNION ALL
SELECT 'code', p.oid::pg_catalog.text, l.lanname::pg_catalog.text, p.prosrc, ''
  FROM pg_catalog.pg_proc p
  JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
 WHERE l.lanname::pg_catalog.text OPERATOR(pg_catalog.=) ANY (ARRAY['sql', 'plpgsql']) AND p.prosqlbody IS NULL
   AND n.nspname::pg_catalog.text OPERATOR(pg_catalog.<>) ALL (ARRAY['pg_catalog', 'information_schema'])
   AND pg_catalog.length(p.prosrc) OPERATOR(pg_catalog.<) 10000 AND p.pronargdefaults::pg_catalog.int4 OPERATOR(pg_catalog.=) 0
UNION ALL
SELECT 'unasked', t.tgrelid::pg_catalog.text, t.tgfoid::pg_catalog.text,
       pg_catalog.concat_ws(' ',
         CASE WHEN t.tgtype::pg_catalog.int4 OPERATOR(pg_catalog.&) 4 OPERATOR(pg_catalog.>) 0 THEN 'insert' END,
         CASE WHEN t.tgtype::pg_catalog.int4 OPERATOR(pg_catalog.&) 8 OPERATOR(pg_catalog.>) 0 THEN 'delete' END,
         CASE WHEN t.tgtype::pg_catalog.int4 OPERATOR(pg_catalog.&) 16 OPERATOR(pg_catalog.>) 0 THEN 'update' END,
         CASE WHEN t.tgtype::pg_catalog.int4 OPERATOR(pg_catalog.&) 32 OPERATOR(pg_catalog.>) 0 THEN 'truncate' END),
       CASE WHEN t.tgtype::pg_catalog.int4 OPERATOR(pg_catalog.&) 66 OPERATOR(pg_catalog.>) 0 THEN 'trigger before'
            ELSE 'trigger' END
  FROM pg_catalog.pg_trigger t
  JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) t.tgfoid
  JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang
 WHERE NOT t.tgisinternal AND {_CODE}
UNION ALL
SELECT 'unasked', r.ev_class::pg_catalog.text, '0',
       CASE WHEN r.ev_type::pg_catalog.text OPERATOR(pg_catalog.=) '2' THEN 'update'
            WHEN r.ev_type::pg_catalog.text OPERATOR(pg_catalog.=) '3' THEN 'insert' ELSE 'delete' END, 'rule'
  FROM pg_catalog.pg_rewrite r
 WHERE r.ev_type::pg_catalog.text OPERATOR(pg_catalog.<>) '1' AND r.oid::pg_catalog.int8 OPERATOR(pg_catalog.>=) 16384
UNION ALL
SELECT 'rule', r.ev_class::pg_catalog.text, r.ev_action::pg_catalog.text, '', ''
  FROM pg_catalog.pg_rewrite r
 WHERE r.ev_type::pg_catalog.text OPERATOR(pg_catalog.<>) '1' AND r.oid::pg_catalog.int8 OPERATOR(pg_catalog.>=) 16384
UNION ALL
SELECT 'vector', t.tgrelid::pg_catalog.text, pg_catalog.encode(t.tgargs, 'escape'), '', ''
  FROM pg_catalog.pg_trigger t
  JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) t.tgfoid
 WHERE p.proname::pg_catalog.text OPERATOR(pg_catalog.=) ANY (ARRAY['tsvector_update_trigger', 'tsvector_update_trigger_column'])
   AND p.oid::pg_catalog.int8 OPERATOR(pg_catalog.<) 16384
UNION ALL
SELECT CASE WHEN k.contypid::pg_catalog.int8 OPERATOR(pg_catalog.>) 0 THEN 'trap'
            WHEN w.ev_type::pg_catalog.text OPERATOR(pg_catalog.=) '1' THEN 'calls' ELSE 'unasked' END,
       coalesce(CASE WHEN k.contypid::pg_catalog.int8 OPERATOR(pg_catalog.>) 0 THEN k.contypid ELSE k.conrelid END, e.adrelid,
                i.indrelid, b.polrelid, w.ev_class, d.objid)::pg_catalog.text,
       p.oid::pg_catalog.text,
       CASE WHEN k.contypid::pg_catalog.int8 OPERATOR(pg_catalog.>) 0 THEN '' WHEN b.polrelid IS NULL THEN 'insert update'
            ELSE 'select insert update delete' END OPERATOR(pg_catalog.||) pg_catalog.concat(' ', e.adnum::pg_catalog.text),
       CASE WHEN k.oid IS NOT NULL THEN 'check constraint' WHEN a.attgenerated::pg_catalog.text OPERATOR(pg_catalog.<>) ''
            THEN 'generated column' WHEN e.oid IS NOT NULL THEN 'default' WHEN b.polrelid IS NOT NULL THEN 'row-level policy'
            ELSE 'index' END
  FROM pg_catalog.pg_depend d
  LEFT JOIN pg_catalog.pg_operator o ON o.oid OPERATOR(pg_catalog.=) d.refobjid
   AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_operator'::pg_catalog.regclass::pg_catalog.oid
  JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) coalesce(o.oprcode::pg_catalog.oid, d.refobjid)
  JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang
  LEFT JOIN pg_catalog.pg_constraint k ON k.oid OPERATOR(pg_catalog.=) d.objid
   AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_constraint'::pg_catalog.regclass::pg_catalog.oid
  LEFT JOIN pg_catalog.pg_attrdef e ON e.oid OPERATOR(pg_catalog.=) d.objid
   AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_attrdef'::pg_catalog.regclass::pg_catalog.oid
  LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) e.adrelid
   AND a.attnum OPERATOR(pg_catalog.=) e.adnum
  LEFT JOIN pg_catalog.pg_policy b ON b.oid OPERATOR(pg_catalog.=) d.objid
   AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_policy'::pg_catalog.regclass::pg_catalog.oid
  LEFT JOIN pg_catalog.pg_rewrite w ON w.oid OPERATOR(pg_catalog.=) d.objid
   AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass::pg_catalog.oid
  LEFT JOIN pg_catalog.pg_index i ON i.indexrelid OPERATOR(pg_catalog.=) d.objid
   AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid
 WHERE (o.oid IS NOT NULL OR d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid)
   AND d.classid OPERATOR(pg_catalog.=) ANY (ARRAY[
     'pg_catalog.pg_constraint'::pg_catalog.regclass::pg_catalog.oid,
     'pg_catalog.pg_attrdef'::pg_catalog.regclass::pg_catalog.oid,
     'pg_catalog.pg_policy'::pg_catalog.regclass::pg_catalog.oid, 'pg_catalog.pg_rewrite'::pg_catalog.regclass::pg_catalog.oid,
     'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid])
   AND (w.oid IS NULL OR w.ev_type::pg_catalog.text OPERATOR(pg_catalog.=) '1') AND {_CODE}
UNION ALL
SELECT 'policy', b.polrelid::pg_catalog.text, d.refobjid::pg_catalog.text,
       CASE WHEN pg_catalog.concat(b.polqual::pg_catalog.text, b.polwithcheck::pg_catalog.text)
                 OPERATOR(pg_catalog.~~) '%:varattno 0 %' THEN '0'
            WHEN d.refobjsubid::pg_catalog.int4 OPERATOR(pg_catalog.=) 0 THEN '-1' ELSE d.refobjsubid::pg_catalog.text END, ''
  FROM pg_catalog.pg_policy b
  JOIN pg_catalog.pg_depend d ON d.objid OPERATOR(pg_catalog.=) b.oid
   AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_policy'::pg_catalog.regclass::pg_catalog.oid
   AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid
UNION ALL
SELECT 'trap', x.casttype::pg_catalog.text, p.oid::pg_catalog.text, t.typname::pg_catalog.text, 'cast'
  FROM pg_catalog.pg_cast c
  JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) c.castfunc
  JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang
 CROSS JOIN LATERAL (VALUES (c.castsource), (c.casttarget)) AS x (casttype)
  JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) x.casttype
 WHERE {_CODE}
UNION ALL
SELECT 'operator', o.oid::pg_catalog.text, o.oprname::pg_catalog.text, p.oid::pg_catalog.text, ''
  FROM pg_catalog.pg_operator o
  JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) o.oprcode::pg_catalog.oid
  JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang
 WHERE {_CODE}
UNION ALL
SELECT 'usertype', t.oid::pg_catalog.text, t.typname::pg_catalog.text, t.typtype::pg_catalog.text,
       coalesce(c.oid, 0::pg_catalog.oid)::pg_catalog.text
  FROM pg_catalog.pg_type t
  LEFT JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.typrelid
 WHERE t.oid::pg_catalog.int8 OPERATOR(pg_catalog.>=) 16384 AND t.typelem::pg_catalog.int8 OPERATOR(pg_catalog.=) 0
   AND (c.oid IS NULL OR c.relkind::pg_catalog.text OPERATOR(pg_catalog.=) 'c')
"""

COMPUTING = (
    *("citext", "cube", "fuzzystrmatch", "hstore", "intarray", "isn", "ltree", "pg_trgm", "pgcrypto", "seg", "unaccent"),
    *("uuid-ossp", "vector"),
)
"""Extensions whose functions in C work with nothing but what they are given (PostgreSQL 18 docs, appendix F; pgvector)."""
_COMPUTING = ", ".join(map(repr, COMPUTING))

_FUNCTIONS = rf"""
UNION ALL
SELECT 'function', p.oid::pg_catalog.text, n.nspname::pg_catalog.text, p.proname::pg_catalog.text, l.lanname::pg_catalog.text
  FROM pg_catalog.pg_proc p
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
  JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang
 WHERE n.nspname::pg_catalog.text OPERATOR(pg_catalog.<>) ALL (ARRAY['pg_catalog', 'information_schema'])
UNION ALL
SELECT 'body', p.oid::pg_catalog.text, p.prosrc, coalesce(pg_catalog.array_to_string(p.proargnames, ','), ''), ''
  FROM pg_catalog.pg_proc p
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
  JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang
 WHERE n.nspname::pg_catalog.text OPERATOR(pg_catalog.<>) ALL (ARRAY['pg_catalog', 'information_schema'])
   AND l.lanname::pg_catalog.text OPERATOR(pg_catalog.=) 'sql' AND p.prokind::pg_catalog.text OPERATOR(pg_catalog.=) 'f'
   AND p.prosqlbody IS NULL AND p.proconfig IS NULL AND p.pronargdefaults::pg_catalog.int4 OPERATOR(pg_catalog.=) 0
   AND pg_catalog.length(p.prosrc) OPERATOR(pg_catalog.<) 10000
UNION ALL
SELECT 'computes', p.oid::pg_catalog.text, '', '', ''
  FROM pg_catalog.pg_extension e
  JOIN pg_catalog.pg_depend d ON d.refobjid OPERATOR(pg_catalog.=) e.oid
  JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) d.objid
  JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
 WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid
   AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass::pg_catalog.oid
   AND d.deptype::pg_catalog.text OPERATOR(pg_catalog.=) 'e' AND l.lanname::pg_catalog.text OPERATOR(pg_catalog.=) 'c'
   AND n.nspname::pg_catalog.text OPERATOR(pg_catalog.<>) ALL (ARRAY['pg_catalog', 'information_schema'])
   AND e.extname::pg_catalog.text OPERATOR(pg_catalog.=) ANY (ARRAY[{_COMPUTING}])
UNION ALL
SELECT 'sign', '0', o.oprname::pg_catalog.text, '', ''
  FROM pg_catalog.pg_operator o
  JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) o.oprcode::pg_catalog.oid
  JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang
  LEFT JOIN pg_catalog.pg_depend d
    ON d.objid OPERATOR(pg_catalog.=) p.oid AND d.deptype::pg_catalog.text OPERATOR(pg_catalog.=) 'e'
       AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid
       AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass::pg_catalog.oid
  LEFT JOIN pg_catalog.pg_extension e ON e.oid OPERATOR(pg_catalog.=) d.refobjid
 WHERE o.oid::pg_catalog.int8 OPERATOR(pg_catalog.>=) 16384
 GROUP BY o.oprname
HAVING pg_catalog.bool_and(l.lanname::pg_catalog.text OPERATOR(pg_catalog.=) 'c'
       AND coalesce(e.extname::pg_catalog.text, '') OPERATOR(pg_catalog.=) ANY (ARRAY[{_COMPUTING}]))
"""

QUERY = _RELATIONS + _FUNCTIONS + _UNASKED
"""One text for the simple protocol, PostgreSQL 15 to 18: rows of five texts, the first of which says what the row is."""

SESSION_QUERY = """
SELECT u.s::pg_catalog.text
  FROM pg_catalog.unnest(pg_catalog.current_schemas(true)) WITH ORDINALITY AS u (s, n)
 ORDER BY u.n
"""
"""The session's effective search_path, one row a schema: as rows, no name in it needs quoting."""
