"""Several workers carry the flows; the end of one is the end of its flows, and of nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import caged
import guard
import pytest
from e2e.talk import Talk, guarded
from servers import Server

WORKERS = 2
POLICY = """
@id("reads")
permit (principal in Role::"worker", action in Action::"read", resource);
@id("sleeps")
permit (principal in Role::"worker", action, resource == Function::"pg/postgres/pg_catalog/pg_sleep");
@id("makes tables")
permit (principal in Role::"worker", action, resource) when { resource is Schema || resource is Database };
@id("deletes with an approval")
permit (principal in Role::"worker", action == Action::"delete", resource)
when { context has approval && context.approval.count >= 1 };
@id("users approve")
permit (principal in Group::"dba", action == Action::"approve", resource);
"""
SCRIPT = "CREATE TABLE t (n int); INSERT INTO t VALUES (1), (2)"


@pytest.fixture
def running(postgres18: Server) -> Iterator[guard.Guard]:
    """A guard of the test's own, whose workers it may kill."""
    setup = guard.Setup(
        agents={"one": guard.Agent(("worker",))},
        resources={"pg": f"{postgres18.host}:{postgres18.port}"},
        policies=POLICY,
        workers=WORKERS,
    )
    with guard.guarding(setup) as started:
        yield started


class Deck:
    """Sessions of an agent, by the worker that carries them."""

    def __init__(self, running: guard.Guard, server: Server, database: str, stack: ExitStack) -> None:
        self.talks: dict[int, list[tuple[int, Talk]]] = {}
        """Worker to its flows, each with its session."""
        seen: set[int] = set()
        for _ in range(2 * WORKERS):
            talk = stack.enter_context(guarded(running, "one", server, database))
            assert talk("SELECT 1") == ["1"]
            (new,) = [flow for flow in running.ask("status")["flows"]["shown"] if flow["id"] not in seen]
            seen.add(new["id"])
            self.talks.setdefault(new["worker"], []).append((new["id"], talk))


@pytest.fixture
def deck(running: guard.Guard, postgres18: Server) -> Iterator[Deck]:
    """Two sessions on each worker."""
    with postgres18.database("workers", SCRIPT) as database, ExitStack() as stack:
        yield Deck(running, postgres18, database, stack)


def until(running: guard.Guard, done: Callable[[dict[str, Any]], bool], limit_s: float = 20) -> dict[str, Any]:
    """Ask for the status until it is so."""
    deadline = time.monotonic() + limit_s
    while True:
        status: dict[str, Any] = running.status()
        if done(status):
            return status
        assert time.monotonic() < deadline, status
        time.sleep(0.05)


def _all_serve(running: guard.Guard) -> bool:
    return len(running.workers()) == WORKERS


def test_flows_are_spread_over_the_workers(running: guard.Guard, deck: Deck) -> None:
    assert sorted(deck.talks) == sorted(running.workers())
    assert [len(talks) for talks in deck.talks.values()] == [2] * WORKERS
    for talks in deck.talks.values():
        for _, talk in talks:
            assert talk("SELECT count(*) FROM t") == ["2"]
    status = running.ask("status")
    assert min(worker["operations"] for worker in status["workers"]["running"]) >= 4
    assert status["operations"]["allowed"] == sum(worker["operations"] for worker in status["workers"]["running"])


