"""What a real conversation leaves behind: metrics while it runs, and recordings that other programs read."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import guard
import pytest
from prometheus_client.parser import text_string_to_metric_families
from servers import Server

from hostguard.agent.paths import Paths
from hostguard.agent.s3 import place_of
from hostguard.agent.shipping import Ledger
from hostguard.policy.document import load

POLICY = """
@id("agents read and write")
permit (principal in Role::"worker", action in [Action::"read", Action::"write", Action::"session"], resource);
"""
AGENT = """
import psycopg
with psycopg.connect(autocommit=True) as connection:
    connection.execute("SELECT 'needle', current_database()")
    connection.execute("SELECT relname FROM pg_class WHERE oid = %s", (1259,))
    try:
        connection.execute("CREATE TABLE evidence (id int)")
    except psycopg.Error as error:
        print(error.sqlstate)
"""
SCRAPE = """
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1], timeout=5).status)
"""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    assert isinstance(port, int)
    return port


@pytest.fixture(scope="module")
def scraped() -> str:
    return f"127.0.0.1:{free_port()}"


@pytest.fixture(scope="module")
def guarded(postgres18: Server, scraped: str) -> Iterator[guard.Guard]:
    """A guard whose agent has said what it has to say."""
    setup = guard.Setup(
        agents={"one": guard.Agent(("worker",))},
        resources={"pg": f"{postgres18.host}:{postgres18.port}"},
        policies=POLICY,
        tags=f'[metrics]\nlisten = "{scraped}"\n[ship]\nbucket = "evidence"\n',
    )
    with guard.guarding(setup) as running:
        done = running.run("one", [sys.executable, "-c", AGENT], postgres18.environment())
        assert done.stdout == "42501\n", done.stderr
        yield running


def samples(text: str) -> dict[tuple[str, str], float]:
    """(name, value of the only label) to value, by Prometheus' own parser."""
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def get(connection: http.client.HTTPConnection) -> str:
    connection.request("GET", "/metrics", headers={"Host": "hostguard"})
    response = connection.getresponse()
    assert (response.status, response.headers["Content-Type"].split(";")[0]) == (200, "text/plain")
    return response.read().decode()


def test_prometheus_reads_the_same_figures_from_the_control_socket_and_the_address(guarded: guard.Guard, scraped: str) -> None:
    control = http.client.HTTPConnection("hostguard")
    control.sock = socket.socket(socket.AF_UNIX)
    control.sock.connect(str(guarded.folder / "run" / "control.sock"))
    found = samples(get(control))
    control.close()
    there = http.client.HTTPConnection(scraped)
    again = samples(get(there))
    there.close()
    assert found.keys() == again.keys()
    assert (found["hostguard_flows_opened_total", ""], found["hostguard_flows", ""]) == (1, 0)
    operations = {verdict: found["hostguard_operations_total", verdict] for verdict in ("allow", "deny", "hold")}
    assert operations["hold"] == 0
    assert operations["allow"] >= 2
    assert operations["deny"] >= 1
    # Every allowed operation is in the histogram, none took a second.
    assert found["hostguard_added_latency_seconds_count", ""] == operations["allow"]
    assert 0 < found["hostguard_added_latency_seconds_sum", ""] < 1
    assert found["hostguard_log_sync_seconds_count", ""] >= 1
    assert found["hostguard_log_entries", ""] >= 8
    assert found["hostguard_log_lag_entries", ""] >= 0
    assert found["hostguard_journal_lag_bytes", ""] == 0
    assert found["hostguard_guarding", ""] == 1
    assert found["hostguard_faults_total", "internal"] == 0


def test_the_lag_of_shipping_is_what_the_ledger_says(guarded: guard.Guard, scraped: str) -> None:
    """The ledger is `hostguard ship`'s; the daemon reads it when it is asked."""

    def told() -> dict[tuple[str, str], float]:
        there = http.client.HTTPConnection(scraped)
        try:
            return samples(get(there))
        finally:
            there.close()

    before = told()
    assert before["hostguard_shipped_entries", ""] == before["hostguard_ship_last_pass_time_seconds", ""] == 0
    assert before["hostguard_ship_lag_entries", ""] == before["hostguard_log_sealed_entries", ""]
    document = load(str(guarded.config))
    ledger = Ledger(Paths.of(document).ledger)
    ledger.begin(place_of(document.ship, socket.gethostname()))
    ledger.reach(3)
    ledger.try_ended(1_800_000_000.0, "no route")
    ledger.close()
    after = told()
    assert after["hostguard_ship_lag_entries", ""] == after["hostguard_log_sealed_entries", ""] - 3
    assert after["hostguard_ship_last_pass_time_seconds", ""] == 1_800_000_000
    assert after["hostguard_ship_failing", ""] == 1
    assert "3 arrived in the bucket" in guarded.cli("status").stdout


def test_an_agent_can_not_read_the_metrics(guarded: guard.Guard, scraped: str, postgres18: Server) -> None:
    done = guarded.run("one", [sys.executable, "-c", SCRAPE, f"http://{scraped}/metrics"], postgres18.environment())
    assert done.returncode == 1
    assert "200" not in done.stdout


def test_the_recording_is_found_shown_and_read_by_tshark(guarded: guard.Guard, postgres18: Server, tmp_path: Path) -> None:
    (found,) = guarded.ask("recordings", "search", "needle")["found"]
    assert found["verdicts"] == ["allow"]
    (flow,) = guarded.ask("recordings", "list", "--user", "postgres", "--verdict", "deny")
    capture = tmp_path / "x.pcapng"
    done = guarded.cli("recordings", "export", str(flow["flow"]), "--format", "pcapng", "-o", capture)
    assert done.returncode == 0, done.stderr
    words = ["tshark", "-r", str(capture), "-d", f"tcp.port=={postgres18.port},pgsql", "-T", "fields", "-e", "pgsql.query"]
    texts = subprocess.run([*words, "-Y", "pgsql.query"], capture_output=True, text=True, check=True).stdout
    assert "needle" in texts
    assert "CREATE TABLE evidence" in texts
    trouble = subprocess.run(
        [*words[:5], "-Y", "_ws.malformed || tcp.analysis.flags"], capture_output=True, text=True, check=True
    )
    assert trouble.stdout == ""


def test_the_report_has_what_was_denied(guarded: guard.Guard) -> None:
    report = json.loads(guarded.cli("report", "--since", "1h", "--format", "json").stdout)
    (agent,) = [agent for agent in report["agents"] if agent["agent"] == "one"]
    assert (agent["owner"], [statement["text"] for statement in agent["denied"]]) == ("alice", ["CREATE TABLE evidence (id int)"])
    assert report["gaps"] == []
    (stance,) = agent["stances"]
    (load,) = report["policy_loads"]
    assert stance["entry"] == load["entry"]
    assert [Path(path).name for path, _ in load["files"]] == ["hostguard.toml", "base.cedar", "policies.cedar"]


def test_today_the_conversation_would_be_decided_as_it_was(guarded: guard.Guard) -> None:
    (flow,) = guarded.ask("recordings", "list", "--verdict", "deny")
    again = guarded.cli("recordings", "rerun", str(flow["flow"]), "--json")
    assert [each["differs"] for each in json.loads(again.stdout)] == [False] * len(json.loads(again.stdout)), again.stdout
