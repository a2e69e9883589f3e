"""A request for approval as users see it: rendered from decoded bytes, with nothing in it that could mislead the eye."""

from __future__ import annotations

from typing import Any

from ..policy.requests import Request
from ..recorder.lookalikes import marked, unmistakable, unmistakable_lines
from ..recorder.parameters import render


def request_facts(request: Request, escalation: int = 0) -> dict[str, Any]:
    """The request as JSON. In texts that an agent had a hand in, what could mislead the eye is made visible."""
    session = request.session
    return {
        "id": request.id,
        "state": request.state.value,
        "mode": request.mode,
        "escalation": escalation,
        "agent": request.agent,
        "owner": request.owner,
        "process": {name: unmistakable(str(value)) for name, value in request.process.items()},
        "resource": request.resource,
        "database": unmistakable(str(session.get("database", ""))),
        "user": unmistakable(str(session.get("user", ""))),
        "search_path": session.get("search_path"),
        "statement": "\n".join(unmistakable_lines(request.text)),
        "prepared": ["\n".join(unmistakable_lines(text)) for text in request.prepared],
        "parameters": [marked(value) for value in render(request.parameters, request.formats, request.types)],
        "summary": unmistakable(request.summary),
        "accesses": [unmistakable(access) for access in request.accesses],
        "touches": str(request.rows or ""),
        "rows": None if request.rows is None else {"number": request.rows.number, "counted": request.rows.counted},
        "flags": list(request.flags),
        "policies": list(request.policies),
        "approvers": list(request.helped_by),
        "digest": request.digest,
        "filed_at": request.filed_at,
        "expires_at": request.expires_at,
        "approved_by": list(request.approved_by),
        "decided_by": request.decided_by,
        "reason": unmistakable(request.reason),
        "note": _note(request),
    }


def request_brief(request: Request) -> dict[str, Any]:
    """Of the request what fits on a line."""
    return {
        "id": request.id,
        "state": request.state.value,
        "agent": request.agent,
        "owner": request.owner,
        "resource": request.resource,
        "summary": unmistakable(request.summary),
        "filed_at": request.filed_at,
        "expires_at": request.expires_at,
        "approved_by": list(request.approved_by),
        "note": _note(request),
    }


def request_texts(request: Request) -> dict[str, Any]:
    """The texts as they are, for who makes them visible by itself: to tell words from comments takes what the server reads."""
    lexed = request.session.get("standard_conforming_strings") is not False
    return {"text": request.text, "prepared_texts": list(request.prepared), "lexed": lexed}


def _note(request: Request) -> str:
    """What became of it, in a sentence."""
    said = f": {unmistakable(request.reason)}" if request.reason else ""
    match request.state.value:
        case "pending" if request.approved_by:
            return f"Approved by {', '.join(request.approved_by)}; it needs more approvals."
        case "denied":
            return f"Denied by {request.decided_by}{said}."
        case "approved" if request.mode == "ticket":
            return f"Approved by {', '.join(request.approved_by)}{said}; its agent may run it once."
        case "approved" | "used":
            return f"Approved by {', '.join(request.approved_by)}{said}."
        case "withdrawn":
            return f"Withdrawn{said}."
        case "expired":
            return "Nobody ran it in time." if request.decided_by else "Nobody decided in time."
    return ""
