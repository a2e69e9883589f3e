"""Agents in network namespaces of their own, with servers that only those can reach."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import guard
import pytest
from guarded_cgroups import Namespace, network_namespace
from name_server import NameServer, name_server
from servers import Server

ADDRESS = ("10.77.0.1", 5432)
ABSTRACT = f"@hostguard-test-{os.getpid()}"
"""Of the folder that libpq would look for a server's socket in."""
SOCKET = ".s.PGSQL.5432"
POLICY = """
@id("far") permit (principal in Role::"worker", action, resource in Resource::"far");
@id("local") permit (principal in Role::"worker", action, resource in Resource::"abstract");
@id("path") permit (principal in Role::"worker", action, resource in Resource::"path");
@id("named") permit (principal in Role::"worker", action, resource in Resource::"named");
"""
LIMIT_S = 20

# Asks again until it is let in; says how often that took, how long, and what answers.
ASK = """
import json, sys, time, psycopg
began, refused = time.monotonic(), 0
while True:
    try:
        session = psycopg.connect(autocommit=True)
        break
    except psycopg.OperationalError as error:
        if "refused" not in str(error) or time.monotonic() > began + 15:
            raise
        refused += 1
version = session.execute("SHOW server_version_num").fetchone()[0]
print(json.dumps([refused, time.monotonic() - began, int(version) // 10000]), flush=True)
sys.stdin.readline()
session.execute("SELECT 1")
"""

# The same with libpq alone: psycopg would look the abstract name up.
ASK_PSQL = """
import json, subprocess, sys, time
began, refused = time.monotonic(), 0
while True:
    done = subprocess.run([sys.argv[1], "-XAtc", "SHOW server_version_num"], capture_output=True, text=True)
    if not done.returncode:
        break
    if "refused" not in done.stderr or time.monotonic() > began + 15:
        raise OSError(done.stderr)
    refused += 1
print(json.dumps([refused, time.monotonic() - began, int(done.stdout) // 10000]), flush=True)
sys.stdin.readline()
"""


# Names by UDP, then by TCP, with whatever name server the namespace is told of; asks again while nobody answers there yet.
LOOK_UP = """
import json, sys, time
import dns.exception, dns.message, dns.query, dns.rcode
server, *names = sys.argv[1:]
def ask(name, by):
    deadline = time.monotonic() + 15
    while True:
        try:
            reply = by(dns.message.make_query(name, "A"), server, 2)
            return [dns.rcode.to_text(reply.rcode()), *(str(each) for answer in reply.answer for each in answer)]
        except (OSError, dns.exception.Timeout):
            if time.monotonic() > deadline:
                raise
print(json.dumps([[ask(name, dns.query.udp), ask(name, dns.query.tcp)] for name in names]), flush=True)
sys.stdin.readline()
"""


@pytest.fixture(scope="module")
def names() -> Iterator[NameServer]:
    with name_server() as started:
        started.set_hosts({"far.example": [ADDRESS[0]], "other.example": ["127.8.8.8"]})
        yield started


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """For a socket with a path."""
    with tempfile.TemporaryDirectory(prefix="hg-ns-") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def running(names: NameServer, folder: Path) -> Iterator[guard.Guard]:
    setup = guard.Setup(
        agents={"worker": guard.Agent(("worker",))},
        resources={
            "far": f"{ADDRESS[0]}:{ADDRESS[1]}",
            "named": f"far.example:{ADDRESS[1] + 1}",
            "abstract": f"unix:{ABSTRACT}/{SOCKET}",
            "path": f"unix:{folder}/{SOCKET}",
        },
        policies=POLICY,
        tags=f'[dns]\nupstreams = ["{names.address}"]',
    )
    with guard.guarding(setup) as started:
        yield started
        assert "Traceback" not in "".join(started.lines)


@contextmanager
def served(server: Server) -> Iterator[Namespace]:
    """A namespace in which `ADDRESS` is this server."""
    with network_namespace() as netns:
        netns.run("ip", "address", "add", f"{ADDRESS[0]}/32", "dev", "lo")
        with listening(netns.tcp_socket(socket.AF_INET), ADDRESS, server):
            yield netns


@contextmanager
def listening(listener: socket.socket, address: tuple[str, int] | bytes | str, server: Server) -> Iterator[None]:
    """Have this server at the address."""
    listener.bind(address)
    listener.listen()
    thread = threading.Thread(target=_pass_on, args=(listener, server), daemon=True)
    thread.start()
    try:
        yield
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def _pass_on(listener: socket.socket, server: Server) -> None:
    while True:
        try:
            near, _ = listener.accept()
        except OSError:
            return
        far = socket.create_connection((server.host, server.port))
        for source, sink in ((near, far), (far, near)):
            threading.Thread(target=_copy, args=(source, sink), daemon=True).start()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def environment(host: str = ADDRESS[0]) -> dict[str, str]:
    return {"PGHOST": host, "PGPORT": str(ADDRESS[1]), "PGUSER": "postgres", "PGDATABASE": "postgres"}


