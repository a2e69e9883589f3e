"""Entries on their way to a SIEM, over real sockets."""

from __future__ import annotations

import http.server
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from recorded import DELETE, LONG, START_NS, log_in, opened, record
from sealed_log import SealedLog

from hostguard.agent.failures import Failure
from hostguard.agent.forwarding import Forwarder, link
from hostguard.policy.outlet_sections import Forward
from hostguard.recorder.entry import Decision, Operation
from hostguard.recorder.export.messages import body, syslog
from hostguard.recorder.reader import Reader

# RFC 5424 §6: HEADER SP STRUCTURED-DATA SP MSG
MESSAGE = re.compile(
    r"<(?P<pri>\d{1,3})>1 (?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) (?P<host>[!-~]+) hostguard \d+ (?P<kind>[!-~]+) "
    r'\[hostguard@32473 entry="(?P<entry>\d+)" flow="(?P<flow>\d+)"\] (?P<json>.*)',
    re.DOTALL,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    record(tmp_path / "log")
    return tmp_path / "log"


def forwarder(folder: Path, to: str, **options: Any) -> Forwarder:
    section = Forward(to=to, **options)
    return Forwarder("siem", section, folder, folder.parent / "forward", link(section, "runner 7", "1.0"))


def entries(folder: Path) -> int:
    return len(list(Reader(folder).entries()))


def checked(message: bytes) -> dict[str, Any]:
    """The JSON of a message whose head is right."""
    found = MESSAGE.fullmatch(message.decode())
    assert found, message
    fields = json.loads(found["json"])
    assert isinstance(fields, dict)
    assert (str(fields["index"]), str(fields["flow"]), fields["kind"]) == (found["entry"], found["flow"], found["kind"])
    assert found["host"] == "runner7"
    return {**fields, "pri": int(found["pri"]), "time": found["time"]}


@pytest.mark.parametrize("family", [socket.AF_UNIX, socket.AF_INET])
def test_datagrams_are_rfc_5424_and_tell_every_entry_in_order(folder: Path, tmp_path: Path, family: int) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "log.sock") if family == socket.AF_UNIX else ("127.0.0.1", 0))
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        server.settimeout(5)
        got: list[bytes] = []
        wanted = entries(folder)
        listening = threading.Thread(target=lambda: got.extend(server.recv(1 << 16) for _ in range(wanted)))
        listening.start()
        to = f"unix://{tmp_path}/log.sock" if family == socket.AF_UNIX else f"udp://127.0.0.1:{server.getsockname()[1]}"
        sending = forwarder(folder, to)
        assert (sending.run(), sending.failure) == (wanted, "")
        listening.join(10)
        sending.close()
    found = [checked(message) for message in got]
    assert [each["index"] for each in found] == list(range(wanted))
    assert max(map(len, got)) <= 8192
    (long,) = [each for each in found if each.get("cut")]
    assert long["cut"] == ["text"]
    assert LONG.startswith(long["text"][:-1])
    denied = next(each for each in found if each.get("verdict") == "deny")
    assert (denied["pri"], found[0]["pri"]) == (13 * 8 + 4, 13 * 8 + 6)
    assert found[0]["time"] == "2026-09-21T14:13:20.000000Z"
    assert START_NS // 10**9 == 1_790_000_000


def frames_of(stream: bytes) -> list[bytes]:
    """RFC 6587 §3.4.1: MSG-LEN SP SYSLOG-MSG."""
    found = []
    while stream:
        size, _, rest = stream.partition(b" ")
        found.append(rest[: int(size)])
        stream = rest[int(size) :]
    return found


class Listener:
    """A TCP server that reads one connection at a time to its end."""

    def __init__(self, port: int = 0) -> None:
        self.server = socket.create_server(("127.0.0.1", port))
        self.server.settimeout(10)
        self.port = self.server.getsockname()[1]

    def read(self, work: Callable[[], Forwarder]) -> tuple[bytes, Forwarder]:
        """All that comes while `work` runs."""
        chunks: list[bytes] = []

        def serve() -> None:
            connection, _ = self.server.accept()
            with connection:
                while chunk := connection.recv(1 << 16):
                    chunks.append(chunk)

        serving = threading.Thread(target=serve)
        serving.start()
        made = work()
        made.close()
        serving.join(10)
        return b"".join(chunks), made


def test_tcp_counts_its_octets_and_goes_on_at_the_cursor_after_an_outage(folder: Path) -> None:
    listener = Listener()

    def run() -> Forwarder:
        sending = forwarder(folder, f"tcp://127.0.0.1:{listener.port}", kinds=("decision", "approval"))
        sending.run()
        return sending

    stream, sending = listener.read(run)
    first = [checked(message) for message in frames_of(stream)]
    assert {each["kind"] for each in first} == {"decision", "approval"}
    assert sending.position == entries(folder)
    listener.server.close()

    log = log_in(folder)
    number = log.open_flow(opened())
    log.append(number, Operation(1, "query", "x"), Decision(1, "allow"))
    log.close()
    sending = run()
    assert sending.failure == "Connection refused"
    assert sending.position < entries(folder)

    again = Listener(listener.port)
    stream, sending = again.read(run)
    again.server.close()
    assert [checked(message)["index"] for message in frames_of(stream)] == [number + 2]
    assert (sending.position, sending.failure) == (entries(folder), "")


