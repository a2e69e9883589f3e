"""A grant as users see it."""

from __future__ import annotations

from typing import Any

from ..policy.grants import Grant
from ..recorder.lookalikes import unmistakable, unmistakable_lines

SHOWN = 120
"""Characters of a statement that stand for it on a line."""


def grant_facts(grant: Grant, now: float) -> dict[str, Any]:
    """The grant as JSON; every text that an agent had a hand in is shown as in a request."""
    return {
        "id": grant.id,
        "state": grant.state(now),
        "agent": grant.agent,
        "resource": grant.resource,
        "kind": grant.kind.value,
        "statement": "\n".join(unmistakable_lines(grant.statement)),
        "parameters": [unmistakable(value) for value in grant.parameters],
        "database": unmistakable(grant.database),
        "user": unmistakable(grant.user),
        "search_path": [unmistakable(schema) for schema in grant.search_path],
        "summary": unmistakable(grant.summary),
        "digest": grant.digest,
        "uses": grant.uses,
        "left": grant.left,
        "not_before": grant.not_before,
        "until": grant.until,
        "issued_at": grant.issued_at,
        "issuers": list(grant.issuers),
        "request": grant.request,
        "reason": unmistakable(grant.reason),
        "used_at": grant.used_at,
        "revoked_at": grant.revoked_at,
        "revoked_by": grant.revoked_by,
        "revoked_reason": unmistakable(grant.revoked_reason),
    }


def grant_brief(grant: Grant, now: float) -> dict[str, Any]:
    """Of the grant what fits on a line."""
    facts = grant_facts(grant, now)
    kept = ("id", "state", "agent", "resource", "kind", "uses", "left", "not_before", "until", "issuers")
    first = facts["statement"].partition("\n")[0]
    return {**{name: facts[name] for name in kept}, "summary": facts["summary"] or first[:SHOWN]}
