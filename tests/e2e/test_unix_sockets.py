"""A database's local socket is a resource: direct and guarded are compared, with `peer` authentication at the real server."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import guard
import pytest
from guarded_cgroups import output_of, python_in
from servers import Server
from servers import server as running_server

USER = "nobody"
POLICY = """
@id("agents read, and call what the tests call")
permit (principal in Role::"worker", action, resource);
@id("nobody drops")
forbid (principal in Role::"worker", action == Action::"drop", resource);
@id("nobody sees e-mails")
forbid (principal in Role::"worker", action == Action::"reveal", resource in Tag::"pii.email");
"""
TAGS = """
[tags."pii.email"]
columns = ["pg/local/public/people/email"]
mask = { kind = "partial" }
"""
SCRIPT = """
CREATE ROLE nobody LOGIN SUPERUSER;
CREATE ROLE root LOGIN SUPERUSER;
CREATE TABLE people (id int, email text);
INSERT INTO people VALUES (1, 'amelie.local@example.com');
"""


@dataclass(frozen=True)
class Local:
    """A server with a local socket, and the folder that the socket is in."""

    server: Server
    folder: Path

    @property
    def path(self) -> Path:
        """The socket."""
        return self.folder / f".s.PGSQL.{self.server.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What libpq reads to connect there."""
        return self.server.environment("local", USER) | {"PGHOST": str(self.folder)}

    def psql(self, *arguments: str) -> list[str | Path]:
        """The command."""
        return [self.server.bin / "psql", "-X", "-A", "-t", *arguments]

    def direct(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """psql as `USER`, not guarded."""
        command: list[str | Path] = ["setpriv", f"--reuid={USER}", "--regid=nogroup", "--clear-groups", *self.psql(*arguments)]
        full = {**os.environ, **self.environment, **environment}
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=full)


@pytest.fixture(scope="module")
def local() -> Iterator[Local]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hg-local-")))
        shutil.chown(folder, "postgres", "postgres")
        folder.chmod(0o755)
        server = stack.enter_context(running_server(18, {"unix_socket_directories": str(folder)}))
        stack.enter_context(server.database("local", SCRIPT))
        hba = server.folder / "data" / "pg_hba.conf"
        hba.write_text("local all all peer\nhost all all 127.0.0.1/32 trust\n")
        with server.connect() as connection:
            connection.execute("SELECT pg_reload_conf()")
        yield Local(server, folder)


def setup(local: Local, mode: str = "enforce") -> guard.Setup:
    return guard.Setup({"bot": guard.Agent(("worker",), mode=mode)}, {"pg": f"unix:{local.path}"}, POLICY, TAGS, workers=1)


@pytest.fixture(scope="module")
def running(local: Local) -> Iterator[guard.Guard]:
    with guard.guarding(setup(local)) as running:
        yield running


def psql(running: guard.Guard, local: Local, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """psql as `USER`, guarded."""
    before: list[str | Path] = [guard.HOSTGUARD, "exec", "--config", running.config, "--workload", "bot", "--user", USER, "--"]
    command = before + local.psql(*arguments)
    full = {**os.environ, **local.environment, **environment}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=full)


def test_the_server_sees_the_agent_s_user_and_the_agent_its_server(running: guard.Guard, local: Local) -> None:
    ask = ("-c", "SELECT current_user, system_user, inet_server_addr() IS NULL", "-c", "\\echo :HOST :PORT")
    direct, guarded = local.direct(*ask), psql(running, local, *ask)
    assert (guarded.stdout, guarded.stderr) == (direct.stdout, direct.stderr)
    assert guarded.stdout.startswith("nobody|peer:nobody|t\n")
    right, wrong = {"PGREQUIREPEER": "postgres"}, {"PGREQUIREPEER": "root"}
    assert psql(running, local, "-c", "SELECT 1", **right).stdout == "1\n"
    refused = psql(running, local, "-c", "SELECT 1", **wrong)
    assert refused.stderr == local.direct("-c", "SELECT 1", **wrong).stderr
    assert "requirepeer" in refused.stderr


