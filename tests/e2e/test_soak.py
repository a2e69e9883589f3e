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
from e2e.test_kill import POLICY, Hammer, sessions_end, visits
from servers import Server

BUDGET_S = float(os.environ.get("HOSTGUARD_SOAK_S", "60"))
"""Seconds for each of the tests here."""
GROWTH_KIB = 16 * 1024
"""What the daemon may grow by while it serves thousands of short flows; a leak of one flow's buffers shows within minutes."""


def resident_kib(guarded: guard.Guard) -> int:
    """What the daemon's processes hold now, added up."""
    lines = [line for pid in guarded.processes() for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


@pytest.mark.soak
def test_nobody_slips_through_in_many_deaths(postgres18: Server) -> None:
    agents = {name: guard.Agent(("worker",)) for name in ("one", "two")}
    setup = guard.Setup(agents=agents, resources={"pg": f"{postgres18.host}:{postgres18.port}"}, policies=POLICY)
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


def serving(guarded: guard.Guard) -> list[int]:
    """The workers, once one serves."""
    while not (found := guarded.workers()):
        continue
    return found


def die_again(guarded: guard.Guard, hammers: list[Hammer], chance: random.Random, rounds: int, until: float) -> list[str]:
    """Workers and supervisor are killed or hung at random moments while agents work; each time all goes on by itself."""
    deaths: list[str] = []
    while len(deaths) < rounds and time.monotonic() < until:
        for hammer in hammers:
            hammer.until("ok")
            hammer.next(chance.randrange(1, 10))
        death = chance.choices(("worker killed", "worker stopped", "supervisor killed", "supervisor stopped"), (12, 1, 3, 2))[0]
        deaths.append(death)
        process = guarded.process
        assert process is not None
        match death:
            case "worker killed":
                os.kill(chance.choice(serving(guarded)), signal.SIGKILL)
            case "worker stopped":
                os.kill(chance.choice(serving(guarded)), signal.SIGSTOP)
            case "supervisor killed":
                guarded.kill()
                guarded.start()
            case "supervisor stopped":
                process.send_signal(signal.SIGSTOP)
                for hammer in hammers:
                    hammer.until("refused")
                process.send_signal(signal.SIGCONT)
    for hammer in hammers:
        hammer.until("ok")
    return deaths


def opened(guarded: guard.Guard) -> int:
    """Flows that are on record."""
    return len(guarded.ask("recordings", "list", "--limit", "1000000"))


def in_many_deaths(server: Server, rounds: int, budget_s: float, seed: int) -> list[str]:
    """Play it; whatever died when, the server has seen no visit that is not on record."""
    agents = {name: guard.Agent(("worker",)) for name in ("one", "two")}
    resources = {"pg": f"{server.host}:{server.port}"}
    setup = guard.Setup(agents=agents, resources=resources, policies=POLICY, workers=2)
    with guard.guarding(setup) as guarded:
        before = visits(server)
        hammers = [Hammer(guarded, workload, server) for workload in ("one", "two", "one", "two")]
        deaths = die_again(guarded, hammers, random.Random(seed), rounds, time.monotonic() + budget_s)
        for hammer in hammers:
            hammer.process.kill()
            hammer.process.communicate()
        assert guarded.stop() == 0
        assert 0 < visits(server) - before <= opened(guarded), deaths
        assert guarded.cli("log", "verify").returncode == 0
    return deaths


def test_a_few_deaths_of_workers_and_supervisor(postgres18: Server) -> None:
    assert len(in_many_deaths(postgres18, rounds=4, budget_s=60, seed=3)) == 4


@pytest.mark.soak
def test_a_hundred_deaths_of_workers_and_supervisor(postgres18: Server) -> None:
    deaths = in_many_deaths(postgres18, rounds=100, budget_s=BUDGET_S, seed=4)
    print(f"{len(deaths)} deaths: {collections.Counter(deaths)}")


@pytest.mark.soak
def test_the_daemon_does_not_grow(postgres18: Server) -> None:
    agents = {"one": guard.Agent(("worker",))}
    setup = guard.Setup(agents=agents, resources={"pg": f"{postgres18.host}:{postgres18.port}"}, policies=POLICY)
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
