"""What is to be said of one operation beside its statement, a line each, fit to be shown."""

from __future__ import annotations

from .recording import Rows, Step

SHOWN_ROWS = 20
"""Rows of one result that are shown to a person."""


def verdict(step: Step) -> str:
    """``allow``, ``held, then deny``, ``allow (observed: would deny)``, …"""
    last = step.verdict or "?"
    if step.would:
        return f"{last} (observed: would {step.would})"
    return f"held, then {last}" if step.held and last != "hold" else last


def notes(step: Step) -> list[str]:
    """Parameters, policies, the reason of what is no plain yes, the request for approval, the reply."""
    found = [f"${number} = {value}" for number, value in enumerate(step.parameters, 1)]
    if step.policies:
        found.append("policy  " + "; ".join(step.policies))
    if step.reason and (step.verdict != "allow" or step.would not in ("", "allow")):
        found.append("reason  " + step.reason)
    if step.approval:
        approval = step.approval
        who = f" by {approval.user}" if approval.user else ""
        waited = f" after {(approval.decided_us - approval.asked_us) / 1e6:.1f} s" if approval.decided_us is not None else ""
        reason = f": {approval.reason}" if approval.reason else ""
        found.append(f"request {approval.request}: {approval.verdict or 'open'}{who}{waited}{reason}")
    if step.withdrawn:
        found.append("withdrawn  " + step.withdrawn)
    if step.reply:
        reply = step.reply
        tags = f" ({', '.join(reply.tags)})" if reply.tags else ""
        masked = f", masked: {', '.join(reply.masked)}{tags}" if reply.masked else ""
        if reply.would_mask:
            masked += f", would mask: {', '.join(reply.would_mask)}{tags}"
        took = f", {reply.duration_us / 1000:.1f} ms" if reply.duration_us else ""
        status = f"{reply.status} {reply.tag}".rstrip()
        found.append(f"reply   {status}, {reply.rows} rows, {reply.bytes} bytes{masked}{took}")
    return found + (_rows(step.rows) if step.rows else [])


def _rows(rows: Rows) -> list[str]:
    """The first of the rows that the agent got."""
    found = [f"rows    {rows.unread}"] if rows.unread else []
    for result in rows.results:
        found.append("rows    " + " | ".join(result.columns))
        found += ["        " + " | ".join(row) for row in result.rows[:SHOWN_ROWS]]
        if len(result.rows) > SHOWN_ROWS:
            found.append(f"        and {len(result.rows) - SHOWN_ROWS} more, with --json")
    if rows.left_out:
        found.append(f"        the agent got {rows.left_out} bytes more, which were not kept")
    return found