def test_a_worker_can_do_no_more_than_carry_bytes(running: guard.Guard) -> None:
    for pid in running.workers():
        facts = caged.facts_of(pid)
        assert {facts[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
        assert (facts["NoNewPrivs"], facts["Seccomp"], facts["Groups"], facts["Threads"]) == ("1", "2", "", "1")
        assert "0" not in facts["Uid"].split()
        opened = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()]
        files = [name for name in opened if name.startswith("/") and not name.startswith(("/dev/null", "/memfd:"))]
        assert [Path(name).parent.name for name in files] == ["journals"], opened
        assert not any("bpf" in name or "io_uring" in name for name in opened)
    shown = running.cli("status").stdout
    assert "caged: uid 65534, no capabilities, seccomp" in shown


def test_a_killed_worker_takes_its_flows_and_nothing_else(running: guard.Guard, deck: Deck, postgres18: Server) -> None:
    victim, survivor = sorted(deck.talks)
    os.kill(victim, signal.SIGKILL)
    status = until(running, lambda status: status["workers"]["ended"] == 1 and _all_serve(running))
    assert [flow["id"] for flow in status["flows"]["shown"]] == [flow for flow, _ in deck.talks[survivor]]
    for _, talk in deck.talks[survivor]:
        assert talk("SELECT count(*) FROM t") == ["2"]
    for _, talk in deck.talks[victim]:
        assert "server closed the connection" in " ".join(talk("SELECT 1"))
    until(running, lambda status: status["log"]["synced"] == status["log"]["entries"])
    for flow, _ in deck.talks[victim]:
        assert "killed by SIGKILL" in running.cli("recordings", "show", str(flow)).stdout
    with guarded(running, "one", postgres18, "postgres") as talk:
        assert talk("SELECT 1") == ["1"]
    assert running.is_guarding(), "one death is no problem that lasts"
    assert "killed by SIGKILL" in "".join(running.lines)


def test_what_a_killed_worker_held_is_withdrawn(running: guard.Guard, deck: Deck) -> None:
    victim, survivor = sorted(deck.talks)
    held = {}
    for worker in (victim, survivor):
        (_, talk) = deck.talks[worker][0]
        held[worker] = talk.begin("DELETE FROM t WHERE n = 1")
        count = len(held)
        until(running, lambda status, count=count: status["requests"]["pending"] == count)  # type: ignore[misc]
    by_flow = {flow["id"]: flow["holding"] for flow in running.ask("status")["flows"]["shown"] if flow["holding"]}
    os.kill(victim, signal.SIGKILL)
    until(running, lambda status: status["requests"]["pending"] == 1)
    lost, kept = by_flow[deck.talks[victim][0][0]], by_flow[deck.talks[survivor][0][0]]
    assert [request["id"] for request in running.ask("requests", "list")] == [kept]
    assert "withdrawn" in running.cli("requests", "approve", lost).stderr
    assert running.cli("requests", "approve", kept).returncode == 0
    assert held[survivor]() == ["DELETE 1"]


def test_a_cancel_finds_the_flow_of_another_worker(running: guard.Guard, postgres18: Server) -> None:
    code = """
import psycopg, threading, time
with psycopg.connect("", autocommit=True) as connection:
    threading.Timer(0.5, connection.cancel).start()
    try:
        connection.execute("SELECT pg_sleep(20)")
    except psycopg.errors.QueryCanceled as error:
        print("canceled")
"""
    for _ in range(2):
        result = running.run("one", [sys.executable, "-c", code], postgres18.environment())
        assert result.stdout == "canceled\n", result.stderr


def test_workers_that_keep_dying_turn_the_daemon_red(running: guard.Guard, postgres18: Server) -> None:
    for round_ in range(1, 4):
        os.kill(running.workers()[0], signal.SIGKILL)
        until(running, lambda status, round_=round_: status["workers"]["ended"] == round_ and _all_serve(running))  # type: ignore[misc]
    status = running.status()
    assert status["state"] == "degraded"
    assert any("3 workers ended within a minute" in problem for problem in status["problems"])
    with guarded(running, "one", postgres18, "postgres") as talk:
        assert talk("SELECT 1") == ["1"]


def test_no_worker_outlives_its_supervisor(running: guard.Guard) -> None:
    workers = running.workers()
    stopped = workers[0]
    os.kill(stopped, signal.SIGSTOP)
    running.kill()
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline, subprocess.run(["ps", "ax"], capture_output=True, text=True, check=False).stdout
    running.start()


@pytest.mark.soak
def test_a_worker_that_hangs_is_replaced(running: guard.Guard, deck: Deck) -> None:
    victim, survivor = sorted(deck.talks)
    os.kill(victim, signal.SIGSTOP)
    until(running, lambda status: status["workers"]["ended"] == 1 and _all_serve(running), limit_s=60)
    assert "did not answer any more" in "".join(running.lines)
    for _, talk in deck.talks[survivor]:
        assert talk("SELECT 1") == ["1"]
