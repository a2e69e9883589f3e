"""Flows in other programs' formats, judged by these programs."""

from __future__ import annotations

import ipaddress
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from recorded import CUSTOMERS, DELETE, DROP, LONG, ORDERS, SELECT, START_NS, log_in, opened, record

from hostguard.recorder.entry import Decision, Operation, Reply
from hostguard.recorder.exchanges import Exchange, History, NoSuchFlow, histories, history
from hostguard.recorder.export import asciicast, jsonl, ocsf, pcapng
from hostguard.recorder.export.postgres_messages import reply
from hostguard.recorder.reader import Reader
from hostguard.recorder.replay import replayed

CHECKSUMS = ("-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE")
SCHEMA = json.loads((Path(__file__).parent / "ocsf_datastore_activity.json").read_text())


def flow(folder: Path, number: int) -> History:
    reader = Reader(folder, number)
    return history(number, reader.flow(number), reader.payload)


# JSON Lines


def test_json_lines_hold_every_entry_whole_with_its_position(tmp_path: Path) -> None:
    record(tmp_path)
    reader = Reader(tmp_path)
    lines = [json.loads(line) for line in jsonl.lines(reader.entries(), reader.payload)]
    assert [line["index"] for line in lines] == list(range(reader.position))
    assert [line["text"] for line in lines if line.get("text") == LONG]
    execute = next(line for line in lines if line.get("form") == "execute")
    again = msgspec.convert(execute, Operation, strict=False)
    assert again.parameters == (b"\0\0\0\x07", b"zo\xc3\xab", None)


# Whole flows out of one pass


def test_one_pass_gives_every_flow_as_it_is_alone(tmp_path: Path) -> None:
    first, second, refused = record(tmp_path)
    reader = Reader(tmp_path)
    found = {each.index: each for each in histories(reader.entries(), reader.payload)}
    assert list(found) == [first, refused, second]
    assert all(found[number] == flow(tmp_path, number) for number in found)
    assert [each.index for each in histories(Reader(tmp_path).entries(), reader.payload, {second})] == [second]


def test_a_flow_that_is_not_there_is_said_to_be_none(tmp_path: Path) -> None:
    record(tmp_path)
    with pytest.raises(NoSuchFlow):
        flow(tmp_path, 0)


# OCSF


def faults(value: Any, node: dict[str, Any], where: str, profiles: frozenset[str]) -> list[str]:
    """What in an event, or an object in it, is not as the published schema has it."""
    attributes = {k: v for k, v in node["attributes"].items() if v.get("profile") is None or v["profile"] in profiles}
    found = [f"{where}.{key} is no attribute" for key in value if key not in attributes]
    found += [f"{where}.{k} is required" for k, v in attributes.items() if v["requirement"] == "required" and k not in value]
    for group in node["constraints"].values():
        if not any(key in value for key in group):
            found.append(f"{where} has none of {group}")
    for key, content in value.items():
        if key in attributes:
            items = content if attributes[key].get("array") else [content]
            assert isinstance(items, list), f"{where}.{key} is an array"
            for item in items:
                found += attribute_faults(item, attributes[key], f"{where}.{key}", profiles)
    return found


def attribute_faults(item: Any, attribute: dict[str, Any], where: str, profiles: frozenset[str]) -> list[str]:
    kind = attribute["type"]
    if "enum" in attribute and str(item) not in attribute["enum"]:
        return [f"{where} is {item}, which is not in its enumeration"]
    if kind in SCHEMA["objects"]:
        return faults(item, SCHEMA["objects"][kind], where, profiles)
    if kind == "object":
        return [] if isinstance(item, dict) else [f"{where} is no object"]
    if kind not in SCHEMA["types"]:
        return [f"{where} is a {kind}, which the compiled schema does not hold"]
    base = SCHEMA["types"][kind].get("type", kind)
    if base in ("integer_t", "long_t"):
        return [] if type(item) is int else [f"{where} is no integer"]
    if base == "boolean_t":
        return [] if type(item) is bool else [f"{where} is no boolean"]
    if kind == "ip_t":
        return [] if ipaddress.ip_address(item) else [where]
    pattern = SCHEMA["types"][kind].get("regex", "")
    if not isinstance(item, str) or (pattern and not re.search(pattern, item)):
        return [f"{where} is {item!r}, which is no {kind}"]
    return []


