"""Workloads that are found by pattern, user, executable, container: real processes, a real server, the record of each."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import guard
import pytest
from servers import Server

from hostguard.kernel import cgroups, pins

POLICY = '@id("all") permit (principal in Role::"worker", action, resource);'
USER, ANYWHERE = "games", "lp"
PSQL_LIKE = "import psycopg; print(psycopg.connect('', autocommit=True).execute('SELECT 1').fetchone())"
LIMIT_S = 10


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program of the test's own: the interpreter under another name, so that its hash is one that the test may break."""
    path = tmp_path_factory.mktemp("program") / "agent"
    path.write_bytes(Path(os.path.realpath(sys.executable)).read_bytes())
    path.chmod(0o755)
    return path


@pytest.fixture(scope="module")
def running(postgres18: Server, program: Path) -> Iterator[guard.Guard]:
    digest = hashlib.sha256(program.read_bytes()).hexdigest()
    setup = guard.Setup(
        agents={"worker": guard.Agent(("worker",))},
        resources={"pg": f"{postgres18.host}:{postgres18.port}"},
        policies=POLICY,
        workloads=f"""
[workloads.plain]
cgroup = "BELOW/plain"
agent = "worker"
[workloads.glob]
cgroup = "BELOW/bots/bot-*"
agent = "worker"
[workloads.user]
cgroup = "BELOW/bots/bot-*"
user = ["{USER}"]
agent = "worker"
[workloads.signed]
cgroup = "BELOW/signed"
agent = "worker"
executable = {{ path = "{program}", sha256 = ["{digest}"] }}
[workloads.everywhere]
user = ["{ANYWHERE}"]
agent = "worker"
""",
    )
    with guard.guarding(setup) as started:
        yield started
        assert "Traceback" not in "".join(started.lines)


def ask(
    running: guard.Guard, server: Server, cgroup: str, argv0: str | Path = sys.executable, *prefix: str
) -> subprocess.CompletedProcess[str]:
    """A program that enters a cgroup by itself, as a service manager's child does, then asks the server."""
    place = running.cgroup / cgroup
    place.mkdir(parents=True, exist_ok=True)
    site = Path(sys.executable).parent.parent
    environment = {**os.environ, **server.environment("postgres"), "PYTHONHOME": sys.base_prefix,
                   "PYTHONPATH": str(next(site.glob("lib/python*/site-packages")))}  # fmt: skip
    enter = ["sh", "-c", f'echo 0 > {place}/cgroup.procs && exec "$@"', "enter"]
    command = [*enter, *prefix, argv0, "-c", PSQL_LIKE]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)


def until_asked(running: guard.Guard, server: Server, cgroup: str, *prefix: str) -> None:
    """The same until it is let in: a new cgroup is refused at first."""
    deadline = time.monotonic() + LIMIT_S
    while (asked := ask(running, server, cgroup, sys.executable, *prefix)).stdout != "(1,)\n":
        assert "refused" in asked.stderr, asked.stderr
        assert time.monotonic() < deadline


def latest(running: guard.Guard) -> dict[str, Any]:
    """The flow that was put on record last."""
    listed = running.ask("recordings", "list")
    return running.ask("recordings", "show", str(max(flow["flow"] for flow in listed)))  # type: ignore[no-any-return]


def details(running: guard.Guard) -> dict[str, str]:
    return dict(latest(running)["facts"]["details"])


def test_a_new_cgroup_that_matches_is_its_workloads(running: guard.Guard, postgres18: Server) -> None:
    until_asked(running, postgres18, "bots/bot-1/deep")
    found = latest(running)["facts"]
    assert (found["workload"], found["agent"]) == ("glob", "worker")
    assert details(running)["exe_sha256"] == hashlib.sha256(Path(os.path.realpath(sys.executable)).read_bytes()).hexdigest()
    workload = next(w for w in running.ask("status")["workloads"] if w["name"] == "glob")
    assert (workload["guarded"], workload["cgroups"]) == (True, 1)


def test_a_cgroup_beside_it_is_nobodys(running: guard.Guard, postgres18: Server) -> None:
    before = len(running.ask("recordings", "list"))
    until_asked(running, postgres18, "bots/other")
    assert len(running.ask("recordings", "list")) == before


def test_the_user_tells_two_workloads_of_one_cgroup_apart(running: guard.Guard, postgres18: Server) -> None:
    until_asked(running, postgres18, "bots/bot-2", *as_user())
    assert latest(running)["facts"]["workload"] == "user"
    until_asked(running, postgres18, "bots/bot-2")
    assert latest(running)["facts"]["workload"] == "glob"


def test_a_user_is_guarded_in_whatever_cgroup(running: guard.Guard, postgres18: Server) -> None:
    until_asked(running, postgres18, "bots/nobodys", *as_user(ANYWHERE))
    assert latest(running)["facts"]["workload"] == "everywhere"
    until_asked(running, postgres18, "bots/bot-4", *as_user(ANYWHERE))
    assert latest(running)["facts"]["workload"] == "glob"


def as_user(name: str = USER) -> list[str]:
    """Another user, who may read the interpreter though it may lie in root's home."""
    return ["setpriv", f"--reuid={name}", "--regid=nogroup", "--clear-groups", "--inh-caps=+dac_read_search",
            "--ambient-caps=+dac_read_search"]  # fmt: skip


