"""Handlers of the definition of relations: tables, views, sequences, indexes, triggers, rules, row policies."""

from __future__ import annotations

from .analysis import Access
from .found import Found, Tree, relation_name, strings
from .objects import act_on, act_on_relation, later, parts_of, refer, stored, word
from .query import created, created_name
from .visit import Scope, children, handles, visit

handles(
    "AlterTableCmd",
    "ATAlterConstraint",
    "ColumnDef",
    "IndexElem",
    "PartitionElem",
    "PartitionRangeDatum",
    "PartitionSpec",
    "PartitionBoundSpec",
    "ReplicaIdentityStmt",
    "StatsElem",
)(children)


@handles("CreateStmt")
def create_table(body: Tree, scope: Scope, found: Found) -> None:
    """CREATE TABLE. A parent's owner must agree to a child, as rows of the child are read through the parent."""
    found.flags.add("ddl")
    found.write("create", created_name(body["relation"]))
    for item in body.get("inhRelations", []):
        act_on_parent(item["RangeVar"], found)
    stored(body, scope, found, skip=("relation", "inhRelations", "ofTypename"))


def act_on_parent(body: Tree, found: Found) -> None:
    """A partition or child is put under this table."""
    found.accesses.add(Access("alter", "table", relation_name(body), "inherits"))


@handles("CreateForeignTableStmt")
def create_foreign_table(body: Tree, scope: Scope, found: Found) -> None:
    """CREATE FOREIGN TABLE: its rows are elsewhere."""
    found.flags.add("network")
    create_table(body["base"], scope, found)
    found.accesses.add(Access("create", "database", None, f"foreign table on server {body.get('servername', '')}"))


@handles("CreateTableAsStmt")
def create_table_as(body: Tree, scope: Scope, found: Found) -> None:
    """CREATE TABLE AS, CREATE MATERIALIZED VIEW."""
    found.flags.add("ddl")
    if body.get("objtype") == "OBJECT_MATVIEW":
        found.flags.add("deferred")
    created(body["into"], scope, found)
    visit(body["query"], scope, found)


@handles("ViewStmt")
def create_view(body: Tree, scope: Scope, found: Found) -> None:
    """CREATE VIEW. Whoever may read the view reads the tables below it, so its query is judged here."""
    found.flags.add("ddl")
    found.write("create", created_name(body["view"]), "view")
    later(body["query"], scope, found)


@handles("IndexStmt")
def create_index(body: Tree, scope: Scope, found: Found) -> None:
    """CREATE INDEX."""
    act_on_relation("create", body["relation"], found, "index")
    stored(body, scope, found, skip=("relation",))


@handles("CreateSeqStmt")
def create_sequence(body: Tree, _scope: Scope, found: Found) -> None:
    """CREATE SEQUENCE."""
    found.flags.add("ddl")
    found.write("create", created_name(body["sequence"]), "sequence")


@handles("AlterSeqStmt")
def alter_sequence(body: Tree, _scope: Scope, found: Found) -> None:
    """ALTER SEQUENCE."""
    act_on_relation("alter", body["sequence"], found, "sequence")


@handles("AlterTableStmt")
def alter_table(body: Tree, scope: Scope, found: Found) -> None:
    """ALTER TABLE with all its commands, for every kind of relation."""
    objtype = body.get("objtype", "OBJECT_TABLE")
    act_on("alter", objtype, parts_of({"RangeVar": body["relation"]}), found)
    for item in body.get("cmds", []):
        _alter_table_command(item["AlterTableCmd"], scope, found)


def _alter_table_command(command: Tree, scope: Scope, found: Found) -> None:
    if command.get("behavior") == "DROP_CASCADE":
        found.flags.add("cascade")
    stored(command, scope, found)
    definition = command.get("def", {})
    if "PartitionCmd" in definition:
        act_on_relation("alter", definition["PartitionCmd"]["name"], found)
    elif "RangeVar" in definition:
        act_on_parent(definition["RangeVar"], found)


@handles("PartitionCmd")
def partition(body: Tree, scope: Scope, found: Found) -> None:
    """ATTACH, DETACH PARTITION: its relation is entered by ALTER TABLE."""
    children(body, scope, found, skip=("name",))


@handles("Constraint")
def constraint(body: Tree, scope: Scope, found: Found) -> None:
    """A constraint; a foreign key answers whether a key exists in the other table."""
    if "pktable" in body:
        found.accesses.add(Access("select", "table", relation_name(body["pktable"]), "references"))
    children(body, scope, found, skip=("pktable",))


@handles("TableLikeClause")
def like(body: Tree, _scope: Scope, found: Found) -> None:
    """LIKE other: its columns, defaults, comments are copied."""
    found.accesses.add(Access("select", "table", relation_name(body["relation"]), "like"))


@handles("CreateTrigStmt")
def create_trigger(body: Tree, scope: Scope, found: Found) -> None:
    """CREATE TRIGGER: the function runs with every later change of the table."""
    act_on_relation("create", body["relation"], found, "trigger")
    refer(strings(body["funcname"]), found)
    if "constrrel" in body:
        found.accesses.add(Access("select", "table", relation_name(body["constrrel"]), "references"))
    stored(body, scope, found, skip=("relation", "constrrel", "funcname", "args"))


@handles("RuleStmt")
def create_rule(body: Tree, scope: Scope, found: Found) -> None:
    """CREATE RULE: its actions replace or follow other people's statements."""
    act_on_relation("create", body["relation"], found, "rule")
    found.flags.add("deferred")
    for action in body.get("actions", []):
        later(action, scope | {"old", "new"}, found)
    stored(body, scope, found, skip=("relation", "actions"))


@handles("CreatePolicyStmt", "AlterPolicyStmt")
def row_policy(body: Tree, scope: Scope, found: Found) -> None:
    """CREATE POLICY, ALTER POLICY: which rows others see."""
    act_on_relation("create" if "cmd_name" in body else "alter", body["table"], found, "policy")
    stored(body, scope, found, skip=("table",))


@handles("CreateStatsStmt")
def create_statistics(body: Tree, scope: Scope, found: Found) -> None:
    """CREATE STATISTICS."""
    for item in body.get("relations", []):
        if "RangeVar" not in item:
            # The grammar takes any FROM here; the server refuses all but one table.
            found.unknown("CREATE STATISTICS is on one table")
            continue
        act_on_relation("create", item["RangeVar"], found, "statistics")
    stored(body, scope, found, skip=("relations",))


@handles("AlterStatsStmt")
def alter_statistics(body: Tree, _scope: Scope, found: Found) -> None:
    """ALTER STATISTICS."""
    act_on("alter", "OBJECT_STATISTIC_EXT", strings(body["defnames"]), found)


@handles("RefreshMatViewStmt")
def refresh(body: Tree, _scope: Scope, found: Found) -> None:
    """REFRESH MATERIALIZED VIEW: runs its stored query."""
    found.write("refresh", relation_name(body["relation"]))


@handles("DropStmt")
def drop(body: Tree, _scope: Scope, found: Found) -> None:
    """DROP of nearly everything."""
    if body.get("behavior") == "DROP_CASCADE":
        found.flags.add("cascade")
    for item in body["objects"]:
        act_on("drop", body["removeType"], parts_of(item), found)


@handles("AlterTableMoveAllStmt")
def move_all(body: Tree, _scope: Scope, found: Found) -> None:
    """ALTER TABLE ALL IN TABLESPACE."""
    found.flags.add("ddl")
    found.session("alter", f"{word(body.get('objtype', 'OBJECT_TABLE'))} all in tablespace {body.get('orig_tablespacename', '')}")
