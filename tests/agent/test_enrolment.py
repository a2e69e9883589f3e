"""Cgroups that come while they are looked for: on the real kernel, with connects from their first instant."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from guarded_cgroups import network_namespace, output_of, python_in
from guarded_redirect import Guarded, attach

from hostguard.agent.enrolment import Enrolment
from hostguard.identity.containers import Container, ContainerRef
from hostguard.identity.paths import Pattern
from hostguard.identity.workload import WorkloadRule, Workloads
from hostguard.kernel import cgroups
from hostguard.kernel.layouts import CLEARED, WATCHED


@pytest.fixture
def corner() -> Iterator[Guarded]:
    """A redirect in a fresh network namespace; nothing in it is a workload yet."""
    with ExitStack() as stack:
        guarded = attach(stack, stack.enter_context(network_namespace()))
        guarded.redirect.unguard(cgroups.cgroup_id(guarded.agent))
        yield guarded


def bare(ref: ContainerRef) -> Container:
    return Container(ref.runtime, ref.id)


def enrolment(corner: Guarded, *patterns: str) -> Enrolment:
    """One that looks for these below the attach point."""
    below = corner.root.relative_to(cgroups.mount_point())
    rules = [WorkloadRule(f"w{number}", "a", Pattern(f"{below}/{text}")) for number, text in enumerate(patterns)]
    return Enrolment(corner.redirect, Workloads(rules), corner.root, bare)


def filed(corner: Guarded) -> dict[str, int]:
    """What the kernel's map says of the cgroups below the attach point, by their paths."""
    found = {}
    for identifier, value in corner.redirect.guarded().items():
        path = cgroups.path_of(identifier)
        found[str(path.relative_to(corner.root)) if path else f"gone {identifier}"] = value
    return found


def make(corner: Guarded, *paths: str) -> None:
    for path in paths:
        (corner.root / path).mkdir(parents=True)


def test_what_is_there_is_filed_at_the_start(corner: Guarded) -> None:
    make(corner, "agents/bot-1/inner", "agents/other", "agents/bot-2")
    enrolment(corner, "agents/bot-*").start()
    assert filed(corner) == {
        ".": WATCHED,
        "agent": CLEARED,
        "outside": CLEARED,
        "agents": WATCHED,
        "agents/bot-1": 1,
        "agents/bot-2": 1,
        "agents/other": CLEARED,
    }


def test_what_an_earlier_daemon_filed_is_filed_anew_or_goes(corner: Guarded) -> None:
    make(corner, "agents/bot-1", "agents/old")
    for path, number in (("agents/bot-1", CLEARED), ("agents/old", 9), ("outside", 3)):
        corner.redirect.guard(cgroups.cgroup_id(corner.root / path), number)
    enrolment(corner, "agents/bot-*").start()
    assert filed(corner)["agents/bot-1"] == 1
    assert filed(corner)["agents/old"] == CLEARED
    assert filed(corner)["outside"] == CLEARED


CONNECT = """
for _ in range(int(sys.argv[1])):
    with socket.socket() as sock:
        sock.settimeout(5)
        print(errno.errorcode.get(sock.connect_ex(('10.77.0.1', 5432)), 'reached'), flush=True)
"""


def test_a_new_cgroup_is_refused_until_it_is_filed(corner: Guarded) -> None:
    enrolment(corner, "agents/bot-*").start()
    make(corner, "agents")
    # Nobody follows the reports: the order of events is the worst there is.
    make(corner, "agents/bot-1", "agents/other")
    for name in ("agents/bot-1", "agents/other", "agents"):
        assert corner.run(CONNECT, "1", cgroup=corner.root / name) == "ECONNREFUSED", name


async def follow(enrolment: Enrolment, work: asyncio.Future[object]) -> None:
    """Run the enrolment for as long as the work takes."""
    following = asyncio.ensure_future(enrolment.run())
    await work
    following.cancel()


@pytest.mark.parametrize("pattern", ["bots/bot-*", "bots/*/x/bot-*", "**/bot-*"])
def test_cgroups_that_come_are_filed_as_they_come(corner: Guarded, pattern: str) -> None:
    looked = enrolment(corner, pattern)
    looked.start()
    place = pattern.replace("*/x", "1/x").replace("**", "a/b/c")

    def work() -> None:
        make(corner, place.replace("bot-*", "bot-1"), place.replace("bot-*", "other"))

    async def run() -> None:
        following = asyncio.ensure_future(looked.run())
        await asyncio.to_thread(work)
        async with asyncio.timeout(10):
            while not {place.replace("bot-*", "bot-1"), place.replace("bot-*", "other")} <= filed(corner).keys():
                await asyncio.sleep(0)
        following.cancel()

    asyncio.run(run())
    assert filed(corner)[place.replace("bot-*", "bot-1")] == 1
    assert filed(corner)[place.replace("bot-*", "other")] == (WATCHED if pattern.startswith("**") else CLEARED)
    assert looked.pending == {}
    assert looked.failure == ""


# Each child makes a cgroup, enters it and connects at once, again and again until somebody takes the connection.
BOMB = """
import json
parent, name, first, last = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
for number in range(first, last):
    path = f'{parent}/{name}{number}'
    os.mkdir(path)
    began = time.monotonic()
    enter(path)
    refused = 0
    while time.monotonic() < began + 20:
        with socket.socket() as sock:
            sock.settimeout(5)
            if not sock.connect_ex(('10.77.0.1', 5432)):
                break
            refused += 1
    print(json.dumps([refused, time.monotonic() - began]))
"""
BOMBS = 4
CGROUPS_EACH = 50


def test_no_process_of_a_new_cgroup_reaches_the_server(corner: Guarded) -> None:
    """Storms of cgroups with connects from their first instant: all end at the loop, none at the server."""
    assert corner.netns is not None
    corner.netns.run("ip", "address", "add", "10.77.0.1/32", "dev", "lo")
    make(corner, "bots")
    looked = enrolment(corner, "bots/bot-*")
    looked.start()
    # Accepted by nobody: more than its queue holds must fit.
    corner.sock4.listen(4096)
    with corner.netns.tcp_socket(socket.AF_INET) as server:
        server.bind(("10.77.0.1", 5432))
        server.listen(16)
        server.settimeout(5)
        bombs = [
            python_in(corner.root, BOMB, str(corner.root / "bots"), "bot-", str(n * CGROUPS_EACH), str((n + 1) * CGROUPS_EACH),
                      netns=corner.netns.path)
            for n in range(BOMBS)
        ]  # fmt: skip
        outputs: list[str] = []

        async def run() -> None:
            following = asyncio.ensure_future(looked.run())
            outputs.extend(await asyncio.gather(*(asyncio.to_thread(output_of, bomb, 60) for bomb in bombs)))
            following.cancel()

        asyncio.run(run())
        delays = [json.loads(line) for output in outputs for line in output.splitlines()]
        assert len(delays) == BOMBS * CGROUPS_EACH
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()
        # The same from a cgroup that is nobody's does reach it.
        server.settimeout(5)
        assert corner.run(CONNECT, "1", cgroup=corner.outside) == "reached"
        server.accept()[0].close()
    worst = max(seconds for _, seconds in delays)
    print(f"{len(delays)} cgroups: {sum(n > 0 for n, _ in delays)} refused at first, all taken within {worst * 1000:.0f} ms")
    assert worst < 10
