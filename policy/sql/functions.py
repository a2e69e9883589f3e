"""What PostgreSQL's built-in functions can do, by class.

A call is classed by name alone: without the catalog the types of its arguments are not known, so a name has the class of its
most capable signature. Names come from the catalogs of releases 15 to 18 (`postgres_functions`); what they can do was judged by
hand here, closed by default: a volatile function that nobody judged ``writes``.

Why an unqualified name may be taken for the built-in: ``pg_catalog`` is searched first unless the search_path lists it later,
and a function of the same argument types found earlier wins. Two ways remain for a user function to be called under a
built-in's name:

- ``pg_catalog`` listed explicitly behind another schema. That is session state, so it is the decider's duty: it must not use an
  analysis under such a search_path;
- a user function of that name whose argument types match *better* than any of the built-in's. Somebody has to create it, which is
  an access of its own (``create`` on a function), as for operators, casts and types of the same kind.

Everything that PostgreSQL did not bring is ``unknown``: what its body does is not in the text.
"""

from __future__ import annotations

from typing import NamedTuple

from .analysis import Name
from .postgres_functions import STEADY_FUNCTIONS, VOLATILE_FUNCTIONS
from .postgres_names import OPERATORS, TYPES, names

PURE = "pure"
UNKNOWN = "unknown"


class Consequence(NamedTuple):
    """What calling a function of a class adds to a statement, besides the ``call`` access."""

    flags: frozenset[str] = frozenset()
    effects: frozenset[str] = frozenset()


def _then(flags: str = "", effects: str = "") -> Consequence:
    return Consequence(frozenset(flags.split()), frozenset(effects.split()))


CONSEQUENCES: dict[str, Consequence] = {
    PURE: _then(),
    "reads_catalog": _then(),
    "reads_settings": _then(),
    "reads_activity": _then(),
    "reads_files": _then("file"),
    "writes_files": _then("file side_effect"),
    "writes": _then("side_effect"),
    "settings": _then("session_setting", "set"),
    "signals": _then("side_effect"),
    "runs_sql_text": _then("opaque", "unknown"),
    "network": _then("network opaque", "unknown"),
    "large_objects": _then("side_effect"),
    "sequences": _then("side_effect"),
    "locks": _then("side_effect"),
    "sleeps": _then(),
    "notifies": _then("side_effect", "notify"),
    "replication": _then("side_effect opaque"),
    UNKNOWN: _then("opaque", "call"),
}
"""Class → what follows. `pure` functions alone need no permission."""