def test_events_are_valid_by_the_published_schema(tmp_path: Path) -> None:
    record(tmp_path)
    reader = Reader(tmp_path)
    events = [e for each in histories(reader.entries(), reader.payload) for e in ocsf.events(each, "1.0")]
    assert len(events) == 3 + 6
    for event in events:
        assert faults(event, SCHEMA["class"], "event", frozenset(event["metadata"]["profiles"])) == []
        assert event["type_uid"] == event["class_uid"] * 100 + event["activity_id"]
        for name in ("activity", "action", "disposition", "status", "severity"):
            caption = SCHEMA["class"]["attributes"][f"{name}_id"]["enum"][str(event[f"{name}_id"])]
            shown = event[f"{name}_name" if name == "activity" else name]
            assert shown == caption or caption == "Other"
    assert (SCHEMA["version"], SCHEMA["class"]["uid"]) == (ocsf.VERSION, ocsf.CLASS_UID % 1000)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"actor": {}}, "event.actor has none of"),
        ({"activity_id": 77}, "not in its enumeration"),
        ({"nonsense": 1}, "no attribute"),
        ({"time": "now"}, "no integer"),
        ({"src_endpoint": None}, "is required"),
    ],
)
def test_the_validator_sees_what_is_wrong(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    first, *_ = record(tmp_path)
    event = {**next(ocsf.events(flow(tmp_path, first), "1.0")), **change}
    event = {key: value for key, value in event.items() if value is not None}
    assert said in " ".join(faults(event, SCHEMA["class"], "event", frozenset({"security_control"})))


def test_events_tell_what_was_decided_and_what_came_of_it(tmp_path: Path) -> None:
    first, second, refused = record(tmp_path)
    connect, _, execute, delete, broken = ocsf.events(flow(tmp_path, first), "1.0")
    assert (connect["activity_name"], connect["metadata"]["uid"], connect["action"]) == ("Connect", str(first), "Allowed")
    assert (execute["activity_name"], execute["disposition"], execute["status"]) == ("Query", "Allowed", "Success")
    assert execute["query_info"]["query_string"] == SELECT
    assert execute["unmapped"]["hostguard"]["reply"]["tags"] == ["pii.email"]
    assert execute["unmapped"]["hostguard"]["parameters"] == ["7", "'zoë'", "NULL"]
    assert (delete["activity_name"], delete["disposition"], delete["table"]["uid"]) == ("Delete", "Approved", ORDERS)
    assert delete["unmapped"]["hostguard"]["approvals"][0]["user"] == "bob"
    assert (broken["status"], broken["status_code"]) == ("Failure", "42P01")
    _, drop, withdrawn = ocsf.events(flow(tmp_path, second), "1.0")
    assert (drop["action"], drop["disposition"], drop["status"], drop["severity"]) == ("Denied", "Blocked", "Failure", "Medium")
    assert (withdrawn["action"], withdrawn["disposition"]) == ("Denied", "Delayed")
    (refusal,) = ocsf.events(flow(tmp_path, refused), "1.0")
    assert (refusal["activity_name"], refusal["action"], refusal["status_detail"]) == ("Connect", "Denied", "no resource")
    positions = [int(event["metadata"]["uid"]) for event in (execute, delete, broken)]
    assert [text_at(tmp_path, position) for position in positions] == [SELECT, DELETE, LONG]


def text_at(folder: Path, position: int) -> object:
    reader = Reader(folder, position)
    _, entry = next(reader.entries())
    assert isinstance(entry, Operation)
    return entry.text if isinstance(entry.text, str) else msgspec.msgpack.decode(reader.payload(entry.text) or b"")  # type: ignore[arg-type]


# pcapng


def tshark(capture: Path, *fields: str) -> list[list[str]]:
    """One row for each PostgreSQL frame, with the fields asked for; two-pass, checksums checked."""
    words = ["tshark", "-r", str(capture), "-2", *CHECKSUMS, "-T", "fields"]
    for name in fields:
        words += ["-e", name]
    done = subprocess.run([*words, "-E", "separator=/t", "-Y", "pgsql"], check=True, capture_output=True, text=True)
    return [line.split("\t") for line in done.stdout.splitlines()]


def captured(folder: Path) -> Path:
    reader = Reader(folder)
    capture = folder / "x.pcapng"
    flows = histories(reader.entries(), reader.payload)
    capture.write_bytes(pcapng.header() + b"".join(block for each in flows for block in pcapng.packets(each)))
    return capture


def test_tshark_decodes_the_capture_as_postgresql_with_the_recorded_statements(tmp_path: Path) -> None:
    record(tmp_path)
    rows = tshark(captured(tmp_path), "frame.time_epoch", "tcp.srcport", "pgsql.type", "pgsql.query", "pgsql.statement")
    queries = [row[3] for row in rows if row[3]]
    assert queries[:2] == [SELECT, DELETE.replace("\n", "\\n")]
    assert queries[3:] == [DROP, "DELETE FROM orders"]
    assert LONG.startswith(queries[2][:200])
    types = [row[2] for row in rows]
    assert types[0] == "Startup message"
    assert any("Bind" in kind and "Execute" in kind and "Sync" in kind for kind in types)
    assert any("Command completion" in kind for kind in types)
    assert any("Error" in kind for kind in types)
    assert [row[4] for row in rows if row[2].startswith("Bind,")] == ["s1"]
    seconds = [float(row[0]) for row in rows if row[1] == "47110"]
    assert seconds[0] == pytest.approx(START_NS / 1e9 + 0.003, abs=1e-6)
    assert seconds == sorted(seconds)


def test_tshark_finds_nothing_wrong_with_the_packets(tmp_path: Path) -> None:
    record(tmp_path)
    capture = captured(tmp_path)
    troubles = (
        "_ws.malformed", "tcp.checksum.status == 0", "ip.checksum.status == 0", "tcp.analysis.flags",
        "_ws.expert.severity >= 8388608",
    )  # fmt: skip
    for trouble in troubles:
        assert shown(capture, trouble) == "", trouble
    assert "[SYN]" in shown(capture, 'frame.comment contains "entry 2:"')


def shown(capture: Path, display_filter: str) -> str:
    words = ["tshark", "-r", str(capture), *CHECKSUMS, "-Y", display_filter]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize(
    ("status", "tag", "expected"),
    [
        ("ok", "SELECT 1", b"2T?C?Z"),
        ("suspended", "", b"2T?s?Z"),
        ("error", "42P01", b"E?Z"),
        ("skipped", "", b"Z"),
        ("lost", "", b""),
    ],
)
def test_a_reply_is_told_by_its_summary_and_never_has_rows(status: str, tag: str, expected: bytes) -> None:
    exchange = Exchange(5, Operation(1, "execute", "SELECT 1"), reply=Reply(1, status, tag, columns=("a",)))
    exchange.decisions.append((6, Decision(1, "allow")))
    said = reply(exchange)
    kinds = []
    while said:
        kinds.append(said[:1])
        said = said[1 + int.from_bytes(said[1:5], "big") :]
    assert b"".join(kinds) == expected.replace(b"?", b"")


# asciicast


def test_asciinema_plays_the_replay(tmp_path: Path) -> None:
    first, *_ = record(tmp_path)
    cast = tmp_path / "x.cast"
    cast.write_bytes(b"".join(asciicast.cast(replayed(flow(tmp_path, first)))))
    done = subprocess.run(
        ["script", "-qec", f"asciinema play -s 1000 {cast}", "/dev/null"], check=True, capture_output=True, text=True
    )
    for text in (SELECT, "DELETE FROM orders", "held, then allow", "by bob", "(pii.email)", "closed: the agent closed"):
        assert text in done.stdout
    lines = cast.read_text().splitlines()
    times = [json.loads(line)[0] for line in lines[1:]]
    assert times == sorted(times)
    assert times[-1] == pytest.approx(json.loads(lines[-1])[0])
    assert json.loads(lines[0])["version"] == 2


def test_an_agents_text_cannot_move_the_cursor_of_who_plays_it(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    number = log.open_flow(opened())
    log.append(number, Operation(1, "query", "SELECT '\x1b[2J\u202e'"))
    log.close()
    data = "".join(json.loads(line)[2] for line in list(asciicast.cast(replayed(flow(tmp_path, number))))[1:])
    assert set(re.findall("\x1b\\[[0-9;]*(.)", data)) == {"m"}
    assert "\u202e" not in data
    assert CUSTOMERS not in data


def test_a_flow_over_a_unix_socket_is_told_in_both(tmp_path: Path) -> None:
    number, _, _ = record(tmp_path)
    local = flow(tmp_path, number)
    local.opened = msgspec.structs.replace(local.opened, source="unix:70000", destination="unix:/run/postgresql/.s.PGSQL.5432")
    connect, *_ = ocsf.events(local, "1.0")
    assert connect["src_endpoint"] == {"name": "unix:70000"}
    assert connect["dst_endpoint"]["name"] == local.opened.destination
    assert faults(connect, SCHEMA["class"], "event", frozenset(connect["metadata"]["profiles"])) == []
    capture = tmp_path / "unix.pcapng"
    capture.write_bytes(pcapng.header() + b"".join(pcapng.packets(local)))
    rows = tshark(capture, "ip.src", "tcp.dstport", "pgsql.query")
    assert rows[0][:2] == ["127.0.0.1", "5432"]
    assert SELECT in [row[2] for row in rows]
