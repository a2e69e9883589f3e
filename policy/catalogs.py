"""What is known of PostgreSQL's own relations: which hold definitions only, which hold data in disguise."""

from __future__ import annotations

DEFINITIONS = "catalog.definitions"
"""Tag of system relations that hold nothing but definitions; the base policy lets everyone read them."""
SAMPLES = "catalog.samples"
"""Tag of system relations that hold samples of tables' data, large objects, or texts of other sessions."""
BUILT_IN_TAGS = (DEFINITIONS, SAMPLES)

HOLDS_SAMPLES = frozenset(
    str.split(
        """
        pg_statistic pg_stats pg_statistic_ext_data pg_stats_ext pg_stats_ext_exprs pg_stat_activity
        pg_stat_statements pg_largeobject
        """
    )
)
"""In ``pg_catalog``, and ``pg_stat_statements`` wherever its extension put it (PostgreSQL 18 docs §52, §53, §27.2)."""

READS_OBJECTS = frozenset(["lo_get", "loread"])
"""Functions that return what ``pg_largeobject`` holds."""

SAMPLE_COLUMNS = {
    "pg_statistic": tuple(f"stavalues{n}" for n in range(1, 6)),
    "pg_stats": ("most_common_vals", "histogram_bounds", "most_common_elems", "range_length_histogram", "range_bounds_histogram"),
    "pg_statistic_ext_data": ("stxdmcv", "stxdexpr"),
    "pg_stats_ext": ("most_common_vals",),
    "pg_stats_ext_exprs": ("most_common_vals", "histogram_bounds", "most_common_elems"),
    "pg_stat_activity": ("query",),
    "pg_stat_statements": ("query",),
    "pg_largeobject": ("data",),
}
"""The columns of these in which values stand; the others tell of their number and spread."""

# Judged by hand from PostgreSQL 18's catalogs. Left out: secrets (pg_authid, pg_shadow, pg_user_mapping*, pg_subscription,
# pg_foreign_server*, pg_db_role_setting), files (pg_hba_file_rules, pg_file_settings, pg_config, …), activity (pg_stat*,
# pg_locks, …), counters (pg_sequences), everything in HOLDS_SAMPLES.
_HARMLESS = frozenset(
    str.split(
        """
        pg_aggregate pg_am pg_amop pg_amproc pg_attrdef pg_attribute pg_auth_members
        pg_available_extension_versions pg_available_extensions pg_cast pg_class pg_collation pg_constraint
        pg_conversion pg_cursors pg_database pg_default_acl pg_depend pg_description pg_enum pg_event_trigger
        pg_extension pg_foreign_data_wrapper pg_foreign_table pg_group pg_index pg_indexes pg_inherits
        pg_init_privs pg_language pg_matviews pg_namespace pg_opclass pg_operator pg_opfamily
        pg_partitioned_table pg_policies pg_policy pg_prepared_statements pg_proc pg_publication
        pg_publication_namespace pg_publication_rel pg_publication_tables pg_range pg_rewrite pg_roles pg_rules
        pg_seclabel pg_seclabels pg_sequence pg_settings pg_shdepend pg_shdescription pg_shseclabel
        pg_statistic_ext pg_tables pg_tablespace pg_timezone_abbrevs pg_timezone_names pg_transform pg_trigger
        pg_ts_config pg_ts_config_map pg_ts_dict pg_ts_parser pg_ts_template pg_type pg_user pg_views
        """
    )
)
_INFORMATION_SCHEMA_SECRETS = frozenset(
    str.split(
        """
        _pg_foreign_servers _pg_foreign_tables _pg_user_mappings foreign_server_options foreign_table_options
        user_mapping_options
        """
    )
)


def tags_of(schema: str, name: str) -> tuple[str, ...]:
    """The built-in tags of a relation: one at most."""
    if name in HOLDS_SAMPLES and (schema == "pg_catalog" or name == "pg_stat_statements"):
        return (SAMPLES,)
    if schema == "pg_catalog" and name in _HARMLESS:
        return (DEFINITIONS,)
    if schema == "information_schema" and name not in _INFORMATION_SCHEMA_SECRETS:
        return (DEFINITIONS,)
    return ()
