"""Strict durability: an operation that the server may have seen is on disk, even if the daemon dies at that moment."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import guard
import pytest
from e2e.talk import guarded
from servers import Server

POLICY = '@id("all") permit (principal in Role::"worker", action, resource);\n'
INSERTS = """
import psycopg
with psycopg.connect("", autocommit=True) as connection:
    number = 0
    while True:
        number += 1
        connection.execute(f"INSERT INTO kept VALUES ({number})")
        print(number, flush=True)
"""


@pytest.fixture(scope="module")
def strict(postgres18: Server) -> Iterator[guard.Guard]:
    """A guard that syncs before each release."""
    resources = {"pg": f"{postgres18.host}:{postgres18.port}"}
    agents = {"worker": guard.Agent(("worker",))}
    with guard.guarding(guard.Setup(agents=agents, resources=resources, policies=POLICY, durability="strict")) as running:
        yield running


def test_what_the_server_has_is_on_record_after_a_kill(strict: guard.Guard, postgres18: Server) -> None:
    with postgres18.database("strict", "CREATE TABLE kept (n int)") as database:
        agents = [strict.begin("worker", [sys.executable, "-c", INSERTS], postgres18.environment(database)) for _ in range(3)]
        for agent in agents:
            assert agent.stdout is not None
            assert [agent.stdout.readline() for _ in range(30)][-1] == "30\n"
        strict.kill()
        for agent in agents:
            agent.communicate(timeout=60)
        with postgres18.connect(database) as connection:
            rows = connection.execute("SELECT n FROM kept").fetchall()
        shown = [strict.cli("recordings", "show", str(flow["flow"])).stdout for flow in strict.ask("recordings", "list")]
    assert len(rows) >= 90
    recorded = re.findall(r"INSERT INTO kept VALUES \((\d+)\)", "".join(shown))
    missing = [number for (number,) in rows if recorded.count(str(number)) < rows.count((number,))]
    assert missing == []
    strict.start()


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_each_statement_is_synced_before_it_is_forwarded(strict: guard.Guard, postgres18: Server, tmp_path: Path) -> None:
    """Seen from outside: between the write of a statement to the log and the one to the server an fdatasync ends."""
    out = tmp_path / "trace"
    with (
        postgres18.database("strict", "CREATE TABLE kept (n int)") as database,
        guarded(strict, "worker", postgres18, database) as talk,
    ):
        assert talk("SELECT 0") == ["0"]
        calls = "trace=fdatasync,write,pwrite64,writev,sendto,sendmsg"
        pids = strict.processes()
        command = ["strace", "-f", "-qq", "-s", "4096", "-e", calls, "-o", str(out), *(f"-p{pid}" for pid in pids)]
        tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            for pid in pids:
                _wait_until_traced(pid)
            for number in range(1, 6):
                assert talk(f"INSERT INTO kept VALUES ({number})") == ["INSERT 0 1"]
        finally:
            tracer.terminate()
            tracer.communicate()
    events = [event for line in out.read_text().splitlines() if (event := _event(line))]
    for number in range(1, 6):
        statement = f"INSERT INTO kept VALUES ({number})"
        first, last = (index for index, (_, text) in enumerate(events) if statement in text)
        assert "synced" in [kind for kind, _ in events[first:last]], events[first : last + 1]


def _event(line: str) -> tuple[str, str] | None:
    """A line of strace's as what happened: a sync that has ended, or bytes that went out."""
    if re.search(r"fdatasync(\(.*| resumed>\)) += 0", line):
        return "synced", ""
    return ("out", line) if re.search(r"\b(write|pwrite64|writev|sendto|sendmsg)\(", line) else None


def _wait_until_traced(pid: int) -> None:
    status = Path(f"/proc/{pid}/status")
    while "TracerPid:\t0\n" in status.read_text():
        continue
