"""Every road out of a guarded process, each closed by a hook, each open without it."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from guarded_redirect import Guarded, attach, refresh
from guarded_wire import Wire, wire

from hostguard.kernel import cgroups
from hostguard.kernel.layouts import Event, Mode

pytestmark = pytest.mark.kernel

# What the programs below begin with; `attempt` prints what a call came to.
PRELUDE = """
import struct
def attempt(function, *arguments):
    try:
        function(*arguments)
        print("done")
    except OSError as error:
        print(errno.errorcode[error.errno])
def udp(family=socket.AF_INET): return socket.socket(family, socket.SOCK_DGRAM)
def join(): enter(sys.argv[1])
PAYLOAD = b"escaped"
"""


@dataclass(frozen=True)
class Road:
    """One way to get a packet out."""

    name: str
    program: str
    """Calls join() where it becomes guarded."""
    seen: str
    """What the guarded process is told."""
    kind: str
    """Which counter goes up."""


ROADS = [
    Road(
        "udp connected",
        'join(); s = udp(); attempt(s.connect, ("10.77.0.2", 443)); attempt(s.send, PAYLOAD)',
        "EPERM",
        "denied_datagram",
    ),
    Road("udp unconnected", 'join(); attempt(udp().sendto, PAYLOAD, ("10.77.0.2", 443))', "EPERM", "denied_datagram"),
    Road("udp6", 'join(); attempt(udp(10).sendto, PAYLOAD, ("fd77::2", 443))', "EPERM", "denied_datagram"),
    Road(
        "udp6 connected",
        'join(); s = udp(10); attempt(s.connect, ("fd77::2", 443)); attempt(s.send, PAYLOAD)',
        "EPERM",
        "denied_datagram",
    ),
    Road("udp mapped", 'join(); attempt(udp(10).sendto, PAYLOAD, ("::ffff:10.77.0.2", 443))', "EPERM", "denied_datagram"),
    Road(
        "udp with the interface by ancillary data",
        'join(); attempt(udp().sendmsg, [PAYLOAD], [(0, 8, struct.pack("=I4s4s", socket.if_nametoindex("near0"), b"", b""))], 0, '
        '("10.77.0.2", 443))',
        "EPERM",
        "denied_datagram",
    ),
    Road(
        "udp connected before", 's = udp(); s.connect(("10.77.0.2", 443)); join(); attempt(s.send, PAYLOAD)', "EPERM", "dropped"
    ),
    Road(
        "udp6 connected before, with a routing header",
        's = udp(10); s.setsockopt(41, 57, struct.pack("BBBBBBH", 0, 4, 4, 1, 1, 0, 0) + socket.inet_pton(10, "fd77::9") + '
        'socket.inet_pton(10, "fd77::2")); s.connect(("fd77::2", 443)); join(); attempt(s.send, PAYLOAD)',
        "EPERM",
        "dropped",
    ),
    Road(
        "ping",
        'join(); attempt(lambda: socket.socket(2, 2, 1).sendto(bytes([8, 0, 0, 0]) + bytes(4), ("10.77.0.2", 0)))',
        "EACCES",
        "denied_socket",
    ),
    Road("raw", 'join(); attempt(lambda: socket.socket(2, 3, 253).sendto(PAYLOAD, ("10.77.0.2", 0)))', "EPERM", "denied_socket"),
    Road("raw6", 'join(); attempt(lambda: socket.socket(10, 3, 253).sendto(PAYLOAD, ("fd77::2", 0)))', "EPERM", "denied_socket"),
    Road(
        "raw made before",
        's = socket.socket(2, 3, 253); join(); attempt(s.sendto, PAYLOAD, ("10.77.0.2", 0))',
        "EPERM",
        "dropped",
    ),
    Road(
        "raw made before, with a header that lies",
        's = socket.socket(2, 3, 255); s.connect(("10.77.0.2", 0)); join(); attempt(s.send, '
        'struct.pack(">BBHHHBBH4s4s", 0x45, 0, 28, 1, 0, 64, 6, 0, socket.inet_aton("10.77.0.1"), '
        'socket.inet_aton("127.0.0.1")) + bytes(8))',
        "EPERM",
        "dropped",
    ),
    Road(
        "udp-lite",
        'join(); attempt(lambda: socket.socket(2, 2, 136).sendto(PAYLOAD, ("10.77.0.2", 443)))',
        "EPROTONOSUPPORT",
        "denied_socket",
    ),
    Road(
        "udp-lite made before",
        's = socket.socket(2, 2, 136); join(); attempt(s.sendto, PAYLOAD, ("10.77.0.2", 443))',
        "EPERM",
        "denied_datagram",
    ),
    Road(
        "multipath tcp",
        'join(); attempt(lambda: socket.socket(2, 1, 262).connect(("10.77.0.2", 443)))',
        "EPROTONOSUPPORT",
        "denied_socket",
    ),
    Road(
        "device",
        'join(); s = socket.socket(); attempt(s.setsockopt, 1, 25, b"near0"); s.settimeout(0.2); '
        's.connect_ex(("10.77.0.2", 443))',
        "EPERM",
        "denied_option",
    ),
    Road(
        "source route",
        "join(); s = socket.socket(); attempt(s.setsockopt, 0, 4, bytes([131, 7, 4, 10, 77, 0, 2, 0])); s.settimeout(0.2); "
        's.connect_ex(("10.77.0.9", 443))',
        "EPERM",
        "denied_option",
    ),
    Road(
        "routing header",
        'join(); s = socket.socket(10); attempt(s.setsockopt, 41, 57, struct.pack("BBBBBBH", 0, 4, 4, 1, 1, 0, 0) + '
        'socket.inet_pton(10, "fd77::9") + socket.inet_pton(10, "fd77::2")); s.settimeout(0.2); s.connect_ex(("fd77::9", 443))',
        "EPERM",
        "denied_option",
    ),
]
# Sockets that were made elsewhere are the fence's only where their cgroup is guarded: these change the cgroup's verdict instead.
BEFORE = [road for road in ROADS if not road.program.startswith("join")]


@pytest.fixture(scope="module")
def cable() -> Iterator[Wire]:
    with wire() as cable:
        yield cable


@pytest.fixture(scope="module")
def attached(cable: Wire) -> Iterator[Guarded]:
    with ExitStack() as stack:
        yield attach(stack, cable.near)


@pytest.fixture
def on_wire(cable: Wire, attached: Guarded) -> Guarded:
    cable.heard()
    return refresh(attached)


def told(guarded: Guarded) -> list[Event]:
    """The events so far."""
    events = guarded.redirect.events()
    try:
        return events.read()
    finally:
        events.close()


@pytest.mark.parametrize("road", [road for road in ROADS if road not in BEFORE], ids=lambda road: road.name)
def test_a_road_is_closed_to_the_guarded_and_open_to_others(road: Road, on_wire: Guarded, cable: Wire) -> None:
    program = PRELUDE + road.program
    seen = on_wire.run(program, str(on_wire.agent), cgroup=on_wire.outside).splitlines()
    assert seen[0] == road.seen
    assert cable.heard() == []
    assert on_wire.redirect.counters()[road.kind] >= 1
    (event, *_) = [event for event in told(on_wire) if event.kind == road.kind]
    assert (event.workload, event.observed) == (7, False)
    assert event.comm.startswith("python")
    on_wire.run(program, str(on_wire.outside), cgroup=on_wire.outside)
    assert cable.heard() != []


STAY = "join = lambda: (print('ready', flush=True), input())\n"


@pytest.mark.parametrize("road", BEFORE, ids=lambda road: road.name)
def test_a_socket_that_was_made_before_its_cgroup_was_guarded_stops_at_the_fence(
    road: Road, on_wire: Guarded, cable: Wire
) -> None:
    for guard_it in (False, True):
        on_wire.redirect.unguard(cgroups.cgroup_id(on_wire.agent))
        child = on_wire.start(PRELUDE + STAY + road.program)
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        if guard_it:
            on_wire.redirect.guard(cgroups.cgroup_id(on_wire.agent), 7)
        out, err = child.communicate("go\n", timeout=10)
        assert out.splitlines() == [road.seen if guard_it else "done"], err
        assert (cable.heard() == []) is guard_it
    assert on_wire.redirect.counters()[road.kind] == 1
    (event,) = told(on_wire)
    assert (event.kind, event.workload, event.cgroup_id) == (road.kind, 7, cgroups.cgroup_id(on_wire.agent))
    # Whose time slice a packet leaves in says nothing of whose it is.
    assert (event.pid == 0) is (road.kind == "dropped")


TCP_BEFORE = """
s = socket.create_connection(("10.77.0.2", 443))
print("ready", flush=True)
input()
attempt(s.send, PAYLOAD)
"""


def test_a_connection_from_before_is_silenced_by_the_fence(on_wire: Guarded, cable: Wire, stack: ExitStack) -> None:
    server = stack.enter_context(cable.far.tcp_socket(socket.AF_INET))
    server.bind(("10.77.0.2", 443))
    server.listen()
    on_wire.redirect.unguard(cgroups.cgroup_id(on_wire.agent))
    child = on_wire.start(PRELUDE + TCP_BEFORE)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    accepted, _ = server.accept()
    with accepted:
        assert cable.heard() != []
        on_wire.redirect.guard(cgroups.cgroup_id(on_wire.agent), 7)
        child.communicate("go\n", timeout=10)
        assert cable.heard() == []
        accepted.settimeout(0.1)
        with pytest.raises(TimeoutError):
            accepted.recv(10)
        # A reset ends the agent's end too: what it goes on sending anew would be told to whoever tests next.
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize(
    "road", ROADS[:1] + [road for road in ROADS if road.name in ("raw", "device", "multipath tcp")], ids=lambda r: r.name
)
def test_an_observed_workload_goes_its_way_and_it_is_told(road: Road, on_wire: Guarded, cable: Wire) -> None:
    on_wire.redirect.set_modes({7: Mode.OBSERVE})
    on_wire.run(PRELUDE + road.program, str(on_wire.agent), cgroup=on_wire.outside)
    assert cable.heard() != [] or road.name in ("device", "multipath tcp")
    events = told(on_wire)
    assert any(event.kind == road.kind for event in events)
    assert [event for event in events if not event.observed] == []
    assert on_wire.redirect.counters()["observed"] >= 1
