"""Places of agents that somebody must vouch for: cgroups in those of workloads, what runs there, what the daemon says of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from guard import Guard
from servers import Server

from hostguard.agent.client import Client, DaemonDown

SELECT = "SELECT 40 + 2"
ASK = """
import sys
import psycopg
try:
    print(psycopg.connect("", autocommit=True).execute(sys.argv[1]).fetchone()[0])
except psycopg.Error as error:
    print(" ".join(str(error).split()))
"""
PRESENT = """
import socket, sys
with socket.socket(socket.AF_UNIX) as sock:
    sock.connect(sys.argv[1])
    sock.sendall(sys.stdin.buffer.read())
    sock.shutdown(socket.SHUT_WR)
    print(sock.makefile().readline())
"""
HOLD = """
import sys, time
import psycopg
connection = psycopg.connect("", autocommit=True)
print(connection.execute("SELECT 40 + 2").fetchone()[0], flush=True)
try:
    while True:
        connection.execute("SELECT 1")
        time.sleep(0.02)
except psycopg.Error as error:
    print(time.time(), " ".join(str(error).split()), flush=True)
"""


def write(place: Path, token: bytes) -> None:
    """As a platform does it: whole, under its name at once."""
    new = place.with_suffix(".new")
    new.write_bytes(token)
    new.rename(place)


def environment(server: Server) -> dict[str, str]:
    return {"PGHOST": server.host, "PGPORT": str(server.port), "PGUSER": "postgres", "PGDATABASE": "postgres"}


class Place:
    """A cgroup in that of a workload."""

    def __init__(self, running: Guard, workload: str, server: Server) -> None:
        self._running, self.workload, self._server = running, workload, server
        self.cgroup = running.cgroup / workload / os.urandom(4).hex()
        self.cgroup.mkdir()
        self.token = running.folder / f"{self.cgroup.name}.token"

    def write(self, token: bytes) -> None:
        write(self.token, token)

    def follow(self, token: bytes) -> str:
        """As ``hostguard exec`` does it: what is said against the token, or nothing."""
        self.write(token)
        facts = {"agent": self.workload, "issuer": "corp", "cgroup": str(self.cgroup), "token_file": str(self.token)}
        error: str = control(self._running).post("/v1/identity/follow", facts, 30)["error"]
        return error

    def begin(self, program: str, *arguments: str) -> subprocess.Popen[str]:
        """Run a program in there."""
        enter = f'echo $$ > {self.cgroup}/cgroup.procs && exec "$@"'
        command = ["sh", "-c", enter, "sh", sys.executable, "-c", program, *arguments]
        full = {**os.environ, **environment(self._server)}
        pipe = subprocess.PIPE
        return subprocess.Popen(command, text=True, env=full, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT)

    def ask(self, text: str = SELECT) -> str:
        """The first value of the answer, or the words of the refusal."""
        return self.begin(ASK, text).communicate(timeout=60)[0].strip()

    def present(self, said: bytes) -> str:
        """What the daemon answers to this on its socket for tokens."""
        place = str(self._running.folder / "run" / "identity.sock")
        answer = self.begin(PRESENT, place).communicate(said.decode(), timeout=60)[0]
        return str(json.loads(answer)["error"])

    def hold(self) -> subprocess.Popen[str]:
        """An agent with a connection that it goes on using; it has had an answer."""
        process = self.begin(HOLD)
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first == "42\n", first + process.communicate()[0]
        return process


def control(running: Guard) -> Client:
    return Client(running.folder / "run" / "control.sock")


def verifier(running: Guard) -> int:
    """Process id of the verifier that serves; 0 while there is none, or no daemon."""
    try:
        facts = control(running).get("/v1/identity")
    except DaemonDown:
        return 0
    return int(facts["pid"]) if facts["running"] else 0


def tokens(running: Guard, agent: str) -> list[dict[str, object]]:
    return [token for token in control(running).get("/v1/identity")["tokens"] if token["agent"] == agent]


def revoke(running: Guard, agent: str) -> int:
    return len(control(running).post("/v1/identity/revoke", {"agent": agent, "issuer": None})["revoked"])


def wait_for(condition: Callable[[], object], limit_s: float = 15.0) -> None:
    until = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.05)


def ended(process: subprocess.Popen[str]) -> tuple[float, str]:
    """When its connection ended, with what words."""
    output, _ = process.communicate(timeout=30)
    at, _, words = output.partition(" ")
    return float(at), words
