"""Ways to die of a guard's processes, at random moments while agents work; each time the rest goes on by itself.

What the server saw is the judge: it logs every visit, guarded or not, and none may have come by while nobody guarded or without
being on record.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import guard
from e2e.shortage import Memory, disk, full, memory
from e2e.test_kill import POLICY, Hammer, visits
from servers import Server

WORKERS = 2
DISK_MB = 256
"""Room for the log of thousands of visits, a journal of 32 MiB for each worker and for those that follow while it is drained."""
BARRED = 10
"""Visits of each agent that have to come to nothing."""
FULL_LIMIT_S = 100


@dataclass(frozen=True, slots=True)
class Scene:
    """A guard, agents that visit the server through it, and what it can be made to run out of."""

    guarded: guard.Guard
    server: Server
    memory: Memory
    hammers: list[Hammer]
    chance: random.Random

    def worker(self) -> int:
        """One of the workers, once one serves."""
        while not (found := self.guarded.workers()):
            time.sleep(0.05)
        return self.chance.choice(found)

    def all_work(self) -> None:
        """Return once every agent gets through."""
        for hammer in self.hammers:
            hammer.from_now_on()
            hammer.until("ok")

    def refused(self) -> bool:
        """Whether no agent gets through from now on, for a while; if so, the server must not have seen one."""
        for hammer in self.hammers:
            hammer.from_now_on()
        seen = visits(self.server)
        through = any(outcome == "ok" for hammer in self.hammers for _, outcome in hammer.next(BARRED))
        assert through or visits(self.server) == seen
        return not through

    def refused_for_want_of_room(self, fill: Callable[[], None]) -> None:
        """Return once no agent gets through; until then the log's last page and what journals give back is filled up."""
        deadline = time.monotonic() + FULL_LIMIT_S
        while True:
            fill()
            if self.refused():
                return
            assert time.monotonic() < deadline, "a full disk stops nobody"


def _worker_killed(scene: Scene) -> None:
    os.kill(scene.worker(), signal.SIGKILL)


def _worker_stopped(scene: Scene) -> None:
    os.kill(scene.worker(), signal.SIGSTOP)


def _worker_out_of_memory(scene: Scene) -> None:
    victim = scene.worker()
    scene.memory.run_out(victim)
    deadline = time.monotonic() + guard.STOP_LIMIT_S
    while Path(f"/proc/{victim}").exists():
        assert time.monotonic() < deadline, "the kernel killed another"


def _supervisor_killed(scene: Scene) -> None:
    scene.guarded.kill()
    scene.guarded.start()


def _supervisor_stopped(scene: Scene) -> None:
    process = scene.guarded.process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    for hammer in scene.hammers:
        hammer.until("refused")
    process.send_signal(signal.SIGCONT)


def _supervisor_out_of_memory(scene: Scene) -> None:
    process = scene.guarded.process
    assert process is not None
    scene.memory.run_out(process.pid)
    assert process.wait(guard.STOP_LIMIT_S) == -signal.SIGKILL
    scene.guarded.start()


def _disk_full(scene: Scene) -> None:
    with full(scene.guarded.folder / "state") as fill:
        scene.refused_for_want_of_room(fill)


def _disk_full_worker_killed(scene: Scene) -> None:
    with full(scene.guarded.folder / "state") as fill:
        os.kill(scene.worker(), signal.SIGKILL)
        scene.refused_for_want_of_room(fill)


def _disk_full_supervisor_killed(scene: Scene) -> None:
    with full(scene.guarded.folder / "state") as fill:
        scene.refused_for_want_of_room(fill)
        scene.guarded.kill()
        assert scene.refused()
    scene.guarded.start()


DEATHS: dict[str, tuple[int, Callable[[Scene], None]]] = {
    "worker killed": (6, _worker_killed),
    "worker stopped": (1, _worker_stopped),
    "worker out of memory": (6, _worker_out_of_memory),
    "supervisor killed": (3, _supervisor_killed),
    "supervisor stopped": (2, _supervisor_stopped),
    "supervisor out of memory": (3, _supervisor_out_of_memory),
    "disk full": (3, _disk_full),
    "disk full, worker killed": (3, _disk_full_worker_killed),
    "disk full, supervisor killed": (2, _disk_full_supervisor_killed),
}
"""How often, by weight, and how."""


def at_random(count: int, seed: int) -> list[str]:
    """So many deaths, chosen by their weights."""
    return random.Random(seed).choices(list(DEATHS), [weight for weight, _ in DEATHS.values()], k=count)


def die_again(scene: Scene, plan: Sequence[str], until: float) -> list[str]:
    """One death after the other, as far as there is time until then (monotonic seconds); returns which there were."""
    died: list[str] = []
    for death in plan:
        if time.monotonic() > until:
            break
        began = time.monotonic()
        scene.all_work()
        print(f"all work again after {time.monotonic() - began:.1f} s", flush=True)
        for hammer in scene.hammers:
            hammer.next(scene.chance.randrange(1, 10))
        died.append(death)
        began = time.monotonic()
        DEATHS[death][1](scene)
        print(f"{death}: {time.monotonic() - began:.1f} s", flush=True)
    scene.all_work()
    return died


def die(server: Server, plan: Sequence[str], budget_s: float = float("inf"), seed: int = 1) -> list[str]:
    """Play it for so long; whatever died when, the server has seen no visit that is not on record. Returns what died."""
    agents = {name: guard.Agent(("worker",)) for name in ("one", "two")}
    resources = {"pg": f"{server.host}:{server.port}"}
    setup = guard.Setup(agents=agents, resources=resources, policies=POLICY, workers=WORKERS)
    with memory() as limited, guard.prepared(setup, limited.prefix) as guarded, disk(guarded.folder / "state", DISK_MB):
        try:
            guarded.start()
            before = visits(server)
            hammers = [Hammer(guarded, workload, server) for workload in ("one", "two", "one", "two")]
            died = die_again(Scene(guarded, server, limited, hammers, random.Random(seed)), plan, time.monotonic() + budget_s)
            for hammer in hammers:
                hammer.end()
            assert guarded.stop() == 0
            assert 0 < visits(server) - before <= opened(guarded), died
            assert guarded.cli("log", "verify").returncode == 0
        finally:
            guarded.end()
            limited.emptied()
    return died


def opened(guarded: guard.Guard) -> int:
    """Flows that are on record."""
    return len(guarded.ask("recordings", "list", "--limit", "1000000"))