CURATED: dict[str, str] = {
    "runs_sql_text": """
        query_to_xml query_to_xmlschema query_to_xml_and_xmlschema cursor_to_xml cursor_to_xmlschema table_to_xml
        table_to_xmlschema table_to_xml_and_xmlschema schema_to_xml schema_to_xmlschema schema_to_xml_and_xmlschema
        database_to_xml database_to_xmlschema database_to_xml_and_xmlschema ts_stat ts_rewrite""",
    "network": """
        dblink dblink_connect dblink_connect_u dblink_exec dblink_open dblink_fetch dblink_send_query dblink_get_result
        dblink_close dblink_disconnect dblink_cancel_query pg_sync_replication_slots""",
    "reads_files": """
        pg_read_file pg_read_file_old pg_read_binary_file pg_stat_file pg_ls_dir pg_ls_archive_statusdir pg_ls_logdir
        pg_ls_logicalmapdir pg_ls_logicalsnapdir pg_ls_replslotdir pg_ls_summariesdir pg_ls_tmpdir pg_ls_waldir
        pg_current_logfile pg_hba_file_rules pg_ident_file_mappings pg_show_all_file_settings pg_control_checkpoint
        pg_control_init pg_control_recovery pg_control_system pg_available_wal_summaries pg_wal_summary_contents
        pg_get_wal_summarizer_state pg_available_extensions pg_available_extension_versions pg_extension_update_paths""",
    "writes_files": "lo_import lo_export",
    "settings": "set_config",
    "signals": """
        pg_cancel_backend pg_terminate_backend pg_reload_conf pg_rotate_logfile pg_rotate_logfile_old pg_promote
        pg_log_backend_memory_contexts pg_log_standby_snapshot pg_wal_replay_pause pg_wal_replay_resume""",
    "large_objects": """
        lo_close lo_creat lo_create lo_from_bytea lo_get lo_lseek lo_lseek64 lo_open lo_put lo_tell lo_tell64 lo_truncate
        lo_truncate64 lo_unlink loread lowrite""",
    "sequences": "nextval setval",
    "locks": """
        pg_advisory_lock pg_advisory_lock_shared pg_advisory_unlock pg_advisory_unlock_all pg_advisory_unlock_shared
        pg_advisory_xact_lock pg_advisory_xact_lock_shared pg_try_advisory_lock pg_try_advisory_lock_shared
        pg_try_advisory_xact_lock pg_try_advisory_xact_lock_shared""",
    "sleeps": "pg_sleep pg_sleep_for pg_sleep_until",
    "notifies": "pg_notify",
    "replication": """
        pg_logical_emit_message pg_logical_slot_get_binary_changes pg_logical_slot_get_changes
        pg_logical_slot_peek_binary_changes pg_logical_slot_peek_changes pg_copy_logical_replication_slot
        pg_copy_physical_replication_slot pg_create_logical_replication_slot pg_create_physical_replication_slot
        pg_drop_replication_slot pg_replication_slot_advance pg_replication_origin_advance pg_replication_origin_create
        pg_replication_origin_drop pg_replication_origin_session_reset pg_replication_origin_session_setup
        pg_replication_origin_xact_reset pg_replication_origin_xact_setup""",
    "reads_activity": """
        pg_stat_get_activity pg_stat_get_backend_activity pg_stat_get_wal_senders pg_stat_get_wal_receiver
        pg_stat_get_subscription pg_mcv_list_items pg_prepared_xact pg_lock_status pg_get_aios""",
    "reads_settings": """
        current_setting pg_show_all_settings pg_settings_get_flags pg_config pg_listening_channels pg_prepared_statement
        pg_cursor currval lastval row_security_active""",
    "reads_catalog": """
        col_description obj_description shobj_description format_type aclexplode enum_first enum_last enum_range currtid2
        pg_get_viewdef pg_relation_size pg_table_size pg_total_relation_size pg_indexes_size pg_database_size
        pg_tablespace_size pg_sequence_last_value pg_get_sequence_data pg_blocking_pids pg_safe_snapshot_blocking_pids
        pg_collation_actual_version pg_database_collation_actual_version pg_get_backend_memory_contexts
        pg_get_loaded_modules pg_get_multixact_members pg_get_shmem_allocations pg_get_shmem_allocations_numa
        pg_get_wait_events pg_get_wal_replay_pause_state pg_get_wal_resource_managers
        pg_isolation_test_session_is_blocked pg_last_committed_xact pg_notification_queue_usage pg_partition_ancestors
        pg_partition_tree pg_partition_root pg_replication_origin_progress pg_replication_origin_session_is_setup
        pg_replication_origin_session_progress pg_show_replication_origin_status pg_stat_have_stats
        pg_xact_commit_timestamp pg_xact_commit_timestamp_origin pg_xact_status txid_status amvalidate
        pg_current_wal_flush_lsn pg_current_wal_insert_lsn pg_current_wal_lsn pg_last_wal_receive_lsn
        pg_last_wal_replay_lsn pg_last_xact_replay_timestamp pg_is_wal_replay_paused plpgsql_validator regclass""",
    PURE: """
        clock_timestamp timeofday random random_normal gen_random_uuid uuidv4 uuidv7 current_query array_sample
        array_shuffle pg_is_in_recovery pg_jit_available bernoulli system pg_backend_pid pg_basetype pg_char_to_encoding
        pg_client_encoding pg_encoding_to_char pg_encoding_max_length pg_collation_for pg_column_compression
        pg_column_size pg_column_toast_chunk_id pg_conf_load_time pg_current_snapshot pg_current_xact_id
        pg_current_xact_id_if_assigned pg_get_keywords pg_input_error_info pg_input_is_valid pg_is_other_temp_schema
        pg_my_temp_schema pg_numa_available pg_options_to_table pg_postmaster_start_time pg_size_bytes pg_size_pretty
        pg_timezone_names pg_timezone_abbrevs pg_timezone_abbrevs_abbrevs pg_timezone_abbrevs_zone pg_trigger_depth
        pg_typeof pg_visible_in_snapshot pg_wal_lsn_diff pg_walfile_name pg_walfile_name_offset pg_split_walfile_name
        name point lseg box line oidvector int2vector char dsnowball_init dsnowball_lexize""",
}
"""Class → the functions judged to belong to it; the rest follows from volatility and prefix."""

MAY_READ_ANYTHING = frozenset([UNKNOWN, "reads_files", "reads_activity", "replication"])
"""Classes of functions whose result may hold any table's data: by a body out of sight, from files, others' statements."""

VOLATILE_PURE = names("clock_timestamp timeofday random random_normal gen_random_uuid uuidv4 uuidv7 array_sample array_shuffle")
"""Pure functions that may answer differently each time: ``random() = random()`` proves nothing."""

CATALOG_PREFIXES = ("pg_get_", "pg_stat_get_", "has_", "to_reg", "pg_identify_", "pg_describe_")
STEADY_PG = ("pg_lsn", "pg_snapshot", "pg_mcv_list_", "pg_ndistinct_", "pg_dependencies_", "pg_node_tree_", "pg_ddl_command_")


def _steady_class(name: str) -> str:
    if name.startswith(CATALOG_PREFIXES) or (name.startswith("pg_") and not name.startswith(STEADY_PG)):
        return "reads_catalog"
    return PURE


def _volatile_class(name: str) -> str:
    return "reads_catalog" if name.startswith("pg_stat_get_") else "writes"


def _table() -> dict[str, str]:
    table = {name: _steady_class(name) for name in STEADY_FUNCTIONS}
    table.update((name, _volatile_class(name)) for name in VOLATILE_FUNCTIONS)
    table.update((name, PURE) for name in TYPES if name not in table)
    table.update((name, kind) for kind, listed in CURATED.items() for name in names(listed))
    return table


CLASSES: dict[str, str] = _table()
"""Function name → class, for everything that PostgreSQL brings (and dblink, whose names speak for themselves)."""


THREE_ARGUMENTS_PURE = frozenset({"ts_rewrite"})
"""Functions that take a query's text with two arguments, and none with three."""


def classify(name: Name) -> str:
    """The class of a function. dblink is known in whatever schema it was installed."""
    if name.schema in (None, "pg_catalog") and name.database is None:
        return CLASSES.get(name.name, UNKNOWN)
    if name.schema == "information_schema" and name.name.startswith("_pg_"):
        return "reads_catalog"
    return "network" if name.name.startswith("dblink") else UNKNOWN


def is_builtin_operator(name: Name) -> bool:
    """Whether PostgreSQL brought this operator; those of extensions call functions of unknown body."""
    return name.name in OPERATORS and name.schema in (None, "pg_catalog") and name.database is None
