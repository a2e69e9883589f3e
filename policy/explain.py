"""Answers for one statement what policy would say of it, without a database or a daemon."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cedarpy import pst

from ..protocols.events import Session, Verdict
from .connect import ConnectScope
from .decide import AnyScope, Decider, Policy
from .document import Document
from .duties import Exercise, shown
from .hiding import disclose
from .judgement import Judgement
from .memory import Memory
from .paths import split
from .remedies import remedies
from .scope import Scope
from .sql.analysis import Analysis, Name, Output
from .sql.catalog import Catalog
from .stats import Stats
from .strict import suggest

SEARCH_PATH = ("pg_catalog", "public")
"""Offline, a name without a schema is looked up as in a session that never set its search_path."""


class UnknownName(ValueError):
    """The configuration has no such agent or resource; the text is a sentence."""


def explain(
    policy: Policy, agent: str, resource: str, text: str, database: str | None = None, catalog: Catalog | None = None
) -> dict[str, Any]:
    """The verdict on `text` with its reasons, as plain data:

    verdict (``allow``, ``deny``, ``hold``), policies, effects, reads, writes, flags, columns (name, sources, mask), reason,
    hint, accesses (action, object, verdict, policies), helped_by, remedies (what would help, where it is denied), duties (duty,
    objects, apart_from), budgets (that it counts against). What others have done, and what is used up, only the daemon knows.
    Relations are ``schema.table``. Without a catalog a ``*`` stands for itself and for the hidden columns that the configuration
    knows. Raises `UnknownName`.
    """
    _known(agent, policy.document.agents, "agent")
    _known(resource, policy.document.resources, "resource")
    scope = _scope(policy, agent, resource, database or default_database(policy, resource), catalog)
    judgement = scope.judge(text, None, Memory())
    analysis = judgement.analysis
    return {
        "verdict": judgement.decision.verdict.value,
        "policies": list(judgement.decision.policies),
        "effects": list(analysis.effects) if analysis else [],
        "reads": _relations(analysis.reads) if analysis else [],
        "writes": _relations(analysis.writes) if analysis else [],
        "flags": list(judgement.flags),
        "columns": list(_columns(scope, judgement, analysis, text)) if analysis and isinstance(scope, Scope) else [],
        "reason": judgement.decision.reason or _permitted(judgement),
        "hint": judgement.decision.hint,
        "accesses": [
            {"action": a.action, "object": a.object, "verdict": a.verdict.value, "policies": list(a.policies)}
            for a in judgement.verdicts
        ],
        "helped_by": list(judgement.helped_by),
        "remedies": remedies(policy, agent, judgement),
        "duties": [_duty(policy.document, each) for each in judgement.duties],
        "budgets": [
            {"budget": name, "window_s": b.window_s, "operations": b.operations, "rows": b.rows, "bytes": b.bytes, "over": b.over}
            for name, b in policy.document.budgets.items()
            if b.concerns(agent) and judgement.decision.verdict is not Verdict.DENY
        ],
    }


def _duty(document: Document, exercise: Exercise) -> dict[str, Any]:
    """A duty that it exercises, on what, and from which others that is apart."""
    exclusions = [(name, each) for name, each in document.exclusions.items() if exercise.duty in each.duties]
    return {
        "duty": exercise.duty,
        "objects": [*map(shown, exercise.objects), *(f"the key ${number}" for number in exercise.parameters)],
        "apart_from": [
            {
                "exclusion": name,
                "duties": [other for other in each.duties if other != exercise.duty],
                "scope": each.scope,
                "within": each.within,
                "window_s": each.window_s,
            }
            for name, each in exclusions
        ],
    }


def _permitted(judgement: Judgement) -> str:
    """Why it is allowed; the decision itself has no words for that, since nobody is refused."""
    if not judgement.decision.policies:
        return "nothing in it needs a permit"
    return "permitted by " + ", ".join(f'"{policy}"' for policy in judgement.decision.policies)


def offline_decider(policy: Policy) -> Decider:
    """Decides whole conversations without a database, as `explain` decides single statements.

    The sessions' search_path is not looked at: offline there is no catalog to look names up in.
    """
    return Decider(policy, scopes=lambda agent, resource, session: _scope(policy, agent, resource, session.database, None))


def default_database(policy: Policy, resource: str) -> str:
    """The only database that tags or policies name on the resource; else the one that is called like the resource."""
    if resource not in policy.databases:
        policy.databases[resource] = _only_database(policy, resource)
    return policy.databases[resource]


def _only_database(policy: Policy, resource: str) -> str:
    named = {path[1] for path in _paths(policy.document, policy) if path[0] == resource and len(path) > 1}
    return next(iter(named)) if len(named) == 1 else resource


def _paths(document: Document, policy: Policy) -> Iterator[tuple[str, ...]]:
    for tag in document.tags.values():
        yield from map(split, tag.columns)
    for rule in policy.rules:
        for uid in pst.entity_uids(rule.node):
            if str(uid.type) in ("Database", "Schema", "Table", "Column", "Function"):
                yield split(uid.id)


def _known(name: str, names: Any, what: str) -> None:
    if name not in names:
        raise UnknownName(f'there is no {what} "{name}"' + suggest(name, names))


def _scope(policy: Policy, agent: str, resource: str, database: str, catalog: Catalog | None) -> AnyScope:
    key = (agent, resource, database)
    if catalog is not None:
        return _make_scope(policy, *key, catalog)
    if key not in policy.offline:
        policy.offline[key] = _make_scope(policy, *key, None)
    return policy.offline[key]


def _make_scope(policy: Policy, agent: str, resource: str, database: str, catalog: Catalog | None) -> AnyScope:
    if policy.document.resources[resource].protocol == "tls":
        return ConnectScope(policy, agent, resource, Stats())
    session = Session(database=database, user="", search_path=SEARCH_PATH)
    disclosure = disclose(policy.document, policy.asker(agent), resource, database, catalog, b"", offline=True)
    return Scope(policy, agent, resource, session, catalog, disclosure, Stats(), offline=True)


def _relations(names: tuple[Name, ...]) -> list[str]:
    return sorted({str(name) if name.schema is not None else f"public.{name}" for name in names})


def _columns(scope: Scope, judgement: Judgement, analysis: Analysis, text: str) -> Iterator[dict[str, Any]]:
    flow = scope.flow(text)
    if flow.outputs is not None and not analysis.executes:
        for name, value in flow.outputs:
            sources = [".".join(column) for column in sorted(value.columns)]
            yield {"name": name, "sources": sources, "mask": scope.disclosure.mask_of_value(value)}
        return
    for output in analysis.outputs or analysis.shown:
        sources = [_qualified(source) for source in output.sources]
        yield {"name": output.name, "sources": sources, "mask": _mask(scope, judgement, output, sources)}
        if output.name == "*":
            yield from _hidden_in(scope, sources)


def _mask(scope: Scope, judgement: Judgement, output: Output, sources: list[str]) -> str | None:
    """The kind of mask that the values get; None where they pass."""
    if output.harmless or output.name == "*":
        return None
    if not output.computed and output.certain and len(sources) == 1:
        return scope.disclosure.mask_of(*sources[0].split(".")) if sources[0].count(".") == 2 else "null"
    # The server names no origin for it, so all that is known of its value is what the statement touches.
    return "null" if judgement.touches else None


def _hidden_in(scope: Scope, sources: list[str]) -> Iterator[dict[str, Any]]:
    """The hidden columns that a ``*`` includes, as far as the configuration knows."""
    for (schema, table), columns in scope.disclosure.hidden.items():
        if f"{schema}.{table}.*" in sources:
            for column, mask in columns.items():
                yield {"name": column, "sources": [f"{schema}.{table}.{column}"], "mask": mask.kind}


def _qualified(source: str) -> str:
    """``table.column`` as ``public.table.column``."""
    return source if source.count(".") != 1 else f"public.{source}"
