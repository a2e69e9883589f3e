"""Handlers of the definition of everything that is not a relation: functions, types, roles, servers, extensions, databases."""

from __future__ import annotations

from .analysis import Access, Name
from .found import Found, Tree, relation_name, strings
from .objects import FUNCTIONS, RELATIONS, act_on, act_on_relation, later, parts_of, refer, stored, word
from .postgres_names import names
from .visit import Handler, Scope, children, handles, visit

handles("FunctionParameter", "CreateOpClassItem")(children)

SUPERUSER_ROLES = frozenset({"pg_execute_server_program", "pg_read_server_files", "pg_write_server_files"})
"""Predefined roles from which superuser is one step away."""

EMPTY_TEMPLATES = ("", "template0", "template1")
"""What a new database is made of where nothing else is said, and its pristine version."""

NAMED: dict[str, tuple[str, str, str, str]] = {
    "AlterDatabaseRefreshCollStmt": ("alter", "OBJECT_DATABASE", "dbname", ""),
    "AlterDatabaseSetStmt": ("alter", "OBJECT_DATABASE", "dbname", ""),
    "AlterDatabaseStmt": ("alter", "OBJECT_DATABASE", "dbname", ""),
    "AlterEventTrigStmt": ("alter", "OBJECT_EVENT_TRIGGER", "trigname", "superuser"),
    "AlterExtensionContentsStmt": ("alter", "OBJECT_EXTENSION", "extname", ""),
    "AlterExtensionStmt": ("alter", "OBJECT_EXTENSION", "extname", "superuser opaque"),
    "AlterForeignServerStmt": ("alter", "OBJECT_FOREIGN_SERVER", "servername", "network"),
    "AlterSubscriptionStmt": ("alter", "OBJECT_SUBSCRIPTION", "subname", "network"),
    "AlterTableSpaceOptionsStmt": ("alter", "OBJECT_TABLESPACE", "tablespacename", ""),
    "AlterUserMappingStmt": ("alter", "OBJECT_FOREIGN_SERVER", "servername", "network"),
    "CreateAmStmt": ("create", "OBJECT_ACCESS_METHOD", "amname", "superuser"),
    "CreateExtensionStmt": ("create", "OBJECT_EXTENSION", "extname", "superuser opaque"),
    "CreateForeignServerStmt": ("create", "OBJECT_FOREIGN_SERVER", "servername", "network"),
    "CreatePLangStmt": ("create", "OBJECT_LANGUAGE", "plname", "superuser"),
    "CreateSubscriptionStmt": ("create", "OBJECT_SUBSCRIPTION", "subname", "network superuser"),
    "CreateTableSpaceStmt": ("create", "OBJECT_TABLESPACE", "tablespacename", "file superuser"),
    "CreateUserMappingStmt": ("create", "OBJECT_FOREIGN_SERVER", "servername", "network"),
    "DropSubscriptionStmt": ("drop", "OBJECT_SUBSCRIPTION", "subname", "network"),
    "DropTableSpaceStmt": ("drop", "OBJECT_TABLESPACE", "tablespacename", ""),
    "DropUserMappingStmt": ("drop", "OBJECT_FOREIGN_SERVER", "servername", ""),
    "DropdbStmt": ("drop", "OBJECT_DATABASE", "dbname", ""),
}
"""Statements about one object named by one plain field: (action, object type, field, flags)."""

QUALIFIED: dict[str, tuple[str, str, str, str]] = {
    "AlterCollationStmt": ("alter", "OBJECT_COLLATION", "collname", ""),
    "AlterDomainStmt": ("alter", "OBJECT_DOMAIN", "typeName", ""),
    "AlterEnumStmt": ("alter", "OBJECT_TYPE", "typeName", ""),
    "AlterOpFamilyStmt": ("alter", "OBJECT_OPFAMILY", "opfamilyname", "superuser"),
    "AlterTSConfigurationStmt": ("alter", "OBJECT_TSCONFIGURATION", "cfgname", ""),
    "AlterTSDictionaryStmt": ("alter", "OBJECT_TSDICTIONARY", "dictname", ""),
    "AlterTypeStmt": ("alter", "OBJECT_TYPE", "typeName", "superuser"),
    "CreateConversionStmt": ("create", "OBJECT_CONVERSION", "conversion_name", ""),
    "CreateDomainStmt": ("create", "OBJECT_DOMAIN", "domainname", ""),
    "CreateEnumStmt": ("create", "OBJECT_TYPE", "typeName", ""),
    "CreateOpClassStmt": ("create", "OBJECT_OPCLASS", "opclassname", "superuser"),
    "CreateOpFamilyStmt": ("create", "OBJECT_OPFAMILY", "opfamilyname", "superuser"),
    "CreateRangeStmt": ("create", "OBJECT_TYPE", "typeName", ""),
}
"""The same for objects with a qualified name, a list of strings."""

