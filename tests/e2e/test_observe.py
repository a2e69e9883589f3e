"""A workload that is only observed: nothing of it is denied, held or masked, and all that would have been is on record."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import guard
import pytest
from guard import Guard
from servers import Server, server

ASK = Path(__file__).parent / "agents" / "ask.py"
POLICIES = """
@id("reads") permit (principal in Role::"r", action in Action::"read", resource in Database::"pg/watched");
@id("sessions") permit (principal in Role::"r", action in Action::"session", resource in Database::"pg/watched");
@id("no secrets") forbid (principal, action in Action::"read", resource == Table::"pg/watched/public/secrets");
@id("asks first")
permit (principal in Role::"r", action in [Action::"delete", Action::"read"], resource == Table::"pg/watched/public/people")
when { context has approval && context.approval.count >= 1 };
@id("dba approves") permit (principal in Group::"dba", action == Action::"approve", resource);
"""
TAGS = '[tags."pii.email"]\ncolumns = ["pg/watched/public/people/mail"]\nmask = { kind = "redact" }\n'
SCRIPT = """
CREATE TABLE people (id int PRIMARY KEY, mail text);
INSERT INTO people VALUES (1, 'ann@example.com'), (2, 'bob@example.com');
CREATE TABLE secrets (word text);
INSERT INTO secrets VALUES ('xyzzy');
"""
STATEMENTS = [
    "SELECT id FROM people ORDER BY id",
    "SELECT id, mail FROM people ORDER BY id",
    "SELECT word FROM secrets",
    "INSERT INTO people VALUES (3, 'cid@example.com')",
    "DELETE FROM people WHERE id = 2",
    "DO $$ BEGIN RAISE NOTICE 'ran'; END $$",
    "COPY people TO STDOUT",
    "SELECT no_such_column FROM people",
    "BEGIN",
    "DELETE FROM secrets",
    "ROLLBACK",
    "SELECT count(*) FROM secrets",
]
TALK = """
import socket, sys
sock = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20)
sock.sendall(sys.argv[3].encode())
sock.shutdown(socket.SHUT_WR)
said = b"".join(iter(lambda: sock.recv(4096), b""))
print(said.hex())
"""
DATAGRAM = """
import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(20)
sock.sendto(b"over here", (sys.argv[1], int(sys.argv[2])))
print(sock.recv(100).decode())
"""


def setup(address: str, mode: str = "observe", durability: str = "batch") -> guard.Setup:
    return guard.Setup(
        agents={"one": guard.Agent(("r",), mode=mode)},
        resources={"pg": address},
        policies=POLICIES,
        tags=TAGS,
        durability=durability,
        workers=1,
    )


@pytest.fixture(scope="module")
def watched(postgres18: Server) -> Iterator[Guard]:
    with guard.guarding(setup(f"{postgres18.host}:{postgres18.port}")) as running:
        yield running


@contextlib.contextmanager
def greeter() -> Iterator[tuple[str, int]]:
    """A server of no known protocol: it speaks first, then says again what it heard until the client's end."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with sock, contextlib.suppress(OSError):
                sock.sendall(b"hello ")
                heard = b"".join(iter(lambda: sock.recv(4096), b""))  # noqa: B023
                sock.sendall(heard + b" goodbye")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def directly(program: Sequence[str | Path], environment: dict[str, str], text: str = "") -> subprocess.CompletedProcess[str]:
    full = {**os.environ, **environment}
    return subprocess.run(program, capture_output=True, text=True, timeout=60, check=False, env=full, input=text)


def both(
    running: Guard, program: Sequence[str | Path], environment: dict[str, str]
) -> tuple[subprocess.CompletedProcess[str], subprocess.CompletedProcess[str]]:
    """Run it directly, then as the observed workload."""
    return directly(program, environment), running.run("one", program, environment)


def last(running: Guard) -> dict[str, Any]:
    flow = running.ask("recordings", "list")[-1]["flow"]
    found: dict[str, Any] = running.ask("recordings", "show", str(flow))
    return found


