"""What guarded processes try past the loop is on record, in ``status`` and in the metrics; sockets from outside end at once."""

from __future__ import annotations

import json
import pwd
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator

import guard
import pytest
from guarded_cgroups import python_in

from hostguard.kernel import cgroups
from hostguard.recorder.entry import RoadDenied
from hostguard.recorder.reader import Reader

SETUP = guard.Setup(agents={"agent": guard.Agent(("worker",))}, resources={"pg": "127.0.0.1:5432"}, policies="")

PACKET = "socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)"
FLOOD = """
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number in range(3000):
    try: sock.sendto(b"x", ("127.0.0.1", 100 + number % 900))
    except PermissionError: pass
print("done")
"""
CARRIED = """
sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
enter(sys.argv[2])
print("in", flush=True)
input()
sent = time.monotonic()
sock.send(b"x")
try: sock.recv(1)
except OSError as error: print(errno.errorcode[error.errno], time.monotonic() - sent)
"""


@pytest.fixture(scope="module")
def guarded() -> Iterator[guard.Guard]:
    with guard.guarding(SETUP) as running:
        yield running


def recorded(guarded: guard.Guard, road: str) -> list[RoadDenied]:
    """Of one road, oldest first."""
    found = (entry for _, entry in Reader(guarded.folder / "state" / "log").entries((RoadDenied,)))
    return [entry for entry in found if isinstance(entry, RoadDenied) and entry.road == road]


def until(true: Callable[[], bool]) -> None:
    """Asks the daemon, again and again, at most 10 s."""
    limit = time.monotonic() + 10
    while not true():
        assert time.monotonic() < limit


def test_a_packet_socket_is_on_record_with_who_tried_it_and_when(guarded: guard.Guard) -> None:
    before_ns = time.time_ns()
    child = python_in(guarded.cgroup / "agent", PACKET)
    child.communicate(timeout=10)
    assert child.returncode == -signal.SIGKILL
    until(lambda: bool(guarded.status()["denied"]["roads"].get("killed_family")))
    (entry,) = recorded(guarded, "killed_family")
    assert (entry.agent, entry.workload, entry.pid, entry.family) == ("agent", "agent", child.pid, socket.AF_PACKET)
    assert before_ns - 10**9 < entry.happened_ns < time.time_ns()
    shown = guarded.cli("status").stdout
    assert f"agent pid {child.pid}" in shown
    assert "AF_PACKET" in shown
    exported = guarded.cli("recordings", "export", "--all", "--format", "jsonl").stdout
    assert '"road.denied"' in exported
    assert guarded.is_guarding(), "what was stopped is no problem"


def test_a_flood_is_told_in_part_and_counted_in_full(guarded: guard.Guard) -> None:
    child = python_in(guarded.cgroup / "agent", FLOOD)
    assert child.communicate(timeout=30)[0] == "done\n"
    until(lambda: guarded.status()["kernel"]["denied_datagram"] == 3000)
    assert guarded.stop() == 0
    entries = recorded(guarded, "denied_datagram")
    assert len(entries) < 200
    assert sum(entry.times for entry in entries) == 3000
    guarded.start()


def test_a_socket_from_outside_is_ended_as_soon_as_it_is_used(guarded: guard.Guard) -> None:
    cgroups.create(guarded.cgroup / "outside")
    waited_s = 0.0
    with socket.create_server(("127.0.0.1", 0)) as server:
        for _ in range(5):
            port = str(server.getsockname()[1])
            child = python_in(guarded.cgroup / "outside", CARRIED, port, str(guarded.cgroup / "agent"))
            connection, _ = server.accept()
            with connection:
                assert child.stdout is not None
                assert child.stdout.readline() == "in\n"
                out, err = child.communicate("go\n", timeout=20)
                error, took_s = out.split()
                assert error == "ECONNABORTED", err
                waited_s += float(took_s)
    assert waited_s < 2.5, "the look that comes every 2 s anyway would take 5 s together"
    until(lambda: bool(recorded(guarded, "tainted")))


def test_who_could_undo_the_guard_is_named_with_a_remedy(guarded: guard.Guard) -> None:
    child = python_in(guarded.cgroup / "agent", "print('in', flush=True)\ninput()\n")
    assert child.stdout is not None
    assert child.stdout.readline() == "in\n"
    until(lambda: bool(guarded.status()["powers"]["count"]))
    (process,) = guarded.status()["powers"]["shown"]
    assert (process["pid"], process["workload"], process["root"]) == (child.pid, "agent", True)
    assert {"CAP_NET_ADMIN", "CAP_SYS_ADMIN", "CAP_BPF", "CAP_SYS_PTRACE"} <= set(process["capabilities"])
    shown = guarded.cli("status").stdout
    assert f"agent pid {child.pid}" in shown
    assert "hostguard exec --user USER" in shown
    told = {line["name"]: line for line in json.loads(guarded.cli("doctor", "--json").stdout)}
    assert told["daemon"]["ok"]
    assert not told["agents' powers"]["ok"]
    assert f"pid {child.pid}" in told["agents' powers"]["detail"]
    child.communicate("over\n", timeout=10)


def test_who_is_confined_is_not_named(guarded: guard.Guard) -> None:
    user = pwd.getpwnam("nobody").pw_name
    command = [*guarded.command("agent", ["/bin/cat"])]
    command[-2:-2] = ["--user", user]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write("in\n")
    child.stdin.flush()
    assert child.stdout.readline() == "in\n"
    until(lambda: guarded.status()["powers"]["count"] == 0)
    assert guarded.status()["workloads"][0]["processes"] == 1
    child.communicate(timeout=10)


def test_metrics_tell_what_was_denied_and_how_names_fare(guarded: guard.Guard) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(guarded.folder / "run" / "control.sock"))
        sock.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        text = b"".join(iter(lambda: sock.recv(65536), b"")).decode()
    assert 'hostguard_denied_total{road="tainted",workload="agent"}' in text
    assert "hostguard_resolver_up 1.0" in text
    assert 'hostguard_names_asked_total{verdict="deny"} 0.0' in text
