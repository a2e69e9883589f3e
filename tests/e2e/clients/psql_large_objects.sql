-- libpq reads and writes large objects by FunctionCall messages, not by SQL.
BEGIN;
\lo_import /etc/debian_version 'a comment'
SELECT length(lo_get(:LASTOID));
\lo_export :LASTOID /dev/null
\lo_unlink :LASTOID
\lo_unlink 1
COMMIT;