def test_statements_run_as_without_a_guard_and_the_record_says_what_would_have_been(watched: Guard, postgres18: Server) -> None:
    text = json.dumps(STATEMENTS)
    with postgres18.database("watched", SCRIPT) as database:
        direct = directly([sys.executable, ASK, "-"], postgres18.environment(database), text)
    with postgres18.database("watched", SCRIPT) as database:
        guarded = watched.run("one", [sys.executable, ASK, "-"], postgres18.environment(database), text)
    assert (guarded.stdout, guarded.stderr) == (direct.stdout, direct.stderr)
    assert "ann@example.com" in guarded.stdout
    steps = {item["text"]: item for item in last(watched)["items"] if "verdict" in item}
    assert {step["verdict"] for step in steps.values()} == {"allow"}
    would = {text: step["would"] for text, step in steps.items()}
    assert [would[text] for text in STATEMENTS[:6]] == ["allow", "allow", "deny", "deny", "hold", "deny"]
    assert would["DELETE FROM secrets"] == "deny"
    assert steps[STATEMENTS[2]]["policies"] == ["no secrets"]
    masked = steps[STATEMENTS[1]]["reply"]
    assert (masked["would_mask"], masked["masked"], masked["tags"]) == (["mail"], [], ["pii.email"])


def test_nobody_is_asked_and_what_would_have_been_is_found(watched: Guard, postgres18: Server) -> None:
    with postgres18.database("watched", SCRIPT) as database:
        watched.run("one", [sys.executable, ASK, *STATEMENTS[:5]], postgres18.environment(database))
    status = watched.status()
    assert status["requests"]["pending"] == 0
    assert status["operations"]["denied"] == status["operations"]["held"] == 0
    assert status["operations"]["would_deny"] > 0
    assert status["operations"]["would_hold"] > 0
    found = watched.ask("recordings", "search", "secrets", "--verdict", "would-deny")["found"]
    assert STATEMENTS[2] in [one["text"] for one in found]
    assert watched.ask("recordings", "search", "--verdict", "deny")["found"] == []
    assert "would-hold" in watched.ask("recordings", "list", "--verdict", "would-hold")[-1]["decisions"]
    report = json.loads(watched.cli("report", "--format", "json").stdout)
    (agent,) = report["agents"]
    assert (agent["denied"], agent["held"]) == ([], [])
    by_policy = {policy: (each["outcome"], each["operations"]) for each in agent["would"] for policy in each["policies"]}
    assert by_policy["no secrets"][0] == "deny"
    assert by_policy["asks first"][0] == "hold"
    assert "mail" in [column["column"] for column in agent["would_mask"]]
    assert "Would have been denied or held" in watched.cli("report").stdout
    flow = str(watched.ask("recordings", "list")[-1]["flow"])
    events = [json.loads(text) for text in watched.cli("recordings", "export", flow, "--format", "ocsf").stdout.splitlines()]
    observed = [event for event in events if event["action"] == "Observed"]
    assert {event["disposition"] for event in observed} == {"Logged"}
    assert STATEMENTS[2] in [event["query_info"]["query_string"] for event in observed]


def test_it_can_not_be_missed_that_a_workload_is_only_observed(watched: Guard) -> None:
    facts = watched.status()
    assert facts["observed"] == ["one"]
    assert [workload["mode"] for workload in facts["workloads"]] == ["observe"]
    assert "ONLY OBSERVED: one" in watched.cli("status").stdout
    assert any("1 ONLY OBSERVED (one)" in line for line in watched.lines)
    assert "ONLY OBSERVED" in watched.cli("doctor").stdout


def test_what_is_no_resource_passes_unread(watched: Guard) -> None:
    with greeter() as (host, port):
        direct, guarded = both(watched, [sys.executable, "-c", TALK, host, str(port), "who is there?"], {})
    assert bytes.fromhex(direct.stdout.strip()) == b"hello who is there? goodbye"
    assert (guarded.stdout, guarded.stderr) == (direct.stdout, direct.stderr)
    found = last(watched)
    assert found["facts"]["resource"] == ""
    assert ["mode", "observe"] in found["facts"]["details"]
    assert [item["kind"] for item in found["items"]] == ["opaque"]
    assert "no resource has the address" in found["items"][0]["text"]
    unread = json.loads(watched.cli("report", "--format", "json").stdout)["agents"][0]["unread"]
    assert f"{host}:{port}" in [each["destination"] for each in unread]


def test_what_can_not_be_parsed_passes_unread(watched: Guard, postgres18: Server) -> None:
    program = [sys.executable, "-c", TALK, postgres18.host, str(postgres18.port), "GET / HTTP/1.0\r\n\r\n"]
    direct, guarded = both(watched, program, {})
    assert (guarded.returncode, guarded.stdout, guarded.stderr) == (direct.returncode, direct.stdout, direct.stderr)
    assert "invalid length of startup packet" in last(watched)["items"][0]["text"]