def test_values_are_masked_and_drops_denied(running: guard.Guard, local: Local) -> None:
    assert local.direct("-c", "TABLE people").stdout == "1|amelie.local@example.com\n"
    masked = psql(running, local, "-c", "TABLE people")
    assert masked.stdout == f"1|a{'*' * 11}@example.com\n"
    refused = psql(running, local, "-c", "DROP TABLE people")
    assert "nobody drops" in refused.stderr
    assert local.direct("-c", "SELECT count(*) FROM people").stdout == "1\n"
    (flow,) = (flow for flow in running.ask("recordings", "list")[-1:])
    assert flow["destination"] == f"unix:{local.path}"
    shown = running.ask("recordings", "show", str(flow["flow"]))
    assert shown["items"][-1]["verdict"] == "deny"
    status = running.ask("status")
    assert f"unix:{local.path}" in status["listeners"]


CANCEL = """
import threading, psycopg
watcher, sleeper = psycopg.connect(autocommit=True), psycopg.connect(autocommit=True)
def sleep():
    try:
        sleeper.execute("SELECT pg_sleep(60)")
    except psycopg.Error as error:
        print(error.sqlstate)
thread = threading.Thread(target=sleep)
thread.start()
probe = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(60)' AND pid <> pg_backend_pid()"
while not watcher.execute(probe).fetchone()[0]:
    pass
sleeper.cancel_safe(timeout=20)
thread.join()
print(sleeper.execute("SELECT 1").fetchone(), sleeper.info.host)
"""


def test_a_query_is_cancelled_over_the_local_socket(running: guard.Guard, local: Local) -> None:
    program = [sys.executable, "-c", CANCEL]
    result = running.run("bot", program, local.environment | {"PGUSER": "root"})
    assert result.stdout.splitlines() == ["57014", f"(1,) {local.folder}"], result.stderr
    somebody_else = running.run("bot", program, local.environment | {"PGUSER": "nobody"})
    assert 'Peer authentication failed for user "nobody"' in somebody_else.stderr


STARTUP = """
import struct
def startup():
    words = b"user\\0nobody\\0database\\0local\\0\\0"
    return struct.pack("!II", len(words) + 8, 196608) + words
"""
MOUNT_OVER = """
import ctypes, subprocess
libc = ctypes.CDLL(None, use_errno=True)
assert libc.unshare(0x20000) == 0
subprocess.run(["mount", "--make-rprivate", "/"], check=True)
own = socket.socket(socket.AF_UNIX)
own.bind(sys.argv[2])
own.listen()
subprocess.run(["mount", "--bind", sys.argv[2], sys.argv[1]], check=True)
"""
ELSEWHERE = (
    STARTUP
    + MOUNT_OVER
    + """
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
sock.sendall(startup())
print(sock.recv(1000))
own.settimeout(0)
try:
    print(own.accept())
except BlockingIOError:
    print("nobody came")
"""
)


def test_a_path_that_leads_elsewhere_for_the_process_leads_nowhere(running: guard.Guard, local: Local, tmp_path: Path) -> None:
    child = python_in(running.cgroup / "bot", ELSEWHERE, str(local.path), str(tmp_path / "own"))
    words = output_of(child).splitlines()
    assert "leads to another socket" in words[0]
    assert words[1] == "nobody came"


DESCRIPTOR = (
    STARTUP
    + """
ours, theirs = os.pipe()
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
socket.send_fds(sock, [startup()], [theirs])
os.close(theirs)
print(sock.recv(1), os.read(ours, 1))
"""
)


def test_descriptors_go_nowhere(running: guard.Guard, local: Local) -> None:
    """The pipe's other end is closed: nobody took it."""
    assert output_of(python_in(running.cgroup / "bot", DESCRIPTOR, str(local.path))) == "b'E' b''"


