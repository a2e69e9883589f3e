"""One plain-language line of what a statement would do, for the people who approve it.

The line is made from the analysis alone, never from the text: names in it are the parsed ones, so a comment, an alias or a
look-alike string in the text cannot change what an approver reads.
"""

from __future__ import annotations

from collections.abc import Callable

from .analysis import Access, Analysis

MAX_OBJECTS = 4
"""Objects to name for one action; the rest are counted."""

ORDER = (
    *("delete", "truncate", "drop", "update", "insert", "merge", "alter", "create", "grant", "revoke", "copy_in", "copy_out"),
    *("refresh", "select", "lock", "call", "do", "unknown", "execute", "prepare", "explain", "set", "alter_system", "load"),
    *("checkpoint", "vacuum", "analyze", "cluster", "reindex", "comment", "security_label", "declare_cursor", "fetch"),
    *("close_cursor", "deallocate", "listen", "unlisten", "notify", "show", "discard", "transaction"),
)
"""What matters most comes first."""


def _rows(verb: str) -> Callable[[Analysis, str], str]:
    """Deleting, updating: how much is restricted by a WHERE is what an approver wants to know first."""

    def phrase(analysis: Analysis, objects: str) -> str:
        if "no_where" in analysis.flags:
            return f"{verb} every row of {objects} (no WHERE clause)"
        if "tautology" in analysis.flags:
            return f"{verb} every row of {objects} (its WHERE clause is always true)"
        return f"{verb} the rows of {objects} that match its conditions"

    return phrase


def _of(template: str) -> Callable[[Analysis, str], str]:
    return lambda _analysis, objects: template.format(objects)


PHRASES: dict[str, Callable[[Analysis, str], str]] = {
    "alter": _of("changes the definition of {}"),
    "alter_system": _of("changes the server's configuration: {}"),
    "analyze": _of("collects statistics of {}"),
    "call": _of("calls {}, whose body is not in the text"),
    "checkpoint": _of("makes the server write a checkpoint"),
    "close_cursor": _of("closes the cursor {}"),
    "cluster": _of("rewrites {} in index order"),
    "comment": _of("sets the comment of {}"),
    "copy_in": _of("loads rows into {}"),
    "copy_out": _of("copies out rows of {}"),
    "create": _of("creates {}"),
    "deallocate": _of("forgets the prepared statement {}"),
    "declare_cursor": _of("declares the cursor {}"),
    "delete": _rows("deletes"),
    "discard": _of("resets the session: {}"),
    "do": _of("runs a block of code"),
    "drop": _of("drops {}"),
    "execute": _of("runs the prepared statement {}"),
    "explain": _of("shows the plan of a statement on {}"),
    "fetch": _of("reads from the cursor {}"),
    "grant": _of("grants privileges on {}"),
    "insert": _of("inserts rows into {}"),
    "listen": _of("listens to the channel {}"),
    "load": _of("loads the library {} into the server"),
    "lock": _of("locks {}"),
    "merge": _of("merges rows into {}"),
    "notify": _of("notifies the channel {}"),
    "prepare": _of("prepares the statement {} for later"),
    "refresh": _of("refreshes {}"),
    "reindex": _of("rebuilds the indexes of {}"),
    "revoke": _of("revokes privileges on {}"),
    "security_label": _of("sets the security label of {}"),
    "select": _of("reads {}"),
    "set": _of("changes the setting {}"),
    "show": _of("shows the setting {}"),
    "transaction": _of("controls the transaction: {}"),
    "truncate": _of("empties {}"),
    "unknown": _of("does something that can't be told"),
    "unlisten": _of("stops listening to the channel {}"),
    "update": _rows("changes"),
    "vacuum": _of("vacuums {}"),
}

REMARKS = {
    "returning": "returns the changed rows",
    "locking": "locks the rows it reads",
    "cascade": "takes everything that depends on it along",
    "file": "reads or writes a file on the server",
    "program": "runs a program on the server",
    "network": "reaches over the network",
    "superuser": "needs or gives superuser rights",
    "role_change": "changes the acting role",
    "shadows_catalog": "may put another schema before pg_catalog",
    "side_effect": "calls functions with side effects",
    "deferred": "keeps statements that run later",
}
"""Flag → what it adds to the line."""

WITHOUT_OBJECT = {"select": "computes values without reading a table", "explain": "shows the plan of a statement"}


def describe(analysis: Analysis) -> str:
    """What the text would do: a sentence without a full stop, its parts ordered by weight."""
    if not analysis.effects:
        return "does nothing"
    parts = [_phrase(effect, analysis) for effect in ORDER if effect in analysis.effects]
    remarks = [remark for flag, remark in REMARKS.items() if flag in analysis.flags]
    line = "; ".join(parts + remarks)
    if analysis.unknown:
        line += f" ({analysis.unknown})"
    return f"{analysis.statements} statements: {line}" if analysis.statements > 1 else line


def _phrase(effect: str, analysis: Analysis) -> str:
    objects = _objects(effect, analysis)
    if not objects and effect in WITHOUT_OBJECT:
        return WITHOUT_OBJECT[effect]
    return PHRASES[effect](analysis, objects or "the database")


def _objects(effect: str, analysis: Analysis) -> str:
    chosen = [access for access in analysis.accesses if access.action == effect]
    if effect == "select":
        chosen = [access for access in chosen if access.name in analysis.reads]
    named = list(dict.fromkeys(_object(access) for access in chosen))
    named = [name for name in named if name]
    if len(named) > MAX_OBJECTS:
        named = [*named[:MAX_OBJECTS], f"{len(named) - MAX_OBJECTS} more"]
    return " and ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)


def _object(access: Access) -> str:
    if access.kind == "database":
        return access.detail
    name = str(access.name)
    kind = {"function": "the function ", "schema": "the schema "}.get(access.kind, "")
    if access.kind == "table" and access.action in ("create", "alter", "drop") and access.detail:
        return f"{access.detail} on {name}" if " " in access.detail or access.detail in ON_TABLE else f"{access.detail} {name}"
    return f"{kind}{name}"


ON_TABLE = frozenset({"index", "trigger", "rule", "policy", "statistics", "inherits"})
"""Things that are on a table rather than one."""
