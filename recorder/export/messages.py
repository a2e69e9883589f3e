"""One entry as one message for a SIEM, in RFC 5424 or OpenTelemetry's form.

The body is the entry's line of JSON as `jsonl` has it, with long texts cut where it would not fit.
"""

from __future__ import annotations

import datetime
import json
from typing import Any

from ..entry import Decision, Entry, Fault, FlowRefused, Opaque, Unknown
from ..packing import tag_of
from .jsonl import line

Body = dict[str, Any]

FACILITY_AUDIT = 13
"""RFC 5424 §6.2.1: log audit."""
ERROR, WARNING, INFORMATIONAL = 3, 4, 6
"""RFC 5424 §6.2.1, severities."""
OTEL_SEVERITY = {ERROR: (17, "ERROR"), WARNING: (13, "WARN"), INFORMATIONAL: (9, "INFO")}
"""OpenTelemetry, Logs Data Model, SeverityNumber."""
KEPT_BYTES = 24
"""A field whose JSON is no longer is never cut: that would gain nothing."""
MARK_BYTES = 32
"""What a cut adds: the ellipsis, and the field's name in ``cut``."""


def severity(entry: Entry | Unknown) -> int:
    """Error for a fault of ours, warning for a refusal, informational for the rest."""
    match entry:
        case Fault():
            return ERROR
        case FlowRefused() | Opaque():
            return WARNING
        case Decision() if (entry.would or entry.verdict) != "allow":
            return WARNING
    return INFORMATIONAL


def kind_name(entry: Entry | Unknown) -> str:
    return entry.kind if isinstance(entry, Unknown) else tag_of(type(entry))


def body(index: int, entry: Entry | Unknown, max_bytes: int) -> str:
    """The entry's JSON in at most `max_bytes` bytes of UTF-8; ``cut`` names the fields that are not whole."""
    data = line(index, entry.fields if isinstance(entry, Unknown) else entry).rstrip(b"\n")
    if len(data) <= max_bytes:
        return data.decode()
    fields: Body = json.loads(data)
    fields["cut"] = []
    # Lists first: half a list of parameters says nothing, the beginning of a statement says much.
    candidates = sorted(fields, key=lambda name: (isinstance(fields[name], str), -len(_compact(fields[name]))))
    for name in candidates:
        excess = len(_compact(fields)) - max_bytes
        if excess <= 0:
            break
        if name not in ("index", "kind", "cut") and len(_compact(fields[name])) > KEPT_BYTES:
            fields["cut"].append(name)
            fields[name] = _cut(fields[name], excess)
    return _compact(fields).decode()


def _cut(value: Any, excess: int) -> str | None:
    """A text without its end, shorter by `excess` bytes of JSON and some for the mark; nothing of what is no text."""
    if not isinstance(value, str):
        return None
    room = len(_compact(value)) - excess - MARK_BYTES
    low, high = 0, len(value)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if len(_compact(value[:middle])) <= room else (low, middle - 1)
    return value[:low] + "…"


def _compact(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def syslog(index: int, entry: Entry | Unknown, host: str, pid: int, max_bytes: int) -> bytes:
    """RFC 5424 §6: ``<PRI>1 TIME HOST hostguard PID KIND [hostguard@32473 …] JSON``.

    32473 is the enterprise number that RFC 5612 keeps for examples: we have none of our own.
    """
    wall_ns, flow = _wall_ns(entry), entry.flow
    head = (
        f"<{FACILITY_AUDIT * 8 + severity(entry)}>1 {_rfc3339(wall_ns)} {_name(host, 255)} hostguard {pid} "
        f'{_name(kind_name(entry), 32)} [hostguard@32473 entry="{index}" flow="{flow}"] '
    ).encode()
    return head + body(index, entry, max_bytes - len(head)).encode()


def otlp(records: list[tuple[int, Entry | Unknown]], host: str, version: str, now_ns: int, max_bytes: int) -> bytes:
    """An ExportLogsServiceRequest in JSON (OTLP 1.x, opentelemetry-proto collector/logs/v1)."""
    return json.dumps(
        {
            "resourceLogs": [
                {
                    "resource": {"attributes": [_text("service.name", "hostguard"), _text("host.name", host)]},
                    "scopeLogs": [
                        {
                            "scope": {"name": "hostguard.log", "version": version},
                            "logRecords": [_log_record(index, entry, now_ns, max_bytes) for index, entry in records],
                        }
                    ],
                }
            ]
        },
        ensure_ascii=False,
    ).encode()


def _log_record(index: int, entry: Entry | Unknown, now_ns: int, max_bytes: int) -> Body:
    number, text = OTEL_SEVERITY[severity(entry)]
    return {
        "timeUnixNano": str(_wall_ns(entry)),
        "observedTimeUnixNano": str(now_ns),
        "severityNumber": number,
        "severityText": text,
        "eventName": f"hostguard.{kind_name(entry)}",
        "body": {"stringValue": body(index, entry, max_bytes)},
        "attributes": [_integer("hostguard.entry", index), _integer("hostguard.flow", entry.flow)],
    }


def _text(key: str, value: str) -> Body:
    return {"key": key, "value": {"stringValue": value}}


def _integer(key: str, value: int) -> Body:
    """64-bit integers are text in protobuf's JSON."""
    return {"key": key, "value": {"intValue": str(value)}}


def _wall_ns(entry: Entry | Unknown) -> int:
    found = entry.fields.get("wall_ns", 0) if isinstance(entry, Unknown) else entry.wall_ns
    return found if isinstance(found, int) else 0


def _rfc3339(wall_ns: int) -> str:
    moment = datetime.datetime.fromtimestamp(wall_ns // 10**9, datetime.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{wall_ns % 10**9 // 1000:06d}Z"


def _name(text: str, limit: int) -> str:
    """PRINTUSASCII without spaces; ``-`` for none."""
    return "".join(char for char in text if 33 <= ord(char) <= 126)[:limit] or "-"