def stand_ins_of(running: guard.Guard) -> list[bytes]:
    """The names at which this guard's daemon listens for UNIX sockets; other daemons may run on this host."""
    assert running.process is not None
    inodes = set()
    for one in Path(f"/proc/{running.process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            inodes.add(os.readlink(one).removeprefix("socket:[").removesuffix("]"))
    lines = (line.split() for line in Path("/proc/net/unix").read_text().splitlines())
    found = [b"\0" + line[-1][1:].encode() for line in lines if line[6] in inodes and line[-1].startswith("@hostguard/")]
    assert found
    return found


CONNECT = """
sock = socket.socket(socket.AF_UNIX)
print(errno.errorcode.get(sock.connect_ex(sys.argv[1])))
"""


def test_a_dead_daemon_is_a_refusal_and_its_names_are_worth_nothing(running: guard.Guard, local: Local) -> None:
    cgroup, names = running.cgroup / "bot", stand_ins_of(running)
    assert output_of(python_in(cgroup, CONNECT, str(local.path))) == "None"
    running.kill()
    assert output_of(python_in(cgroup, CONNECT, str(local.path))) == "ECONNREFUSED"
    for name in names:
        with socket.socket(socket.AF_UNIX) as impostor:
            impostor.bind(name)
            impostor.listen()
            assert output_of(python_in(cgroup, CONNECT, str(local.path))) == "ECONNREFUSED"
    running.start()
    assert psql(running, local, "-c", "SELECT 1").stdout == "1\n"


def test_who_is_no_agent_is_refused_by_the_loop(running: guard.Guard) -> None:
    before = running.status()["flows"]["refused"]
    for name in stand_ins_of(running):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(name)
            sock.settimeout(20)
            assert sock.recv(1) == b""
    assert running.status()["flows"]["refused"] == before + 1


OBSERVED_ELSEWHERE = (
    STARTUP
    + MOUNT_OVER
    + """
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
sock.sendall(startup())
own.settimeout(20)
accepted, _ = own.accept()
print(accepted.recv(1000) == startup())
"""
)
OTHERS = """
other = socket.socket(socket.AF_UNIX)
other.bind(sys.argv[1])
other.listen()
print(socket.socket(socket.AF_UNIX).connect_ex(sys.argv[1]))
"""


def test_who_is_only_observed_reaches_all_and_the_record_says_what_would_have_been(local: Local, tmp_path: Path) -> None:
    with guard.guarding(setup(local, "observe")) as running:
        ask = ("-c", "TABLE people", "-c", "DROP TABLE no_such_table")
        direct, watched = local.direct(*ask), psql(running, local, *ask)
        assert (watched.stdout, watched.stderr) == (direct.stdout, direct.stderr)
        assert watched.stdout == "1|amelie.local@example.com\n"
        (flow,) = running.ask("recordings", "list")
        items = running.ask("recordings", "show", str(flow["flow"]))["items"]
        assert (flow["destination"], items[-1]["verdict"]) == (f"unix:{local.path}", "allow")
        assert items[-1]["would"] == "deny"
        cgroup = running.cgroup / "bot"
        assert output_of(python_in(cgroup, OTHERS, str(tmp_path / "other"))) == "0"
        assert output_of(python_in(cgroup, OBSERVED_ELSEWHERE, str(local.path), str(tmp_path / "own"))) == "True"


GO_ON = """
import sys, time, psycopg
def visit():
    while True:
        try:
            return psycopg.connect(autocommit=True)
        except psycopg.OperationalError as error:
            assert "refused" in str(error), error
            time.sleep(0.02)
session = psycopg.connect(autocommit=True)
print(session.execute("SELECT 1").fetchone(), flush=True)
sys.stdin.readline()
print(session.execute("SELECT 2").fetchone(), visit().execute("SELECT 3").fetchone())
"""


def test_open_sessions_outlive_a_restart_of_the_daemon(running: guard.Guard, local: Local) -> None:
    agent = running.begin("bot", [sys.executable, "-c", GO_ON], local.environment | {"PGUSER": "root"})
    assert agent.stdout is not None
    assert agent.stdout.readline() == "(1,)\n"
    running.ask("restart")
    out, errors = agent.communicate("\n", timeout=60)
    assert out == "(2,) (3,)\n", errors
    assert f"unix:{local.path}" in running.ask("status")["listeners"]