DEFINED_WITH = names("""
    function procedure sfunc finalfunc combinefunc serialfunc deserialfunc msfunc minvfunc mfinalfunc input output receive send
    typmod_in typmod_out analyze subscript restrict join handler validator inline canonical subtype_diff""")
"""Options of definitions that name a function."""


def _plain(spec: tuple[str, str, str, str], *, qualified: bool) -> Handler:
    """The handler of a statement about one object, whose name is in one field."""
    action, objtype, field, flags = spec

    def handler(body: Tree, scope: Scope, found: Found) -> None:
        parts = strings(body[field]) if qualified else (str(body.get(field, "")),)
        act_on(action, objtype, parts, found)
        found.flags.update(flags.split())
        if body.get("behavior") == "DROP_CASCADE":
            found.flags.add("cascade")
        if "func_name" in body:
            refer(strings(body["func_name"]), found)
        stored(body, scope, found, skip=("items",) if objtype == "OBJECT_OPCLASS" else ())
        for item in body.get("items", []):
            _operator_class_item(item, found)

    return handler


def _operator_class_item(item: Tree, found: Found) -> None:
    """An operator class names functions that every later index use calls."""
    named = item.get("CreateOpClassItem", {}).get("name", {})
    if "objname" in named:
        refer(strings(named["objname"]), found)


for _kind, _spec in NAMED.items():
    handles(_kind)(_plain(_spec, qualified=False))
for _kind, _spec in QUALIFIED.items():
    handles(_kind)(_plain(_spec, qualified=True))


@handles("CreatedbStmt")
def create_database(body: Tree, _scope: Scope, found: Found) -> None:
    """CREATE DATABASE; of another's template it is a copy."""
    options = {item["DefElem"]["defname"]: item["DefElem"].get("arg", {}) for item in body.get("options", [])}
    template = "".join(parts_of(options.get("template", {})))
    copied = f" template {template}" if template not in EMPTY_TEMPLATES else ""
    act_on("create", "OBJECT_DATABASE", (body["dbname"] + copied,), found)


@handles("CreateSchemaStmt")
def create_schema(body: Tree, scope: Scope, found: Found) -> None:
    """CREATE SCHEMA, with the objects made in it."""
    schema = body.get("schemaname") or body.get("authrole", {}).get("rolename", "")
    act_on("create", "OBJECT_SCHEMA", (schema,), found)
    for element in body.get("schemaElts", []):
        for part in element.values():
            for field in ("relation", "view", "sequence"):
                if field in part and "schemaname" not in part[field]:
                    part[field]["schemaname"] = schema
        visit(element, scope, found)


@handles("CompositeTypeStmt")
def create_composite(body: Tree, scope: Scope, found: Found) -> None:
    """CREATE TYPE AS."""
    act_on("create", "OBJECT_TYPE", parts_of({"RangeVar": body["typevar"]}), found)
    stored(body, scope, found, skip=("typevar",))


@handles("DefineStmt")
def define(body: Tree, _scope: Scope, found: Found) -> None:
    """CREATE AGGREGATE, OPERATOR, TYPE, COLLATION, TEXT SEARCH …: definitions by a list of options."""
    kind = body["kind"]
    act_on("create", kind, strings(body["defnames"]), found)
    if kind in ("OBJECT_TSPARSER", "OBJECT_TSTEMPLATE") or (kind == "OBJECT_TYPE" and body.get("definition")):
        found.flags.add("superuser")
    for item in body.get("definition", []):
        option = item["DefElem"]
        if option["defname"] in DEFINED_WITH and "arg" in option:
            refer(parts_of(option["arg"]), found)


