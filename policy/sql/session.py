"""Handlers of the statements that act on the session: transactions, settings, cursors, prepared statements, notifications."""

from __future__ import annotations

from .analysis import Access
from .expressions import ROLE_SETTINGS, shadows_catalog
from .found import Found, Tree, name_of, relation_name, strings
from .functions import UNKNOWN
from .visit import Scope, children, handles, visit, visit_all

ENDS = frozenset(
    {
        "TRANS_STMT_COMMIT",
        "TRANS_STMT_ROLLBACK",
        "TRANS_STMT_ROLLBACK_TO",
        "TRANS_STMT_PREPARE",
        "TRANS_STMT_COMMIT_PREPARED",
        "TRANS_STMT_ROLLBACK_PREPARED",
    }
)


@handles("TransactionStmt")
def transaction(body: Tree, scope: Scope, found: Found) -> None:
    """BEGIN, COMMIT, ROLLBACK, SAVEPOINT and their kin."""
    kind = body["kind"]
    found.session("transaction", kind.removeprefix("TRANS_STMT_").lower())
    found.ends_transaction |= kind in ENDS
    children(body, scope, found)


@handles("VariableSetStmt")
def variable_set(body: Tree, scope: Scope, found: Found) -> None:
    """SET, RESET: the name of the setting tells what it is about."""
    found.flags.add("session_setting")
    for name in setting_names(body):
        found.session("set", name)
        if name in ROLE_SETTINGS:
            found.flags.add("role_change")
        if name == "search_path" and shadows_catalog([str(argument) for argument in body.get("args", [])]):
            found.flags.add("shadows_catalog")
    children(body, scope, found)


def setting_names(body: Tree) -> list[str]:
    """The settings of a VariableSetStmt; SET TRANSACTION names several, RESET ALL none."""
    if body["kind"] == "VAR_RESET_ALL":
        return ["all"]
    if body["kind"] != "VAR_SET_MULTI":
        return [str(body.get("name", "")).lower()]
    if body.get("name") == "TRANSACTION SNAPSHOT":
        return ["transaction_snapshot"]
    prefix = "default_" if body.get("name") == "SESSION CHARACTERISTICS" else ""
    return [prefix + item["DefElem"]["defname"] for item in body.get("args", []) if "DefElem" in item]


@handles("VariableShowStmt")
def variable_show(body: Tree, _scope: Scope, found: Found) -> None:
    """SHOW."""
    found.session("show", str(body.get("name", "")).lower())


@handles("ConstraintsSetStmt")
def constraints_set(_body: Tree, _scope: Scope, found: Found) -> None:
    """SET CONSTRAINTS: when deferrable ones are checked."""
    found.flags.add("session_setting")
    found.session("set", "constraints")


@handles("DiscardStmt")
def discard(body: Tree, _scope: Scope, found: Found) -> None:
    """DISCARD; ALL also resets every setting, and the role with them."""
    target = body.get("target", "DISCARD_ALL").removeprefix("DISCARD_").lower()
    found.session("discard", target)
    if target == "all":
        found.flags |= {"session_setting", "role_change"}


@handles("ListenStmt")
def listen(body: Tree, _scope: Scope, found: Found) -> None:
    """LISTEN."""
    found.session("listen", body.get("conditionname", ""))


@handles("UnlistenStmt")
def unlisten(body: Tree, _scope: Scope, found: Found) -> None:
    """UNLISTEN, of one channel or all."""
    found.session("unlisten", body.get("conditionname", "") or "*")


@handles("NotifyStmt")
def notify(body: Tree, _scope: Scope, found: Found) -> None:
    """NOTIFY."""
    found.session("notify", body.get("conditionname", ""))


@handles("LockStmt")
def lock(body: Tree, _scope: Scope, found: Found) -> None:
    """LOCK TABLE."""
    for item in body["relations"]:
        found.touch("lock", relation_name(item["RangeVar"]))


@handles("DeclareCursorStmt")
def declare_cursor(body: Tree, scope: Scope, found: Found) -> None:
    """DECLARE CURSOR: its query counts now, since FETCH names only the cursor."""
    name = body.get("portalname", "")
    found.declares.append(name)
    found.session("declare_cursor", name)
    visit(body["query"], scope, found)


@handles("FetchStmt")
def fetch(body: Tree, _scope: Scope, found: Found) -> None:
    """FETCH, MOVE."""
    name = body.get("portalname", "")
    found.fetches.append(name)
    found.session("fetch", name)


@handles("ClosePortalStmt")
def close(body: Tree, _scope: Scope, found: Found) -> None:
    """CLOSE, of one cursor or all."""
    found.session("close_cursor", body.get("portalname", "") or "*")


@handles("PrepareStmt")
def prepare(body: Tree, scope: Scope, found: Found) -> None:
    """PREPARE: the body runs later, but is judged now as well."""
    name = body.get("name", "")
    found.flags.add("deferred")
    found.session("prepare", name)
    found.prepares.append((name, _body_text(found.text)))
    visit(body["query"], scope, found)


def _body_text(text: str) -> str:
    """What follows AS in a PREPARE; its only AS outside parentheses and before the body, since a name can't be a bare AS."""
    depth = 0
    import pglast.parser  # see `parse`

    for token in pglast.parser.scan(text):
        depth += {"ASCII_40": 1, "ASCII_41": -1}.get(token.name, 0)
        if token.name == "AS" and depth == 0:
            return text[token.end + 1 :].strip()
    raise AssertionError("a PREPARE without AS")


@handles("ExecuteStmt")
def execute(body: Tree, scope: Scope, found: Found) -> None:
    """EXECUTE: what runs is what PREPARE said, elsewhere."""
    name = body.get("name", "")
    found.flags.add("opaque")
    found.executes.append(name)
    found.session("execute", name)
    visit_all(body.get("params", []), scope, found)


@handles("DeallocateStmt")
def deallocate(body: Tree, _scope: Scope, found: Found) -> None:
    """DEALLOCATE, of one statement or all."""
    found.session("deallocate", body.get("name", "") or "*")


@handles("DoStmt")
def do(_body: Tree, _scope: Scope, found: Found) -> None:
    """DO: a block of code, which may do anything, transactions included."""
    found.flags.add("opaque")
    found.session("do")
    found.unknown("DO runs a block of code that SQL's grammar does not cover")
    found.ends_transaction = True


@handles("CallStmt")
def call(body: Tree, scope: Scope, found: Found) -> None:
    """CALL: a procedure, whose body may do anything, transactions included. A built-in's name makes it no built-in."""
    name = name_of(strings(body["funccall"]["funcname"]))
    found.functions.add((name, UNKNOWN))
    found.accesses.add(Access("call", "function", name))
    found.flags.add("opaque")
    found.effects.add("call")
    found.ends_transaction = True
    children(body["funccall"], scope, found, skip=("funcname",))