def asking(
    running: guard.Guard, netns: Namespace, host: str = ADDRESS[0], program: Sequence[str] = (ASK,)
) -> subprocess.Popen[str]:
    """An agent in the namespace that asks."""
    command = ["nsenter", f"--net={netns.path}", *running.command("worker", [sys.executable, "-c", *program])]
    return beginning(command, environment(host))


def beginning(command: Sequence[str | Path], environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """A program that enters a namespace before it is an agent: after `hostguard exec` it can't."""
    pipe = subprocess.PIPE
    return subprocess.Popen(command, text=True, env={**os.environ, **environment}, stdin=pipe, stdout=pipe, stderr=pipe)


def unbound(running: guard.Guard, program: Sequence[str]) -> list[str]:
    """The command of an agent that others put into its cgroup, as a container's runtime does: with all capabilities."""
    return ["sh", "-c", f'echo $$ > {running.cgroup}/worker/cgroup.procs && exec "$@"', "sh", *program]


def answer(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise AssertionError(process.communicate()[1])
    return json.loads(line)


def finish(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate("\n", timeout=LIMIT_S)
    assert process.returncode == 0, errors


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def namespaces(running: guard.Guard) -> int:
    return len(status(running)["namespaces"])


def status(running: guard.Guard) -> Any:
    """Also while something is not as it should be."""
    return json.loads(running.cli("status", "--json").stdout)


def test_an_agent_reaches_the_server_of_its_own_namespace(running: guard.Guard, postgres18: Server, postgres15: Server) -> None:
    """Two namespaces with the same address: each agent gets the server of its own."""
    with served(postgres18) as one, served(postgres15) as other:
        agents = [asking(running, one), asking(running, other)]
        answers = [answer(agent) for agent in agents]
        assert [version for _, _, version in answers] == [18, 15]
        assert len({n["inode"] for n in status(running)["namespaces"]}) == 2
        for agent in agents:
            finish(agent)
    print([f"{refused} refusals, {seconds * 1000:.0f} ms" for refused, seconds, _ in answers])
    until(lambda: namespaces(running) == 0)


def test_an_abstract_name_is_one_of_the_agent_s_own_namespace(
    running: guard.Guard, postgres18: Server, postgres15: Server
) -> None:
    name = f"\0{ABSTRACT[1:]}/{SOCKET}".encode()
    with network_namespace() as one, network_namespace() as other, ExitStack() as stack:
        for netns, server in ((one, postgres18), (other, postgres15)):
            stack.enter_context(listening(netns.make_socket(socket.AF_UNIX, socket.SOCK_STREAM), name, server))
        program = ASK_PSQL, str(postgres18.bin / "psql")
        agents = [asking(running, one, ABSTRACT, program), asking(running, other, ABSTRACT, program)]
        assert [answer(agent)[2] for agent in agents] == [18, 15]
        for agent in agents:
            finish(agent)
    flows = running.ask("recordings", "list")[-2:]
    assert {flow["destination"] for flow in flows} == {f"unix:{ABSTRACT}/{SOCKET}"}
    until(lambda: namespaces(running) == 0)


def test_a_path_leads_to_this_host_s_server_from_there_too(running: guard.Guard, folder: Path, postgres18: Server) -> None:
    with network_namespace() as netns, listening(socket.socket(socket.AF_UNIX), str(folder / SOCKET), postgres18):
        agent = asking(running, netns, str(folder))
        assert answer(agent)[2] == 18
        finish(agent)
    (folder / SOCKET).unlink()
    until(lambda: namespaces(running) == 0)


DIAL = """
import errno, socket, sys
for _ in sys.stdin:
    print(f'"{errno.errorcode.get(socket.socket(socket.AF_UNIX).connect_ex(sys.argv[1]))}"', flush=True)
"""


def test_who_was_in_a_namespace_before_the_stand_ins_gets_nothing(running: guard.Guard, folder: Path) -> None:
    """He has bound all the names that stand-ins on this host have."""
    lines = (line.split() for line in Path("/proc/net/unix").read_text().splitlines())
    names = {line[-1] for line in lines if line[-1].startswith("@hostguard/")}
    with network_namespace() as netns, ExitStack() as stack:
        taken = [stack.enter_context(netns.make_socket(socket.AF_UNIX, socket.SOCK_STREAM)) for _ in names]
        for sock, name in zip(taken, names, strict=True):
            sock.bind(f"\0{name[1:]}".encode())
            sock.listen()
            sock.setblocking(False)
        program = [sys.executable, "-c", DIAL, str(folder / SOCKET)]
        agent = beginning(["nsenter", f"--net={netns.path}", *running.command("worker", program)], {})
        assert agent.stdin is not None
        until(lambda: any("UNIX sockets of resources are denied" in problem for problem in status(running)["problems"]))
        agent.stdin.write("\n")
        agent.stdin.flush()
        assert answer(agent) == "ECONNREFUSED"
        for sock in taken:
            with pytest.raises(BlockingIOError):
                sock.accept()
        agent.communicate(timeout=LIMIT_S)
    until(lambda: namespaces(running) == 0)


@pytest.mark.parametrize("server", ["127.0.0.53", "10.77.0.53", "::1"])
def test_names_are_answered_in_a_namespace_of_its_own(running: guard.Guard, server: str) -> None:
    """A name server that the namespace doesn't have is asked; the configuration's answers, for permitted names alone."""
    with network_namespace() as netns:
        netns.run("ip", "route", "add", "10.77.0.0/24", "dev", "lo")
        program = [sys.executable, "-c", LOOK_UP, server, "far.example", "other.example"]
        agent = beginning(["nsenter", f"--net={netns.path}", *running.command("worker", program)], {})
        assert answer(agent) == [[["NOERROR", ADDRESS[0]]] * 2, [["REFUSED"]] * 2]
        inode = netns.path.stat().st_ino
        assert [n for n in status(running)["namespaces"] if n["inode"] == inode]
        finish(agent)
    until(lambda: namespaces(running) == 0)


def test_the_next_resolver_answers_in_the_namespaces_too(running: guard.Guard) -> None:
    program = [sys.executable, "-c", LOOK_UP, "127.0.0.53", "far.example"]
    with network_namespace() as netns:
        command = ["nsenter", f"--net={netns.path}", *running.command("worker", program)]
        first = beginning(command, {})
        assert answer(first) == [[["NOERROR", ADDRESS[0]]] * 2]
        killed = status(running)["names"]["pid"]
        os.kill(killed, signal.SIGKILL)
        until(lambda: status(running)["names"]["pid"] != killed and status(running)["names"]["running"])
        second = beginning(command, {})
        assert answer(second) == [[["NOERROR", ADDRESS[0]]] * 2]
        finish(first)
        finish(second)
    until(lambda: namespaces(running) == 0)


def test_a_namespace_ends_with_its_last_process(running: guard.Guard, postgres18: Server) -> None:
    """What the daemon holds would keep it alive: a device in it, whose twin is in another namespace, shows when it has ended."""
    with network_namespace() as witness, ExitStack() as stack:
        inner = stack.enter_context(served(postgres18))
        subprocess.run(
            ["nsenter", f"--net={witness.path}", "ip", "link", "add", "twin", "type", "veth", "peer", "inner", "netns",
             str(inner.path)],
            check=True,
        )  # fmt: skip
        agent = asking(running, inner)
        answer(agent)
        agent.kill()
        agent.communicate()
        stack.close()
        until(lambda: subprocess.run(["nsenter", f"--net={witness.path}", "ip", "link", "show", "twin"],
                                     capture_output=True, check=False).returncode != 0)  # fmt: skip
    until(lambda: namespaces(running) == 0)


def test_a_loopback_that_is_down_is_shown_and_nothing_passes(running: guard.Guard) -> None:
    process = beginning(["unshare", "--net", *running.command("worker", ["cat"])], {})
    try:
        until(lambda: namespaces(running) == 1)
        assert [problem for problem in status(running)["problems"] if "loopback device is down" in problem]
    finally:
        process.kill()
        process.communicate()
    until(lambda: namespaces(running) == 0)


def test_namespaces_that_come_and_go_leave_nothing(running: guard.Guard) -> None:
    """A hundred namespaces, four at a time; each is served, then gone."""
    assert running.process is not None
    folder = Path(f"/proc/{running.process.pid}/fd")
    before = len(os.listdir(folder))
    program = f"""
import os, socket, subprocess, sys, time, ctypes
libc = ctypes.CDLL(None)
waits = []
for _ in range(25):
    if libc.unshare(0x40000000): raise OSError
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    began = time.monotonic()
    while time.monotonic() < began + 10:
        with socket.socket() as sock:
            if sock.connect_ex({ADDRESS!r}) == 0:
                waits.append(time.monotonic() - began)
                break
print(*waits)
"""
    agents = [beginning(unbound(running, [sys.executable, "-c", program]), {}) for _ in range(4)]
    counts = [agent.communicate(timeout=60) for agent in agents]
    waits = sorted(float(wait) for out, _ in counts for wait in out.split())
    assert len(waits) == 100, counts
    print(f"served after {waits[50] * 1000:.0f} ms (median), {waits[-1] * 1000:.0f} ms at worst")
    until(lambda: namespaces(running) == 0)
    until(lambda: len(os.listdir(folder)) <= before + 2)


def test_a_restart_keeps_what_is_served_in_a_namespace(running: guard.Guard, postgres18: Server) -> None:
    """The same sockets of the namespace's before and after, so that nobody who connects meanwhile is refused."""
    with served(postgres18) as netns:
        before = asking(running, netns)
        assert answer(before)[2] == 18
        restarting = threading.Thread(target=lambda: told.append(running.ask("restart")))
        told: list[Any] = []
        restarting.start()
        while restarting.is_alive():
            during = asking(running, netns)
            refusals, _, version = answer(during)
            assert (refusals, version) == (0, 18)
            finish(during)
        restarting.join()
        assert [one["flows_end"] for one in told] == [False]
        finish(before)
    until(lambda: namespaces(running) == 0)
