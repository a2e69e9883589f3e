"""Flows as OCSF events of the class Datastore Activity.

Open Cybersecurity Schema Framework 1.6.0 (schema.ocsf.io/1.6.0/classes/datastore_activity): class 6005 in category 6
(Application Activity), with the profile security_control. A connection is one event (activity Connect), an operation is one, with
its decision and the summary of its reply. Every event has the log's position in ``metadata.uid``; what has no place in the class
is under ``unmapped.hostguard``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ..entry import Approval, FlowOpen, FlowRefused
from ..exchanges import Exchange, History, text_of
from ..parameters import render
from ..stored import Stored

VERSION = "1.6.0"
CATEGORY_UID = 6
CLASS_UID = 6005
CONNECT = 3
OTHER = 99
ACTIVITY_NAMES = {1: "Read", 2: "Update", 3: "Connect", 4: "Query", 5: "Write", 6: "Create", 7: "Delete", 99: "Other"}
# The weightiest first: an operation of several accesses is called after what it changes most.
ACTIVITIES = (
    (7, frozenset({"delete", "truncate", "drop"})),
    (2, frozenset({"update", "merge", "alter", "comment", "security_label", "grant", "revoke", "alter_system", "refresh"})),
    (6, frozenset({"insert", "create"})),
    (5, frozenset({"copy_in"})),
    (4, frozenset({"select"})),
    (1, frozenset({"copy_out", "reveal", "fetch"})),
)
INFORMATIONAL, LOW, MEDIUM = 1, 2, 3
SEVERITY_NAMES = {INFORMATIONAL: "Informational", LOW: "Low", MEDIUM: "Medium"}
UNKNOWN, SUCCESS, FAILURE = 0, 1, 2
STATUS_NAMES = {UNKNOWN: "Unknown", SUCCESS: "Success", FAILURE: "Failure"}
ALLOWED, DENIED, OBSERVED = 1, 2, 3
ACTION_NAMES = {UNKNOWN: "Unknown", ALLOWED: "Allowed", DENIED: "Denied", OBSERVED: "Observed"}
DISPOSITION_NAMES = {0: "Unknown", 1: "Allowed", 2: "Blocked", 8: "Approved", 14: "Delayed", 17: "Logged", 25: "Rejected"}

Event = dict[str, Any]


def lines(found: History, product_version: str) -> Iterator[bytes]:
    """The flow's events as JSON Lines."""
    for event in events(found, product_version):
        yield msgspec.json.encode(event) + b"\n"


def events(found: History, product_version: str) -> Iterator[Event]:
    """One event for the connection, then one for each operation, in order."""
    shared = _shared(found, product_version)
    yield _connection(found, shared)
    for exchange in found.exchanges:
        yield _operation(found, exchange, shared)


def activity_of(accesses: tuple[tuple[str, str], ...]) -> int:
    """The activity that the accesses amount to; `OTHER` for what only concerns the session, or was not understood."""
    actions = {action for action, _ in accesses}
    return next((activity for activity, names in ACTIVITIES if actions & names), OTHER)


