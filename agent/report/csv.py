"""A report as one CSV table, a row for each thing that happened."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from .facts import AgentReport, Answered, Report, Statement
from .times import utc

COLUMNS = (
    "kind", "agent", "owner", "entry", "time", "flow", "operation", "outcome", "action", "object", "count", "statement", "reason",
    "policies", "request", "user", "same_person",
)  # fmt: skip
Row = dict[str, object]


def render(report: Report) -> str:
    """RFC 4180, with a header.

    ``kind``: policy, did, denied, held, answer, masked, refused; of observed workloads would, would_mask, unread.
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="")
    writer.writeheader()
    for agent in report.agents:
        writer.writerows(_safe({"agent": agent.agent, "owner": agent.owner} | row) for row in _rows(agent))
    writer.writerows(_safe(_answer(answer)) for answer in report.answers)
    return out.getvalue()


def _rows(agent: AgentReport) -> Iterator[Row]:
    for stance in agent.stances:
        since: Row = {"entry": stance.entry, "time": utc(stance.wall_ns)} if stance.entry >= 0 else {}
        for policy in stance.policies:
            row: Row = {"kind": "policy", "policies": policy.id, "outcome": policy.effect, "statement": policy.text}
            yield row | since | {"owner": stance.owner}
    for did in agent.did:
        for outcome in ("allowed", "approved", "denied", "undecided", "observed"):
            if count := getattr(did, outcome):
                row = {"kind": "did", "action": did.action, "object": did.object, "outcome": outcome, "count": count}
                yield row | {"entry": did.first_entry}
    for kind, statements in (("denied", agent.denied), ("held", agent.held)):
        yield from (_statement(kind, statement) for statement in statements)
    for column in agent.masked:
        yield {"kind": "masked", "object": column.column, "count": column.replies, "entry": column.first_entry}
    for would in agent.would:
        row = {"kind": "would", "entry": would.first_entry, "outcome": would.outcome, "count": would.operations}
        yield row | {"statement": would.example, "reason": would.reason, "policies": "; ".join(would.policies)}
    for column in agent.would_mask:
        yield {"kind": "would_mask", "object": column.column, "count": column.replies, "entry": column.first_entry}
    for unread in agent.unread:
        row = {"kind": "unread", "entry": unread.entry, "time": utc(unread.wall_ns)}
        yield row | {"object": unread.destination, "reason": unread.reason}
    for refusal in agent.refused:
        row = {"kind": "refused", "entry": refusal.entry, "time": utc(refusal.wall_ns)}
        yield row | {"object": refusal.destination, "reason": refusal.reason}


def _statement(kind: str, statement: Statement) -> Row:
    return {
        "kind": kind,
        "entry": statement.entry,
        "time": utc(statement.wall_ns),
        "flow": statement.flow,
        "operation": statement.operation,
        "outcome": statement.outcome,
        "statement": statement.text,
        "reason": statement.reason,
        "policies": "; ".join(statement.policies),
        "request": statement.request,
    }


def _answer(answer: Answered) -> Row:
    return {
        "kind": "answer",
        "agent": answer.agent,
        "owner": answer.owner,
        "entry": answer.entry,
        "time": utc(answer.wall_ns),
        "outcome": answer.verdict,
        "request": answer.request,
        "user": answer.user,
        "same_person": "yes" if answer.same_person else "no",
        "reason": answer.reason,
    }


def _safe(row: Row) -> Row:
    """A spreadsheet takes text that begins so for a formula, and agents choose the text (OWASP, CSV Injection)."""
    return {
        name: f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@")) else value
        for name, value in row.items()
    }