@handles("CreateFunctionStmt")
def create_function(body: Tree, scope: Scope, found: Found) -> None:
    """CREATE FUNCTION, PROCEDURE: a body in SQL's own grammar is judged; one in a string runs unseen when it is called."""
    act_on("create", "OBJECT_FUNCTION", strings(body["funcname"]), found)
    found.flags.add("deferred")
    for item in body.get("options", []):
        option = item["DefElem"]
        if option["defname"] == "language" and _is_untrusted(" ".join(parts_of(option["arg"])).lower()):
            found.flags.add("superuser")
    stored({"parameters": body.get("parameters", [])}, scope, found)
    if "sql_body" in body:
        later(body["sql_body"], scope, found)


handles("ReturnStmt")(children)


def _is_untrusted(language: str) -> bool:
    """Languages that only a superuser may use, since their code may do what the server process may."""
    return language in ("c", "internal") or (language.startswith("pl") and language.endswith("u"))


@handles("AlterFunctionStmt")
def alter_function(body: Tree, scope: Scope, found: Found) -> None:
    """ALTER FUNCTION … its attributes."""
    act_on("alter", "OBJECT_FUNCTION", strings(body["func"]["objname"]), found)
    stored(body, scope, found, skip=("func", "actions"))


@handles("AlterOperatorStmt")
def alter_operator(body: Tree, _scope: Scope, found: Found) -> None:
    """ALTER OPERATOR."""
    act_on("alter", "OBJECT_OPERATOR", strings(body["opername"]["objname"]), found)
    for item in body.get("options", []):
        if item["DefElem"]["defname"] in DEFINED_WITH and "arg" in item["DefElem"]:
            refer(parts_of(item["DefElem"]["arg"]), found)


@handles("CreateCastStmt")
def create_cast(body: Tree, _scope: Scope, found: Found) -> None:
    """CREATE CAST: its function may come to run unasked."""
    parts = ("->".join((".".join(strings(body["sourcetype"]["names"])), ".".join(strings(body["targettype"]["names"])))),)
    act_on("create", "OBJECT_CAST", parts, found)
    if "func" in body:
        refer(strings(body["func"]["objname"]), found)
    elif not body.get("inout"):
        found.flags.add("superuser")


@handles("CreateTransformStmt")
def create_transform(body: Tree, _scope: Scope, found: Found) -> None:
    """CREATE TRANSFORM."""
    act_on("create", "OBJECT_TRANSFORM", strings(body["type_name"]["names"]), found)
    found.flags.add("superuser")
    for field in ("fromsql", "tosql"):
        if field in body:
            refer(strings(body[field]["objname"]), found)


@handles("CreateEventTrigStmt")
def create_event_trigger(body: Tree, _scope: Scope, found: Found) -> None:
    """CREATE EVENT TRIGGER: the function runs with other people's DDL."""
    act_on("create", "OBJECT_EVENT_TRIGGER", (body.get("trigname", ""),), found)
    found.flags.add("superuser")
    refer(strings(body["funcname"]), found)


@handles("CreateFdwStmt", "AlterFdwStmt")
def foreign_data_wrapper(body: Tree, _scope: Scope, found: Found) -> None:
    """CREATE, ALTER FOREIGN DATA WRAPPER."""
    found.flags |= {"network", "superuser"}
    for item in body.get("func_options", []):
        if "arg" in item["DefElem"]:
            refer(parts_of(item["DefElem"]["arg"]), found)
    act_on("create", "OBJECT_FDW", (body.get("fdwname", ""),), found)


@handles("ImportForeignSchemaStmt")
def import_foreign_schema(body: Tree, _scope: Scope, found: Found) -> None:
    """IMPORT FOREIGN SCHEMA: makes tables that a remote server describes."""
    found.flags |= {"network", "ddl"}
    act_on("create", "OBJECT_SCHEMA", (body.get("local_schema", ""),), found)


@handles("CreatePublicationStmt", "AlterPublicationStmt")
def publication(body: Tree, scope: Scope, found: Found) -> None:
    """CREATE, ALTER PUBLICATION: what it publishes can be read by whoever subscribes."""
    action = "alter" if "action" in body else "create"
    act_on(action, "OBJECT_PUBLICATION", (body.get("pubname", ""),), found)
    if body.get("for_all_tables"):
        found.flags.add("superuser")
    for item in body.get("pubobjects", []):
        _published(item["PublicationObjSpec"], scope, found)


