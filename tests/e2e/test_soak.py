"""Agents work for as long as `make soak` says while the daemon is killed, hung and stopped again and again."""

from __future__ import annotations

import collections
import os
import random
import signal
import time
from pathlib import Path

import guard
import pytest
from e2e.deaths import WORKERS, at_random, die
from e2e.test_kill import POLICY, Hammer, sessions_end, visits
from servers import Server

BUDGET_S = float(os.environ.get("HOSTGUARD_SOAK_S", "60"))
"""Seconds for each of the tests here."""
DEATHS_SEED = 4
GROWTH_KIB = 16 * 1024
"""What the daemon may grow by while it serves thousands of short flows; a leak of one flow's buffers shows within minutes."""


def resident_kib(guarded: guard.Guard) -> int:
    """What the daemon's processes hold now, added up."""
    lines = [line for pid in guarded.processes() for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


@pytest.mark.soak
def test_nobody_slips_through_in_many_deaths(postgres18: Server) -> None:
    agents = {name: guard.Agent(("worker",)) for name in ("one", "two")}
    resources = {"pg": f"{postgres18.host}:{postgres18.port}"}
    setup = guard.Setup(agents=agents, resources=resources, policies=POLICY, workers=WORKERS)
    chance = random.Random(1)
    until = time.monotonic() + BUDGET_S
    with guard.guarding(setup) as guarded:
        hammers = [Hammer(guarded, workload, postgres18) for workload in ("one", "two", "one", "two")]
        while time.monotonic() < until:
            for hammer in hammers:
                hammer.until("ok")
                hammer.next(chance.randrange(5, 50))
            if chance.random() < 0.5:
                guarded.kill()
            else:
                assert guarded.stop() == 0
            for hammer in hammers:
                hammer.until("refused")
            sessions_end(postgres18)
            seen = visits(postgres18)
            for hammer in hammers:
                assert {outcome for _, outcome in hammer.next(20)} == {"refused"}
            assert visits(postgres18) == seen
            guarded.start()


A_FEW = (
    *("worker killed", "supervisor stopped", "supervisor killed"),
    *("worker out of memory", "supervisor out of memory"),
    *("disk full, worker killed", "disk full, supervisor killed"),
)


@pytest.mark.timeout(300)
def test_a_few_deaths_of_workers_and_supervisor(postgres18: Server) -> None:
    """One of a kind, one after the other: each leaves a guard that the next finds whole."""
    assert die(postgres18, A_FEW) == list(A_FEW)


@pytest.mark.soak
def test_a_hundred_deaths_of_workers_and_supervisor(postgres18: Server) -> None:
    died = die(postgres18, at_random(100, seed=DEATHS_SEED), BUDGET_S, seed=DEATHS_SEED)
    print(f"seed {DEATHS_SEED}, {len(died)} deaths: {collections.Counter(died)}")


@pytest.mark.soak
def test_the_daemon_does_not_grow(postgres18: Server) -> None:
    agents = {"one": guard.Agent(("worker",))}
    resources = {"pg": f"{postgres18.host}:{postgres18.port}"}
    setup = guard.Setup(agents=agents, resources=resources, policies=POLICY, workers=WORKERS)
    with guard.guarding(setup) as guarded:
        assert guarded.process is not None
        hammers = [Hammer(guarded, "one", postgres18) for _ in range(4)]
        for hammer in hammers:
            hammer.until("ok")
            hammer.next(200)
        before = resident_kib(guarded)
        until = time.monotonic() + BUDGET_S
        while time.monotonic() < until:
            for hammer in hammers:
                assert {outcome for _, outcome in hammer.next(100)} == {"ok"}
        assert resident_kib(guarded) - before < GROWTH_KIB
        guarded.process.send_signal(signal.SIGTERM)
