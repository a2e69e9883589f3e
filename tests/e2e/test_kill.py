"""When the daemon dies or hangs, agents are refused; none reaches the database around it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import guard
import pytest
from servers import Server

HAMMER = Path(__file__).parent / "agents" / "hammer.py"
AT_ONCE_MS = 1000
POLICY = """
@id("agents read and write")
permit (principal in Role::"worker", action, resource);
"""


@pytest.fixture(scope="module")
def shared(postgres18: Server) -> Iterator[guard.Guard]:
    """A guard that the tests kill one after the other."""
    agents = {name: guard.Agent(("worker",)) for name in ("one", "two")}
    resources = {"pg": f"{postgres18.host}:{postgres18.port}"}
    with guard.guarding(guard.Setup(agents=agents, resources=resources, policies=POLICY)) as running:
        yield running


@pytest.fixture
def guarded(shared: guard.Guard) -> guard.Guard:
    """It runs, whatever an earlier test did to it."""
    assert shared.process is not None
    if shared.process.poll() is not None:
        shared.start()
    return shared


class Hammer:
    """A running agent, read line by line."""

    def __init__(self, guarded: guard.Guard, workload: str, server: Server) -> None:
        environment = {**server.environment(), "PGAPPNAME": f"hammer-{workload}"}
        self.process = guarded.begin(workload, [sys.executable, HAMMER], environment)
        self.began = "0"
        """Monotonic seconds at which the last visit began that was read."""

    def line(self) -> tuple[float, str]:
        """The next visit: milliseconds and outcome."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read() if self.process.stderr else ""
        self.began, took_ms, outcome = line.strip().split(" ", 2)
        return float(took_ms), outcome

    def from_now_on(self) -> None:
        """Pass over the visits that began before now."""
        now = time.monotonic()
        while float(self.began) < now:
            self.line()

    def until(self, outcome: str, limit: int = 20_000) -> None:
        """Read on until a visit ended so."""
        assert any(self.line()[1] == outcome for _ in range(limit)), f"never {outcome}"

    def next(self, count: int) -> list[tuple[float, str]]:
        return [self.line() for _ in range(count)]

    def end(self) -> None:
        """No more visits."""
        self.process.kill()
        self.process.communicate()


def visits(server: Server) -> int:
    """How many connections of agents the server itself has seen so far; guarded or not, it logs each."""
    return sum("connection authorized" in line and "hammer" in line for line in server.log().splitlines())


def sessions_end(server: Server) -> None:
    """Return once no agent's session is left in the server."""
    with server.connect() as connection:
        for _ in range(1000):
            row = connection.execute(
                "SELECT count(*), pg_sleep(0.01) FROM pg_stat_activity WHERE application_name ~ 'hammer'"
            ).fetchone()
            if row is not None and row[0] == 0:
                return
    raise AssertionError("agents' sessions outlived the daemon")


def test_a_killed_daemon_lets_nobody_through(guarded: guard.Guard, postgres18: Server) -> None:
    hammers = [Hammer(guarded, workload, postgres18) for workload in ("one", "two", "two")]
    for hammer in hammers:
        hammer.until("ok")
        hammer.next(5)
    guarded.kill()
    for hammer in hammers:
        hammer.until("refused")
    sessions_end(postgres18)
    seen = visits(postgres18)
    assert seen >= 15
    for hammer in hammers:
        later = hammer.next(50)
        assert {outcome for _, outcome in later} == {"refused"}
        assert max(took_ms for took_ms, _ in later) < AT_ONCE_MS
    assert visits(postgres18) == seen, "an agent reached the server without the daemon"
    guarded.start()
    for hammer in hammers:
        hammer.until("ok")
        assert {outcome for _, outcome in hammer.next(5)} == {"ok"}
        hammer.end()
    assert guarded.ask("status")["operations"]["allowed"] >= 15


def test_a_hung_daemon_lets_nobody_through(guarded: guard.Guard, postgres18: Server) -> None:
    hammer = Hammer(guarded, "one", postgres18)
    hammer.until("ok")
    assert guarded.process is not None
    guarded.process.send_signal(signal.SIGSTOP)
    try:
        hammer.until("refused")
        seen = visits(postgres18)
        assert {outcome for _, outcome in hammer.next(20)} == {"refused"}
        assert visits(postgres18) == seen
    finally:
        guarded.process.send_signal(signal.SIGCONT)
    hammer.until("ok")
    hammer.end()


def test_an_open_transaction_ends_with_the_daemon(guarded: guard.Guard, postgres18: Server) -> None:
    """A connection that was open when the daemon died ends; the server rolls its transaction back."""
    code = """
import psycopg, sys
connection = psycopg.connect("")
connection.execute("INSERT INTO kept VALUES (1)")
print("inserted", flush=True)
sys.stdin.readline()
try:
    connection.commit()
    print("committed")
except psycopg.OperationalError:
    print("lost")
"""
    with postgres18.database("killed", "CREATE TABLE kept (n int)") as database:
        agent = guarded.begin("one", [sys.executable, "-c", code], postgres18.environment(database))
        assert agent.stdout is not None
        assert agent.stdout.readline() == "inserted\n"
        guarded.kill()
        out, _ = agent.communicate("go on\n", timeout=30)
        assert out == "lost\n"
        with postgres18.connect(database) as connection:
            assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)


def test_a_stopped_daemon_refuses_and_leaves_the_hooks(guarded: guard.Guard, postgres18: Server) -> None:
    """An orderly end is no way around either: the hooks stay until `hostguard uninstall` takes them off."""
    assert guarded.stop() == 0
    status = guarded.cli("status")
    assert status.returncode == 1
    hammer = Hammer(guarded, "one", postgres18)
    seen = visits(postgres18)
    assert {outcome for _, outcome in hammer.next(5)} == {"refused"}
    assert visits(postgres18) == seen
    hammer.end()
    assert guarded.cli("uninstall").returncode == 0
    assert not guarded.pins.exists()
    assert [path for path in guarded.cgroup.iterdir() if path.is_dir()] == []


def test_exec_runs_nothing_where_nothing_is_guarded(guarded: guard.Guard, tmp_path: Path) -> None:
    assert guarded.stop() == 0
    assert guarded.cli("uninstall").returncode == 0
    proof = tmp_path / "ran"
    result: subprocess.CompletedProcess[str] = guarded.run("one", ["touch", proof], {})
    assert result.returncode == 1
    assert "guard" in result.stderr
    assert not proof.exists()
