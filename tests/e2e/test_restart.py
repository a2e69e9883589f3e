"""The daemon is restarted under agents that work: flows go on, nobody is refused, nothing is on record twice or not at all."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import guard
import pytest
import servers
from certificates import Authority
from e2e.talk import guarded
from identities import wait_for
from servers import Server
from zombies import unnoticed

from hostguard.agent.client import DaemonDown
from hostguard.recorder import entry
from hostguard.recorder.reader import Reader

AGENTS = Path(__file__).parent / "agents"
RESTARTS = 2
LONGEST_WAIT_S = 30.0
"""Far from what it takes (a second on a quiet machine); a connection that is lost would wait for ever."""
POLICY = """
@id("works")
permit (principal in Role::"worker", action, resource) unless { action == Action::"delete" };
@id("calls")
permit (principal in Role::"worker", action, resource == Function::"pg/postgres/pg_catalog/pg_backend_pid");
@id("calls by TLS")
permit (principal in Role::"worker", action, resource == Function::"secured/postgres/pg_catalog/pg_backend_pid");
@id("sleeps")
permit (principal in Role::"worker", action, resource == Function::"pg/postgres/pg_catalog/pg_sleep");
@id("deletes with an approval")
permit (principal in Role::"worker", action == Action::"delete", resource)
when { context has approval && context.approval.count >= 1 };
@id("users approve")
permit (principal in Group::"dba", action == Action::"approve", resource);
"""
SCRIPT = "CREATE TABLE t (n int); INSERT INTO t VALUES (1), (2); CREATE TABLE copied (n int)"
SECURED = """
[resources.secured]
protocol = "postgres"
addresses = ["{server.host}:{server.port}"]
client_tls = "require"
server_tls = "verify-full"
server_roots = "{server.roots}"