class Collector:
    """An OpenTelemetry collector that answers as it is told."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.answers: list[tuple[int, bytes]] = []
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.headers["Content-Type"] == "application/json"
                collector.requests.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                status, data = collector.answers.pop(0) if collector.answers else (200, b"{}")
                self.send_response(status)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Quietly."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1/logs"


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    serving = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    serving.start()
    yield made
    made.server.shutdown()
    serving.join()
    made.server.server_close()


def records(request: dict[str, Any]) -> list[dict[str, Any]]:
    (resource,) = request["resourceLogs"]
    assert {"key": "service.name", "value": {"stringValue": "hostguard"}} in resource["resource"]["attributes"]
    (scope,) = resource["scopeLogs"]
    found = scope["logRecords"]
    assert isinstance(found, list)
    return found


def test_opentelemetry_gets_every_entry_as_a_log_record(folder: Path, collector: Collector) -> None:
    sending = forwarder(folder, collector.url)
    assert (sending.run(), sending.failure) == (entries(folder), "")
    (request,) = collector.requests
    found = records(request)
    assert [each["attributes"][0]["value"]["intValue"] for each in found] == [str(n) for n in range(entries(folder))]
    delete = next(each for each in found if json.loads(each["body"]["stringValue"]).get("text") == DELETE)
    assert (delete["eventName"], delete["severityNumber"], delete["severityText"]) == ("hostguard.operation", 9, "INFO")
    assert delete["timeUnixNano"].isdecimal()
    denied = [each for each in found if each["severityText"] == "WARN"]
    assert {json.loads(each["body"]["stringValue"])["kind"] for each in denied} == {"decision", "flow.refused"}
    assert sending.run() == 0


@pytest.mark.parametrize("status", [429, 503, 400, 302])
def test_a_batch_that_is_not_taken_is_sent_again(folder: Path, collector: Collector, status: int) -> None:
    collector.answers = [(status, b"")]
    sending = forwarder(folder, collector.url)
    assert (sending.run(), sending.position) == (0, 0)
    assert sending.failure.startswith(f"it answered {status}")
    again = forwarder(folder, collector.url)
    assert (again.run(), again.failure) == (entries(folder), "")
    assert len(records(collector.requests[0])) == len(records(collector.requests[1]))


def test_what_the_collector_rejects_is_told_and_not_sent_again(folder: Path, collector: Collector) -> None:
    collector.answers = [(200, b'{"partialSuccess": {"rejectedLogRecords": "2", "errorMessage": "too old"}}')]
    sending = forwarder(folder, collector.url)
    assert sending.run() == entries(folder)
    assert sending.failure == "it rejected 2 entries: too old"
    assert sending.run() == 0


def test_a_cursor_beyond_the_log_is_a_failure_and_not_silence(folder: Path) -> None:
    cursor = folder.parent / "forward" / "siem.cursor"
    cursor.parent.mkdir()
    for text, said in (("1000\n", "is it another log"), ("what", "delete it")):
        cursor.write_text(text)
        with pytest.raises(Failure, match=said):
            forwarder(folder, "udp://127.0.0.1:9")


@pytest.mark.parametrize("text", ["x" * 100_000, "\x01" * 20_000, "é" * 20_000, "𝄞\\" * 9_000])
@pytest.mark.parametrize("limit", [480, 8192])
def test_a_message_is_never_longer_than_asked_and_always_json(text: str, limit: int) -> None:
    entry = Operation(1, "query", text, parameters=(b"p" * 9000,))
    message = syslog(7, entry, "h" * 300, 1, limit + 320)
    assert len(message) <= limit + 320
    fields = json.loads(body(7, entry, limit))
    assert len(body(7, entry, limit).encode()) <= limit
    assert (fields["index"], fields["kind"]) == (7, "operation")
    assert "text" in fields["cut"]


def test_what_retention_removed_before_it_was_sent_is_told(tmp_path: Path, collector: Collector) -> None:
    with closing(SealedLog(tmp_path / "log", segment_bytes=500).fill(60)):
        segments = sorted((tmp_path / "log" / "entries").iterdir())
        segments[0].unlink()
    sending = forwarder(tmp_path / "log", collector.url)
    first = int(segments[1].stem)
    sending.run()
    assert sending.failure == f"entries 0 to {first - 1} were removed from the log before they were sent"
    sending.run()
    assert sending.failure == ""
    found = [each["attributes"][0]["value"]["intValue"] for request in collector.requests for each in records(request)]
    assert found == [str(number) for number in range(first, 61)]
