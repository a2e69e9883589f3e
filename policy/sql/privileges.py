"""Handlers of GRANT, REVOKE in all their forms."""

from __future__ import annotations

from .analysis import Access, Name
from .definitions import note_powerful_role
from .found import Found, Tree
from .objects import act_on, parts_of, word
from .visit import Scope, handles


@handles("GrantStmt")
def grant(body: Tree, _scope: Scope, found: Found) -> None:
    """GRANT, REVOKE on objects; what is granted is the access's detail."""
    action = "grant" if body.get("is_grant") else "revoke"
    if body.get("behavior") == "DROP_CASCADE":
        found.flags.add("cascade")
    found.effects.add(action)
    for item in body.get("objects", []):
        if body.get("targtype") == "ACL_TARGET_ALL_IN_SCHEMA":
            found.accesses.add(Access(action, "schema", Name(parts_of(item)[-1]), f"all {word(body['objtype'])}s"))
        else:
            act_on(action, body["objtype"], parts_of(item), found)


@handles("GrantRoleStmt")
def grant_role(body: Tree, _scope: Scope, found: Found) -> None:
    """GRANT, REVOKE of membership in roles."""
    action = "grant" if body.get("is_grant") else "revoke"
    if body.get("behavior") == "DROP_CASCADE":
        found.flags.add("cascade")
    for item in body["granted_roles"]:
        role = item["AccessPriv"].get("priv_name", "")
        found.session(action, f"role {role}")
        if action == "grant":
            note_powerful_role(role, found)


@handles("AlterDefaultPrivilegesStmt")
def default_privileges(body: Tree, _scope: Scope, found: Found) -> None:
    """ALTER DEFAULT PRIVILEGES: a GRANT or REVOKE on objects yet to be made."""
    inner = body["action"]
    found.flags.add("ddl")
    found.session("alter", "default privileges")
    found.session("grant" if inner.get("is_grant") else "revoke", f"default privileges on {word(inner['objtype'])}s")
    if inner.get("behavior") == "DROP_CASCADE":
        found.flags.add("cascade")