def test_datagrams_pass_and_are_counted(watched: Guard) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server_sock:
        server_sock.bind(("127.0.0.1", 0))
        server_sock.settimeout(30)
        before = watched.status()["kernel"]["observed"]
        agent = watched.begin("one", [sys.executable, "-c", DATAGRAM, *map(str, server_sock.getsockname())], {})
        said, source = server_sock.recvfrom(100)
        server_sock.sendto(said + b", and back", source)
        out, err = agent.communicate(timeout=30)
    assert (out.strip(), err) == ("over here, and back", "")
    assert watched.status()["kernel"]["observed"] > before


@pytest.fixture(scope="module")
def encrypting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """PostgreSQL that takes TLS: Debian's, since the wheel's is built without."""
    folder = tmp_path_factory.mktemp("tls")
    for place in (folder, folder.parent, folder.parent.parent):
        place.chmod(0o755)
    key, certificate = folder / "key.pem", folder / "cert.pem"
    subject = ["-subj", "/CN=localhost", "-days", "2", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    subprocess.run(["openssl", "req", "-x509", *subject, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    shutil.chown(key, "postgres", "postgres")
    key.chmod(0o600)
    certificate.chmod(0o644)
    with server(15, {"ssl": "on", "ssl_key_file": str(key), "ssl_cert_file": str(certificate)}) as running:
        yield running


@pytest.mark.parametrize("durability", ["batch", pytest.param("strict", marks=pytest.mark.soak)])
def test_a_session_that_is_encrypted_passes_unread(encrypting: Server, durability: str) -> None:
    environment = {**encrypting.environment(), "PGSSLMODE": "require"}
    program: list[str | Path] = [sys.executable, ASK, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"]
    with guard.guarding(setup(f"{encrypting.host}:{encrypting.port}", durability=durability)) as running:
        direct, guarded = both(running, program, environment)
        assert (guarded.stdout, guarded.stderr) == (direct.stdout, direct.stderr) == ("True\nSELECT 1\n", "")
        (opaque,) = last(running)["items"]
        assert "the session is encrypted, by an SSLRequest" in opaque["text"]


ASKS = """
import psycopg, socket, sys
connection = psycopg.connect("", autocommit=True)
other = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20)
print(other.recv(100).decode(), flush=True)
for line in sys.stdin:
    try:
        print(connection.execute("SELECT word FROM secrets").fetchone()[0], flush=True)
    except psycopg.Error as error:
        print(error.sqlstate, flush=True)
    if line.strip() == "other":
        print(repr(other.recv(100)), flush=True)
"""


def hup(running: Guard, done: Callable[[dict[str, Any]], bool]) -> None:
    assert running.process is not None
    running.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 20
    while not done(status := running.status()):
        assert time.monotonic() < deadline, status
        time.sleep(0.05)


def test_a_reload_enforces_open_flows_ends_unread_ones_and_back(postgres18: Server) -> None:
    with (
        greeter() as (host, port),
        postgres18.database("watched", SCRIPT) as database,
        guard.guarding(setup(f"{postgres18.host}:{postgres18.port}")) as running,
    ):
        agent = running.begin("one", [sys.executable, "-c", ASKS, host, str(port)], postgres18.environment(database))

        def ask(what: str = "") -> str:
            assert agent.stdin is not None
            assert agent.stdout is not None
            agent.stdin.write(what + "\n")
            agent.stdin.flush()
            return agent.stdout.readline().strip()

        assert agent.stdout is not None
        assert agent.stdout.readline().strip() == "hello"
        assert ask() == "xyzzy"
        text = running.config.read_text()
        running.config.write_text(text.replace('mode = "observe"', 'mode = "enforce"'))
        hup(running, lambda status: status["policy"]["epoch"] == 2 and status["observed"] == [])
        assert ask("other") == "42501"
        assert agent.stdout.readline().strip() == "b''"
        ended = [flow for flow in running.ask("recordings", "list") if flow["unread"]]
        assert [flow["end_ns"] is not None for flow in ended] == [True]
        closed = running.ask("recordings", "show", str(ended[0]["flow"]))["close_reason"]
        assert closed == "its workload is no longer only observed, and this flow can't be read"
        refused = running.run("one", [sys.executable, "-c", TALK, host, str(port), "again"], {})
        assert "ConnectionResetError" in refused.stderr
        running.config.write_text(text)
        hup(running, lambda status: status["policy"]["epoch"] == 3 and status["observed"] == ["one"])
        assert ask() == "xyzzy"
        agent.communicate(timeout=30)
