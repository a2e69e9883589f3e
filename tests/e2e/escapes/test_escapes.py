"""No way around: every escape, guarded, in a namespace of its own beside a peer that must hear nothing.

Each is run twice: unguarded first, where it must reach the peer (or the test could not fail), then guarded. At the end stands the
table: which road, what the program saw, what caught it.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import arena
import guard
import pytest
from rich.console import Console
from rich.table import Table

from hostguard.kernel import cgroups, pins

POLICY = '@id("all") permit (principal in Role::"worker", action, resource);\n'
PROGRAMS = arena.programs()


class Field:
    """The arena with a guard in it, and the table of what happened."""

    def __init__(self, ring: arena.Arena, guarded: guard.Guard) -> None:
        self._arena = ring
        self.guard = guarded
        self.loop_port = self._loop_port()
        self.stand_in = self._stand_in()
        self.rows: list[tuple[str, str, str]] = []

    def unguarded(self, program: arena.Program) -> arena.Attempt:
        """The control run."""
        return self._arena.attempt(program.name, program.needs, None)

    def guarded(self, program: arena.Program, circumstances: str = "") -> arena.Attempt:
        """The run that must not be heard; a row of the table."""
        outside, inside = self.guard.cgroup / "outside", self.guard.cgroup / "agent" / program.name
        for cgroup in (outside, inside):
            cgroups.create(cgroup)
        try:
            before = self._caught()
            attempt = self._arena.attempt(program.name, program.needs, (outside, inside), self.loop_port, self.stand_in)
            after = self._caught()
        finally:
            cgroups.remove(inside)
        caught = ", ".join(name for name, number in after.items() if number > before[name]) or "-"
        self.rows.append((program.road + circumstances, attempt.saw, caught))
        return attempt

    def hijacked(self, program: arena.Program) -> bool:
        """Whether somebody who binds the loop's port, as it was, is connected to while an escape is tried."""
        with self._arena.agents.make_socket(socket.AF_INET, socket.SOCK_STREAM) as hijacker:
            hijacker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            hijacker.bind(("127.0.0.1", int(self.loop_port)))
            hijacker.listen()
            hijacker.setblocking(False)
            self.guarded(program, ", port hijacked")
            try:
                hijacker.accept()
            except BlockingIOError:
                return False
            return True

    def _caught(self) -> dict[str, int]:
        return pins.status(self.guard.pins).counters

    def beat(self) -> None:
        """As if the daemon had died this moment, so that it is not for want of its beat that somebody is refused."""
        with pins.opened(pins.map_path(self.guard.pins, "heartbeat")) as fd:
            assert fd is not None
            pins.open_map(fd, "heartbeat").update(bytes(4), time.monotonic_ns().to_bytes(8, "little"))

    def _loop_port(self) -> str:
        return str(self.guard.ask("status")["listeners"][0].rpartition(":")[2])

    def _stand_in(self) -> str:
        """The only such name in the agents' network namespace, without the zero byte before it."""
        lines = self._arena.agents.output("cat", "/proc/net/unix").splitlines()
        (name,) = {line.split()[-1][1:] for line in lines if line.split()[-1].startswith("@hostguard/")}
        return name


@pytest.fixture(scope="module")
def field() -> Iterator[Field]:
    """The arena, guarded from within: the daemon runs in the agents' namespace."""
    with arena.arena() as ring:
        resources = {"pg": "127.0.0.1:5432", "local": f"unix:{ring.resource}"}
        setup = guard.Setup(agents={"agent": guard.Agent(("worker",))}, resources=resources, policies=POLICY)
        with guard.prepared(setup, prefix=("nsenter", f"--net={ring.agents.path}")) as guarded:
            guarded.start()
            field = Field(ring, guarded)
            yield field
    table = Table("ROAD", "WHAT THE PROGRAM SAW", "WHAT CAUGHT IT")
    for row in field.rows:
        table.add_row(*row)
    console = Console(width=150)
    console.print()
    console.print(table)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_an_escape_is_not_heard(program: arena.Program, field: Field) -> None:
    control = field.unguarded(program)
    assert bool(control.heard) is program.heard, control
    assert not control.saw.startswith("exit "), control
    guarded = field.guarded(program)
    assert not (guarded.payload if program.outside else guarded.heard), guarded
    if not program.heard and control.saw == "made":
        assert guarded.saw != "made"


def chosen(*names: str) -> list[arena.Program]:
    """Some of the escapes, one for each road."""
    return [program for program in PROGRAMS if program.name in names]


ROADS = chosen("tcp4", "tcp6", "udp4", "udp6", "dns_own_server", "unix_stream", "unix_resource", "unix_impostor", "raw_icmp")


@pytest.mark.parametrize("program", chosen("tcp4", "udp4"), ids=lambda program: program.name)
def test_an_escape_is_not_heard_from_a_cgroup_that_was_removed_and_made_again(program: arena.Program, field: Field) -> None:
    cgroups.remove(field.guard.cgroup / "agent")
    guarded = field.guarded(program, ", cgroup made again")
    assert not guarded.heard, guarded


@pytest.fixture(scope="module")
def dead(field: Field) -> Field:
    """The daemon is killed, once for all the tests that follow; none before them is left to need it."""
    field.guard.kill()
    return field


@pytest.mark.parametrize("program", ROADS, ids=lambda program: program.name)
def test_an_escape_is_not_heard_while_the_daemon_is_dead(program: arena.Program, dead: Field) -> None:
    dead.beat()
    guarded = dead.guarded(program, ", daemon dead")
    assert not guarded.heard, guarded


def test_who_takes_the_port_of_a_dead_daemon_gets_nothing(dead: Field) -> None:
    """The hijacker is the peer of the story: it listens where the loop did."""
    dead.beat()
    assert dead.hijacked(chosen("tcp4")[0]) is False