[channels.script]
command = ["/bin/sh", "-c", "until [ -e {server.roots}.go ]; do sleep 0.1; done; cat >> {server.roots}.heard"]
run_as = "root"
timeout_s = 300
"""


def setup_for(server: Server, tables: str = "") -> guard.Setup:
    agents, resources = {"one": guard.Agent(("worker",))}, {"pg": f"{server.host}:{server.port}"}
    return guard.Setup(agents=agents, resources=resources, policies=POLICY, workers=1, tables=tables)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """PostgreSQL 18 with TLS that its clients verify."""
    authority = Authority()
    roots = tmp_path_factory.mktemp("roots") / "roots.pem"
    roots.write_text(authority.pem)
    with servers.server(18, certificate=authority.issue("127.0.0.1")) as started:
        yield dataclasses.replace(started, roots=roots)


@pytest.fixture(scope="module")
def running(postgres18: Server, secured: Server) -> Iterator[guard.Guard]:
    """A guard that the tests restart one after the other; each leaves it serving."""
    with guard.guarding(setup_for(postgres18, SECURED.format(server=secured))) as started:
        yield started


@pytest.fixture
def database(postgres18: Server) -> Iterator[str]:
    with postgres18.database("restarted", SCRIPT) as name:
        yield name


def restart(running: guard.Guard) -> Any:
    """What ``hostguard restart`` says of itself."""
    return running.ask("restart")


def entries(running: guard.Guard) -> list[entry.Entry]:
    return [one for _, one in Reader(running.folder / "state" / "log").entries() if isinstance(one, entry.Entry)]


def check_record(running: guard.Guard) -> list[entry.Entry]:
    """The log, which must be whole: what was allowed is there once, in its flow's order."""
    verified = running.cli("log", "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    found = entries(running)
    by_flow: dict[int, list[int]] = {}
    for one in found:
        if one.flow and one.seq:
            by_flow.setdefault(one.flow, []).append(one.seq)
    assert by_flow
    for flow, numbers in by_flow.items():
        assert numbers == list(range(1, len(numbers) + 1)), f"flow {flow}: {numbers}"
    return found


def retired(running: guard.Guard, workers: list[int]) -> None:
    """Wait until these workers of an earlier daemon have ended, since they have no flow any more, and others serve."""
    deadline = time.monotonic() + 60
    while not running.workers() or set(workers) & set(running.workers()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def texts(found: list[entry.Entry]) -> list[str]:
    return [str(one.text) for one in found if isinstance(one, entry.Operation)]


def test_flows_go_on_and_nobody_is_refused(
    running: guard.Guard, postgres18: Server, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found, visits = flows_go_on(running, postgres18, database, RESTARTS, capsys)
    assert texts(found).count("SELECT 1") == visits


def test_flows_in_tls_go_on_and_nobody_is_refused(
    running: guard.Guard, secured: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sessions of TLS are their worker's, on both sides; new ones meanwhile wait for the new daemon's certificate."""
    with secured.database("restarted", SCRIPT) as database:
        found, visits = flows_go_on(running, secured, database, 2, capsys)
    sides = [one.side for one in found if isinstance(one, entry.Encrypted)]
    assert sides.count("client") == sides.count("server") == visits + 2, "the visits, the talk, the copy"


def flows_go_on(
    running: guard.Guard, server: Server, database: str, restarts: int, capsys: pytest.CaptureFixture[str]
) -> tuple[list[entry.Entry], int]:
    """Restart under a transaction, a COPY and new connections; what is on record of it, and how many connections there were."""
    assert running.process is not None
    pid, first, before = running.process.pid, running.workers(), len(entries(running))
    environment = server.environment(database)
    arrivals = running.begin("one", [sys.executable, AGENTS / "arrivals.py"], environment)
    copier = running.begin("one", [sys.executable, AGENTS / "copier.py"], environment)
    assert copier.stdout is not None
    assert copier.stderr is not None
    assert copier.stdout.readline() == "copying\n", copier.stderr.read()
    took = []
    with guarded(running, "one", server, database) as talk:
        assert talk("BEGIN") == ["BEGIN"]
        (backend,) = talk("SELECT pg_backend_pid()")
        for number in range(restarts):
            told = restart(running)
            assert (told["pid"], told["flows_end"], told["refused"]) == (pid, False, "")
            took.append(told["took_s"])
            assert talk(f"INSERT INTO t VALUES ({number + 10})") == ["INSERT 0 1"]
            assert talk("SELECT pg_backend_pid()") == [backend]
        assert talk("COMMIT") == ["COMMIT"]
        assert talk("SELECT count(*) FROM t") == [str(2 + restarts)]
        copied = copier.communicate("over\n", timeout=60)[0].strip()
        assert talk("SELECT count(*) FROM copied") == [copied]
    visits = [line.partition(" ") for line in arrivals.communicate(timeout=60)[0].splitlines()]
    assert {outcome for _, _, outcome in visits} == {"ok", "over"}
    longest_s = max(int(milliseconds) for milliseconds, _, _ in visits) / 1000
    with capsys.disabled():
        print(f"\n{restarts} restarts of {took} s under {len(visits) - 1} connections: 0 refused, the longest took {longest_s} s")
    assert longest_s < LONGEST_WAIT_S
    retired(running, first)
    assert unnoticed(pid) == []
    found = check_record(running)[before:]
    asked = texts(found)
    for number in range(restarts):
        assert asked.count(f"INSERT INTO t VALUES ({number + 10})") == 1
    starts = [dict(one.details) for one in found if isinstance(one, entry.DaemonStart)]  # type: ignore[arg-type]
    assert ["flows taken over" in start for start in starts] == [True] * restarts
    assert not [one for one in found if isinstance(one, entry.FlowClose) and one.fault]
    return found, len(visits) - 1


def test_what_is_held_is_approved_and_told_after_the_restart(
    running: guard.Guard, postgres18: Server, secured: Server, database: str
) -> None:
    before = len(entries(running))
    with guarded(running, "one", postgres18, database) as talk:
        answer = talk.begin("DELETE FROM t WHERE n = 1")
        (request,) = pending(running, 1)
        restart(running)
        (after,) = pending(running, 1)
        # Rows are counted beside it, and told when known, before the restart or after it; else it is the same, with its deadline.
        assert {**after, "rows": None, "touches": ""} == {**request, "rows": None, "touches": ""}
        assert running.cli("requests", "approve", request["id"]).returncode == 0
        assert answer() == ["DELETE 1"]
        assert talk("SELECT count(*) FROM t") == ["1"]
    found = check_record(running)[before:]
    approvals = [one.verdict for one in found if isinstance(one, entry.Approval)]
    assert approvals == ["approved"]
    heard, said = Path(f"{secured.roots}.heard"), ["request.filed", "request.approved"]
    heard.touch()
    Path(f"{secured.roots}.go").touch()
    wait_for(lambda: re.findall(r"request\.\w+", heard.read_text()) == said)


def pending(running: guard.Guard, count: int) -> list[dict[str, Any]]:
    """The requests that wait, once there are so many."""
    deadline = time.monotonic() + 20
    while True:
        found: list[dict[str, Any]] = running.ask("requests", "list")
        if len(found) == count:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


CANCELLED = """
import psycopg, sys, threading
with psycopg.connect("", autocommit=True) as connection:
    print("ready", flush=True)
    sys.stdin.readline()
    timer = threading.Timer(1, connection.cancel)
    timer.start()
    try:
        connection.execute("SELECT pg_sleep(60)")
    except psycopg.errors.QueryCanceled:
        print("cancelled", flush=True)
"""


def test_a_cancel_works_after_the_restart(running: guard.Guard, postgres18: Server, database: str) -> None:
    agent = running.begin("one", [sys.executable, "-c", CANCELLED], postgres18.environment(database))
    assert agent.stdout is not None
    assert agent.stdout.readline() == "ready\n"
    restart(running)
    output, errors = agent.communicate("go\n", timeout=60)
    assert output == "cancelled\n", errors


def test_a_restart_that_can_not_be_done_changes_nothing(running: guard.Guard, postgres18: Server, database: str) -> None:
    before = running.status()
    good = running.config.read_text()
    broken = {
        "rols": good.replace("roles = ", "rols = "),
        "workloads": good.replace("[workloads.one]", "[workloads.other]"),
        "state_dir": good.replace("/state", "/elsewhere"),
        "resources.pg": good.replace(f":{postgres18.port}", ":1"),
    }
    with guarded(running, "one", postgres18, database) as talk:
        assert talk("SELECT 1") == ["1"]
        for word, text in broken.items():
            running.config.write_text(text)
            answer = running.cli("restart")
            assert answer.returncode == 1
            assert "nothing was changed" in answer.stderr
            assert word in answer.stderr, answer.stderr
            running.config.write_text(good)
            assert running.status()["started_at"] == before["started_at"]
        assert talk("SELECT 1") == ["1"]
    assert running.is_guarding()


def started_at(running: guard.Guard) -> float | None:
    """None while nobody answers: one daemon no longer, the next not yet."""
    try:
        began: float = running.status()["started_at"]
    except DaemonDown:
        return None
    return began


def test_a_signal_restarts_as_well(running: guard.Guard, postgres18: Server, database: str) -> None:
    assert running.process is not None
    before = running.status()["started_at"]
    with guarded(running, "one", postgres18, database) as talk:
        assert talk("SELECT 1") == ["1"]
        running.process.send_signal(signal.SIGUSR2)
        deadline = time.monotonic() + 60
        while started_at(running) in (None, before):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert talk("SELECT 1") == ["1"]


@contextmanager
def spoilt(postgres18: Server, spoiling: str) -> Iterator[guard.Guard]:
    """A guard whose first daemon runs with one of its functions replaced (`SPOILT`); one that is started later does not."""
    with guard.prepared(setup_for(postgres18)) as prepared:
        (prepared.folder / "spoilt").mkdir()
        (prepared.folder / "spoilt" / "sitecustomize.py").write_text(SPOILT)
        os.environ.update(PYTHONPATH=str(prepared.folder / "spoilt"), HOSTGUARD_TEST_SPOILT=spoiling)
        try:
            prepared.start()
        finally:
            del os.environ["PYTHONPATH"], os.environ["HOSTGUARD_TEST_SPOILT"]
        yield prepared


@pytest.mark.parametrize(
    "step",
    [
        pytest.param("killed before the execve", marks=pytest.mark.soak),
        pytest.param("killed before it is taken up", marks=pytest.mark.soak),
        "killed when half is taken up",
        pytest.param("killed before it serves", marks=pytest.mark.soak),
    ],
)
def test_killed_on_the_way_it_ends_closed(postgres18: Server, database: str, step: str) -> None:
    with spoilt(postgres18, step) as running:
        assert running.process is not None
        with guarded(running, "one", postgres18, database) as talk:
            assert talk("INSERT INTO t VALUES (77)") == ["INSERT 0 1"]
            answer = running.cli("restart")
            assert answer.returncode == 1
            assert running.process.wait(60) == -signal.SIGKILL
            assert "server closed the connection" in " ".join(talk("SELECT 1"))
            late = running.run(
                "one", [sys.executable, "-c", "import psycopg; psycopg.connect('')"], postgres18.environment(database)
            )
            assert "Connection refused" in late.stderr
        running.start()
        with guarded(running, "one", postgres18, database) as talk:
            assert talk("SELECT count(*) FROM t") == ["3"]
        assert texts(check_record(running)).count("INSERT INTO t VALUES (77)") == 1


@pytest.mark.soak
def test_what_can_not_be_taken_over_ends_on_record(postgres18: Server, database: str) -> None:
    with spoilt(postgres18, "of another version") as running, guarded(running, "one", postgres18, database) as talk:
        assert talk("INSERT INTO t VALUES (77)") == ["INSERT 0 1"]
        answer = running.cli("restart")
        assert answer.returncode == 1
        assert "could not take over" in answer.stderr
        assert "left version 1 of its state, this one knows 0" in "".join(running.lines)
        assert "server closed the connection" in " ".join(talk("SELECT 1"))
        assert running.is_guarding(), "it started as after a crash"
        found = check_record(running)
        assert texts(found).count("INSERT INTO t VALUES (77)") == 1
        assert [one.fault for one in found if isinstance(one, entry.JournalEnd)] == ["crash"]


def test_workers_that_speak_otherwise_are_not_taken_over(postgres18: Server, database: str) -> None:
    with spoilt(postgres18, "of another speech") as running, guarded(running, "one", postgres18, database) as talk:
        assert talk("SELECT 1") == ["1"]
        refused = running.cli("restart")
        assert refused.returncode == 1
        assert "1 open flows would end" in refused.stderr
        assert talk("SELECT 1") == ["1"]
        told = running.ask("restart", "--end-flows")
        assert (told["flows"], told["flows_end"]) == (1, True)
        assert "server closed the connection" in " ".join(talk("SELECT 1"))
        with guarded(running, "one", postgres18, database) as other:
            assert other("SELECT 1") == ["1"]
        closes = [one.reason for one in check_record(running) if isinstance(one, entry.FlowClose)]
        assert "hostguard is stopping" in str(closes[0])


SPOILT = """
import os, signal, sys

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

SUCCESSOR = "HOSTGUARD_HANDOVER" in os.environ
# Module, what in it, by what it is replaced, and whether in the daemon that takes over.
CASES = {
    "killed before the execve": ("hostguard.agent.handover", "os.execve", die, False),
    "killed before it is taken up": ("hostguard.agent.handover", "take", die, True),
    "killed when half is taken up": ("hostguard.agent.desk", "Desk.take_up", die, True),
    "killed before it serves": ("hostguard.agent.entrance", "Entrance.listen", die, True),
    "of another version": ("hostguard.agent.handover", "VERSION", 0, True),
    "of another speech": ("hostguard.agent.speech", "speech", lambda: "other words", False),
}
MODULE, WHAT, BY, LATER = CASES[os.environ["HOSTGUARD_TEST_SPOILT"]]

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name != MODULE:
            return None
        sys.meta_path.remove(self)
        import importlib.util
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module
        def exec_module(made):
            load(made)
            owner, _, last = WHAT.rpartition(".")
            setattr(getattr(made, owner) if owner else made, last, BY)
        spec.loader.exec_module = exec_module
        return spec

if SUCCESSOR == LATER:
    sys.meta_path.insert(0, Finder())
"""
