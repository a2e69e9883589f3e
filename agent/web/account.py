"""What an operation amounts to, in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_VERBS = {
    "select": "read rows of",
    "insert": "add rows to",
    "update": "change rows of",
    "delete": "delete rows of",
    "merge": "add, change or delete rows of",
    "truncate": "delete all rows of",
    "copy_out": "copy rows out of",
    "copy_in": "copy rows into",
    "lock": "lock",
    "create": "create",
    "alter": "change the definition of",
    "drop": "drop",
    "call": "call",
    "grant": "give rights on",
    "revoke": "take rights on",
    "do": "run code that hostguard can't read in",
    "server_file": "read or write files of the server's host from",
    "server_program": "run programs on the server's host from",
    "reveal": "see unmasked",
    "match": "search by",
    "derive": "write elsewhere what is in",
    "connect": "open a session that passes unread with",
}
"""The actions of the model (policy/hostguard.cedarschema) that are not clear by their names."""
MAX_SENTENCES = 12


def sentences(request: Mapping[str, Any]) -> list[str]:
    """Who asks for what, where, how often; the texts in `request` are fit to be shown (`requestview.request_facts`)."""
    where = f"{request['resource']}, database {request['database']}" if request["database"] else request["resource"]
    found = [
        f"{request['agent']}, for which {request['owner']} answers, wants this on {where}, as {request['user'] or 'itself'}."
    ]
    told = _told(request["accesses"])
    found += [f"It would {text}." for text in told[:MAX_SENTENCES]]
    if len(told) > MAX_SENTENCES:
        found.append(f"{len(told) - MAX_SENTENCES} more accesses are listed below.")
    if request["touches"]:
        found.append(f"It would touch {request['touches']}, as it was when this was asked.")
    found.append("A yes is for exactly this text with these values, once.")
    return found


def _told(accesses: Sequence[str]) -> list[str]:
    """The accesses, those of one action on one line."""
    by_action: dict[str, list[str]] = {}
    for access in accesses:
        action, _, place = access.partition(" on ")
        by_action.setdefault(action, []).append(place)
    return [f"{_VERBS.get(action, action.replace('_', ' '))} {', '.join(places)}" for action, places in by_action.items()]