def _published(item: Tree, scope: Scope, found: Found) -> None:
    if "pubtable" in item:
        name = relation_name(item["pubtable"]["relation"])
        found.accesses.add(Access("select", "table", name, "publication"))
        stored(item["pubtable"], scope, found, skip=("relation",))
    else:
        found.flags.add("superuser")
        found.accesses.add(Access("select", "schema", Name(item.get("name", "")), "publication"))


@handles("CreateRoleStmt", "AlterRoleStmt")
def role(body: Tree, _scope: Scope, found: Found) -> None:
    """CREATE, ALTER ROLE (USER, GROUP)."""
    named = body["role"]
    action, name = ("create", named) if isinstance(named, str) else ("alter", role_name(named))
    act_on(action, "OBJECT_ROLE", (name,), found)
    for item in body.get("options", []):
        option = item["DefElem"]
        if option["defname"] == "superuser" and option.get("arg", {}).get("Boolean", {}).get("boolval"):
            found.flags.add("superuser")
        for member in option.get("arg", {}).get("List", {}).get("items", []):
            note_powerful_role(role_name(member.get("RoleSpec", {})), found)


def role_name(spec: Tree) -> str:
    """A RoleSpec as text: a name, or ``current_user`` and its like."""
    return str(spec.get("rolename") or spec.get("roletype", "").removeprefix("ROLESPEC_").lower())


def note_powerful_role(name: str, found: Found) -> None:
    """Membership in some predefined roles is as good as superuser."""
    if name in SUPERUSER_ROLES:
        found.flags.add("superuser")


@handles("AlterRoleSetStmt")
def alter_role_set(body: Tree, _scope: Scope, found: Found) -> None:
    """ALTER ROLE … SET: settings of later sessions."""
    act_on("alter", "OBJECT_ROLE", (role_name(body.get("role", {})) or "all",), found)


@handles("DropRoleStmt")
def drop_role(body: Tree, _scope: Scope, found: Found) -> None:
    """DROP ROLE."""
    for item in body["roles"]:
        act_on("drop", "OBJECT_ROLE", (role_name(item["RoleSpec"]),), found)


@handles("ReassignOwnedStmt", "DropOwnedStmt")
def owned(body: Tree, _scope: Scope, found: Found) -> None:
    """REASSIGN OWNED, DROP OWNED: every object of some roles."""
    action = "alter" if "newrole" in body else "drop"
    if body.get("behavior") == "DROP_CASCADE":
        found.flags.add("cascade")
    for item in body["roles"]:
        act_on(action, "OBJECT_ROLE", (f"everything owned by {role_name(item['RoleSpec'])}",), found)


@handles("RenameStmt")
def rename(body: Tree, _scope: Scope, found: Found) -> None:
    """ALTER … RENAME."""
    kind = body["renameType"]
    if body.get("behavior") == "DROP_CASCADE":
        found.flags.add("cascade")
    if kind == "OBJECT_ATTRIBUTE":
        act_on("alter", "OBJECT_TYPE", parts_of({"RangeVar": body["relation"]}), found)
    elif kind in RELATIONS:
        act_on("alter", kind, parts_of({"RangeVar": body["relation"]}), found)
    elif "relation" in body:
        act_on_relation("alter", body["relation"], found, f"{word(kind)} {body.get('subname', '')}".strip())
    elif "object" in body:
        act_on("alter", kind, parts_of(body["object"]), found)
        if kind in FUNCTIONS:
            act_on("create", kind, (*parts_of(body["object"])[:-1], body["newname"]), found)
    else:
        act_on("alter", kind, (body.get("subname", ""),), found)


@handles("AlterObjectSchemaStmt", "AlterOwnerStmt", "AlterObjectDependsStmt")
def alter_object(body: Tree, _scope: Scope, found: Found) -> None:
    """ALTER … SET SCHEMA, OWNER TO, DEPENDS ON EXTENSION."""
    if "relation" in body:
        act_on("alter", body["objectType"], (*parts_of({"RangeVar": body["relation"]}), *parts_of(body.get("object", {}))), found)
    else:
        act_on("alter", body["objectType"], parts_of(body["object"]), found)
    if "newschema" in body:
        found.accesses.add(Access("create", "schema", Name(body["newschema"])))