def test_a_program_with_the_right_hash_is_let_in_and_any_other_refused(
    running: guard.Guard, postgres18: Server, program: Path
) -> None:
    right = ask(running, postgres18, "signed", program)
    assert right.stdout == "(1,)\n", right.stderr
    assert latest(running)["facts"]["workload"] == "signed"
    assert ask(running, postgres18, "signed").returncode != 0
    assert "workload signed has its cgroup, but not its executable" in latest(running)["facts"]["refused"]
    original = program.read_bytes()
    program.write_bytes(original + b"changed")
    try:
        assert ask(running, postgres18, "signed", program).returncode != 0
    finally:
        program.write_bytes(original)
    assert "which workload signed does not allow" in latest(running)["facts"]["refused"]
    assert latest(running)["facts"]["workload"] == ""
    assert details(running)["exe_sha256"] == hashlib.sha256(original + b"changed").hexdigest()
    assert ask(running, postgres18, "signed", program).stdout == "(1,)\n"


# Connects, then becomes the program that its workload allows, with the connection in hand.
TURNCOAT = """
import os, socket, sys
sock = socket.create_connection((os.environ["PGHOST"], int(os.environ["PGPORT"])))
sock.set_inheritable(True)
os.execv(sys.argv[1], [sys.argv[1], "-c", f"import socket; print(socket.socket(fileno={sock.fileno()}).recv(1))"])
"""


def test_a_program_that_connects_and_then_becomes_another_is_not_that_other(
    running: guard.Guard, postgres18: Server, program: Path
) -> None:
    # Stopped daemons accept nothing: when this one looks, the process has long become the other program.
    assert running.process is not None
    running.process.send_signal(signal.SIGSTOP)
    try:
        place = running.cgroup / "signed"
        environment = {**os.environ, **postgres18.environment("postgres"), "PYTHONHOME": sys.base_prefix}
        command = [
            "sh",
            "-c",
            f'echo 0 > {place}/cgroup.procs && exec "$@"',
            "enter",
            sys.executable,
            "-c",
            TURNCOAT,
            str(program),
        ]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        deadline = time.monotonic() + LIMIT_S
        while os.readlink(f"/proc/{process.pid}/exe") != str(program):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
    finally:
        running.process.send_signal(signal.SIGCONT)
    out, errors = process.communicate(timeout=LIMIT_S)
    assert out == "", errors
    assert "not its executable (unknown)" in latest(running)["facts"]["refused"]
    assert details(running)["exe_replaced"]


def test_identity_show_says_who_and_why_with_and_without_a_daemon(running: guard.Guard) -> None:
    with sleeping(running, "bots/bot-3") as pid, sleeping(running, "bots/none") as stranger:
        found = running.cli("identity", "show", str(pid), "--json")
        facts = json.loads(found.stdout)
        assert found.returncode == 0
        assert (facts["workload"], facts["agent"], facts["kernel"]["filed"]) == ("glob", "worker", "workload 2")
        assert facts["why"].startswith("cgroup ")
        assert facts["sha256"] == hashlib.sha256(Path("/bin/cat").read_bytes()).hexdigest()
        assert "● glob" in running.cli("identity", "show", str(pid)).stdout
        other = running.cli("identity", "show", str(stranger), "--json")
        assert other.returncode == 1
        assert json.loads(other.stdout)["kernel"]["filed"] == "cleared"
    gone = running.cli("identity", "show", str(pid))
    assert (gone.returncode, f"no process {pid}" in gone.stderr) == (1, True)


@contextmanager
def sleeping(running: guard.Guard, cgroup: str, *prefix: str) -> Iterator[int]:
    """A process in a cgroup that has been filed. prefix: the beginning of its command."""
    place = running.cgroup / cgroup
    place.mkdir(parents=True)
    command = ["sh", "-c", f'echo 0 > {place}/cgroup.procs && exec "$@"', "sh", *prefix, "cat"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"r")
        process.stdin.flush()
        assert process.stdout.read(1) == b"r"
        deadline = time.monotonic() + LIMIT_S
        while cgroups.cgroup_id(place) not in pins.status(running.pins).guarded:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield process.pid
    finally:
        process.kill()
        process.communicate()


def test_status_counts_the_processes_of_a_workload_wherever_they_are(running: guard.Guard) -> None:
    with sleeping(running, "bots/bot-6"), sleeping(running, "bots/free", *as_user(ANYWHERE)):
        found = {workload["name"]: workload for workload in running.ask("status")["workloads"]}
        assert (found["glob"]["processes"], found["everywhere"]["processes"]) == (1, 1)
        assert found["everywhere"]["selectors"] == f"user {ANYWHERE}"
        assert f"user {ANYWHERE}" in running.cli("status").stdout


def test_nothing_is_put_into_a_workload_that_is_found_by_pattern(running: guard.Guard) -> None:
    result = running.run("glob", ["true"], {})
    assert result.returncode == 1
    assert "found by its cgroup" in result.stderr


def test_a_removed_cgroup_that_is_made_again_is_guarded_again(running: guard.Guard, postgres18: Server) -> None:
    for _ in range(3):
        until_asked(running, postgres18, "bots/bot-9")
        assert latest(running)["facts"]["workload"] == "glob"
        (running.cgroup / "bots/bot-9").rmdir()
