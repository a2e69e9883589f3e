"""What a channel is told of a request, in the shape that it takes.

Texts that an agent had a hand in come from `requestview`, with what could mislead the eye made visible, and go only where the
other end renders no markup: Slack's ``plain_text``, the text runs of a Teams card. Values of parameters are never told; the
statement only where the channel asks for it.
"""

from __future__ import annotations

import datetime
import json
from typing import Any

TITLES = {
    "filed": "waits for approval",
    "collected": "has an approval, and needs more",
    "approved": "was approved",
    "denied": "was denied",
    "expired": "was not decided in time",
    "withdrawn": "was withdrawn",
    "escalated": "has waited for long",
}
SLACK_CHARACTERS = 2900
"""Of one text object (docs.slack.dev/reference/block-kit/composition-objects/text-object: 3000)."""
CARD_CHARACTERS = 8000
"""A Teams message may take 28 KB in all."""
_TOLD = (
    *(
        "id",
        "state",
        "mode",
        "agent",
        "owner",
        "resource",
        "database",
        "user",
        "summary",
        "accesses",
        "flags",
        "policies",
    ),
    *("approvers", "digest", "filed_at", "expires_at", "approved_by", "decided_by", "reason", "escalation"),
)


def facts(event: str, request: dict[str, Any], at: float, *, statement: bool, link: str) -> dict[str, Any]:
    """The payload as Standard Webhooks has it: type, timestamp, data."""
    data = {name: request[name] for name in _TOLD}
    if statement:
        data["statement"] = request["statement"]
    if link:
        data["link"] = link.replace("{id}", request["id"])
    timestamp = datetime.datetime.fromtimestamp(at, datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return {"type": f"request.{event}", "timestamp": timestamp, "data": data}


def body(shape: str, payload: dict[str, Any]) -> bytes:
    """`payload` of `facts`, as a channel of this shape (``json``, ``slack``, ``teams``) takes it."""
    shaped = {"json": lambda told: told, "slack": slack, "teams": teams}[shape](payload)
    return json.dumps(shaped, ensure_ascii=False).encode()


def slack(payload: dict[str, Any]) -> dict[str, Any]:
    """A message for an incoming webhook (docs.slack.dev/messaging/sending-messages-using-incoming-webhooks)."""
    title, lines = _told(payload)
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": _plain(title, 150)},
        {"type": "section", "text": _plain("\n".join(f"{name}: {value}" for name, value in lines), SLACK_CHARACTERS)},
    ]
    if "statement" in payload["data"]:
        blocks.append({"type": "section", "text": _plain(payload["data"]["statement"], SLACK_CHARACTERS)})
    if "link" in payload["data"]:
        button = {"type": "button", "text": _plain("Look at it", 75), "url": payload["data"]["link"]}
        blocks.append({"type": "actions", "elements": [button]})
    # Shown where blocks are not; &, < and > are the only characters with a meaning there.
    text = title.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {"text": text, "blocks": blocks}


def teams(payload: dict[str, Any]) -> dict[str, Any]:
    """A message with an adaptive card, for a workflow that waits for one (learn.microsoft.com, "Create incoming webhooks")."""
    title, lines = _told(payload)
    rows = [_runs(title, weight="bolder"), *(_runs(f"{name}: {value}") for name, value in lines)]
    if "statement" in payload["data"]:
        rows.append(_runs(payload["data"]["statement"][:CARD_CHARACTERS], fontType="monospace"))
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": rows,
    }
    if "link" in payload["data"]:
        card["actions"] = [{"type": "Action.OpenUrl", "title": "Look at it", "url": payload["data"]["link"]}]
    kind = "application/vnd.microsoft.card.adaptive"
    return {"type": "message", "attachments": [{"contentType": kind, "contentUrl": None, "content": card}]}


def _told(payload: dict[str, Any]) -> tuple[str, list[tuple[str, str]]]:
    data = payload["data"]
    title = f"Request {data['id']} {TITLES[payload['type'].removeprefix('request.')]}"
    lines = [
        ("Agent", f"{data['agent']} (owner {data['owner']})"),
        ("Where", f"{data['resource']}, database {data['database']} as {data['user']}"),
        ("It would do", data["summary"]),
        ("May approve", ", ".join(data["approvers"])),
        ("Said", data["reason"]),
        ("Digest", data["digest"]),
    ]
    return title, [(name, value) for name, value in lines if value]


def _plain(text: str, most: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": text if len(text) <= most else text[: most - 1] + "…", "emoji": False}


def _runs(text: str, **look: str) -> dict[str, Any]:
    """A line in which nothing is markup: text runs are shown as they are, unlike text blocks."""
    return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text[:CARD_CHARACTERS], **look}]}