def _shared(found: History, product_version: str) -> Event:
    """What all events of a flow have alike."""
    opened = found.opened
    actor: Event = {"process": _process(opened), "session": {"uid": str(found.index), "created_time": opened.wall_ns // 10**6}}
    if opened.agent:
        actor["app_name"] = opened.agent
    if found.user:
        actor["user"] = {"name": found.user, "type_id": 4, "type": "Service"}
    destination = _endpoint(opened.destination)
    if opened.resource:
        destination["svc_name"] = opened.resource
    return {
        "category_uid": CATEGORY_UID,
        "category_name": "Application Activity",
        "class_uid": CLASS_UID,
        "class_name": "Datastore Activity",
        "metadata": {
            "version": VERSION,
            "product": {"name": "hostguard", "vendor_name": "hostguard", "version": product_version},
            "profiles": ["security_control"],
            "log_name": "hostguard",
            "correlation_uid": f"flow {found.index}",
        },
        "actor": actor,
        "src_endpoint": _endpoint(opened.source),
        "dst_endpoint": destination,
        "database": {"name": found.database or opened.resource or "unknown", "type_id": 1, "type": "Relational"},
        "type_id": 1,
        "type": "Database",
    }


def _process(opened: FlowOpen) -> Event:
    process: Event = {"pid": opened.pid}
    if opened.comm:
        process["name"] = opened.comm
    if not isinstance(opened.cmdline, Stored) and opened.cmdline:
        process["cmd_line"] = " ".join(opened.cmdline)
    path = text_of(opened.exe)
    if path:
        process["file"] = {"name": path.rpartition("/")[2] or path, "path": path, "type_id": 1}
    if opened.uid >= 0:
        process["user"] = {"uid": str(opened.uid), **({"name": opened.user} if opened.user else {})}
    return process


def _endpoint(address: str) -> Event:
    if address.startswith("unix:"):
        return {"name": address}
    host, _, port = address.rpartition(":")
    found: Event = {"ip": host.strip("[]")} if host else {"name": address or "unknown"}
    if host and port.isdigit():
        found["port"] = int(port)
    return found


def _classified(shared: Event, index: int, activity: int, severity: int, status: int, time_ns: int) -> Event:
    return {
        **shared,
        "metadata": {**shared["metadata"], "uid": str(index)},
        "activity_id": activity,
        "activity_name": ACTIVITY_NAMES[activity],
        "type_uid": CLASS_UID * 100 + activity,
        "type_name": f"Datastore Activity: {ACTIVITY_NAMES[activity]}",
        "severity_id": severity,
        "severity": SEVERITY_NAMES[severity],
        "status_id": status,
        "status": STATUS_NAMES[status],
        "time": time_ns // 10**6,
    }


def _control(action: int, disposition: int) -> Event:
    return {
        "action_id": action,
        "action": ACTION_NAMES[action],
        "disposition_id": disposition,
        "disposition": DISPOSITION_NAMES[disposition],
    }


def _connection(found: History, shared: Event) -> Event:
    opened = found.opened
    where = opened.resource or opened.destination
    if isinstance(opened, FlowRefused):
        event = _classified(shared, found.index, CONNECT, MEDIUM, FAILURE, opened.wall_ns)
        reason = text_of(opened.reason)
        return {**event, **_control(DENIED, 2), "message": f"connection to {where} refused: {reason}", "status_detail": reason}
    if found.unread:
        event = _classified(shared, found.index, CONNECT, MEDIUM, SUCCESS, opened.wall_ns)
        message = f"{opened.agent} connected to {where}, which passed unread: {found.unread}"
        return {**event, **_control(OBSERVED, 17), "message": message, "status_detail": found.unread}
    event = _classified(shared, found.index, CONNECT, INFORMATIONAL, SUCCESS, opened.wall_ns)
    return {**event, **_control(ALLOWED, 1), "message": f"{opened.agent} connected to {where}"}


def _operation(found: History, exchange: Exchange, shared: Event) -> Event:
    accesses = exchange.accesses()
    activity = activity_of(accesses)
    control, severity = _outcome(exchange)
    event = _classified(shared, exchange.index, activity, severity, _status(exchange), exchange.operation.wall_ns)
    event |= control
    event |= _details(exchange)
    if activity == OTHER and accesses:
        event["activity_name"] = accesses[0][0]
        event["type_name"] = f"Datastore Activity: {accesses[0][0]}"
    event["message"] = f"{found.opened.agent}: {exchange.operation.form} {control['disposition'].lower()}"
    event["query_info"] = {
        "uid": f"{found.index}/{exchange.operation.operation}",
        "query_string": text_of(exchange.operation.text),
        **({"bytes": exchange.reply.bytes} if exchange.reply else {}),
    }
    if table := next((path for _, path in accesses if path.count("/") >= 3), ""):
        event["table"] = {"name": table.rpartition("/")[2], "uid": table}
    event["unmapped"] = {"hostguard": _unmapped(exchange)}
    return event


def _outcome(exchange: Exchange) -> tuple[Event, int]:
    """The control's part, and the severity that goes with it."""
    match exchange.decision.verdict if exchange.decision else "":
        case "allow" if exchange.would:
            # It went on, and would not have: "the request was logged only".
            return _control(OBSERVED, 17), MEDIUM
        case "allow":
            return _control(ALLOWED, 8 if exchange.held else 1), LOW if exchange.held else INFORMATIONAL
        case "deny":
            return _control(DENIED, 25 if exchange.held else 2), MEDIUM
        case "hold":
            return _control(DENIED, 14), LOW
        case _:
            return _control(UNKNOWN, 0), LOW


def _status(exchange: Exchange) -> int:
    if exchange.decision is not None and exchange.decision.verdict != "allow":
        return FAILURE
    if exchange.reply is None:
        return UNKNOWN
    return {"ok": SUCCESS, "suspended": SUCCESS, "error": FAILURE}.get(exchange.reply.status, UNKNOWN)


def _details(exchange: Exchange) -> Event:
    """Code, reason, policies, where there are any."""
    found: Event = {}
    decision, reply = exchange.decision, exchange.reply
    if reply is not None and reply.status == "error":
        found["status_code"] = text_of(reply.tag)
    if decision is None:
        return found
    if reason := text_of(decision.reason):
        found["status_detail"] = reason
    if not isinstance(decision.policies, Stored) and decision.policies:
        verdict = ACTION_NAMES[ALLOWED if (decision.would or decision.verdict) == "allow" else DENIED]
        found["policy"] = {"name": decision.policies[0], "is_applied": not exchange.would, "version": str(decision.epoch)}
        found["authorizations"] = [{"decision": verdict, "policy": {"name": name}} for name in decision.policies]
    return found


def _unmapped(exchange: Exchange) -> Event:
    operation, reply = exchange.operation, exchange.reply
    found: Event = {
        "form": operation.form,
        "accesses": [list(access) for access in exchange.accesses()],
        "parameters": _parameters(exchange),
        "approvals": [_approval(index, approval) for index, approval in exchange.approvals],
    }
    if exchange.decision is not None and exchange.decision.would:
        found["would"] = exchange.decision.would
    if exchange.request is not None:
        found["request"] = {"id": exchange.request.request, "entry": exchange.request_index}
    if reply is not None:
        masked = [] if isinstance(reply.masked, Stored) else list(reply.masked)
        found["reply"] = {
            "status": reply.status,
            "tag": text_of(reply.tag),
            "rows": reply.rows,
            "masked": masked,
            "tags": list(exchange.tags()),
            "duration_us": reply.duration_us,
        }
        if not isinstance(reply.would_mask, Stored) and reply.would_mask:
            found["reply"]["would_mask"] = list(reply.would_mask)
    return found


def _approval(index: int, approval: Approval) -> Event:
    return {"entry": index, "verdict": approval.verdict, "user": approval.user, "reason": text_of(approval.reason)}


def _parameters(exchange: Exchange) -> list[str]:
    operation = exchange.operation
    if isinstance(operation.parameters, Stored):
        return [text_of(operation.parameters)]
    formats = () if isinstance(operation.formats, Stored) else operation.formats
    types = () if isinstance(operation.types, Stored) else operation.types
    return list(render(operation.parameters, formats, types))
