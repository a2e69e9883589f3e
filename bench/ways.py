"""The ways to the server that are compared: direct, through pgbouncer, through hostguard."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# Servers and guards are started the way the tests start them.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import guard
import servers

DATABASE = "bench"
CONNECTIONS = 800
"""What each way may hold at once; pgbouncer keeps its own to the server when its clients are gone."""

POLICY = """
@id("bench reads")
permit (principal in Role::"bench", action in Action::"read", resource in Database::"pg/bench");
"""

TAGS = """
[tags."pii.email"]
columns = ["pg/bench/public/people/email"]
mask = { kind = "partial", keep = 0 }
[tags."pci.card"]
columns = ["pg/bench/public/people/card"]
mask = { kind = "partial", keep = 4 }
[tags."pii.number"]
columns = ["pg/bench/public/people/number"]
mask = { kind = "redact" }
"""

PEOPLE = """
CREATE TABLE people AS
SELECT n AS id,
       'user' || n || '@mail' || n % 97 || '.example.com' AS email,
       lpad((4000000000000000 + n * 7919::bigint)::text, 16, '0') AS card,
       n * 31 AS number,
       repeat(md5(n::text), 2) AS note
FROM generate_series(1, 200000) AS n;
ALTER TABLE people ADD PRIMARY KEY (id);
ANALYZE people;
"""


@dataclass(frozen=True, slots=True)
class Way:
    """How a client gets to the server."""

    name: str
    environment: Mapping[str, str]
    before: tuple[str, ...]
    """What stands before a client's command."""
    pids: Sequence[int]
    """The processes between, whose memory is measured."""
    masks: bool = False

    def start(self, command: Sequence[str | Path]) -> subprocess.Popen[str]:
        """Start a client on this way."""
        pipe = subprocess.PIPE
        environment = {**os.environ, **self.environment}
        return subprocess.Popen([*self.before, *command], env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    def run(self, command: Sequence[str | Path]) -> str:
        """Run a client to its end; its output. Raises RuntimeError with its words if it failed."""
        client = self.start(command)
        out, err = client.communicate(timeout=300)
        if client.returncode:
            raise RuntimeError(f"{self.name}: {' '.join(map(str, command))}:\n{err or out}")
        return out


@contextmanager
def pgbouncer(server: servers.Server) -> Iterator[tuple[int, int]]:
    """Port and pid of a pgbouncer in session mode in front of the server."""
    with tempfile.TemporaryDirectory(prefix="pgbouncer-") as name:
        folder, port = Path(name), servers.free_port()
        folder.chmod(0o755)
        # auth_type "any" asks for no password and logs in as the user of the database's line.
        (folder / "pgbouncer.ini").write_text(
            f"[databases]\n* = host={server.host} port={server.port} user=postgres\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
            f"pool_mode = session\ndefault_pool_size = {CONNECTIONS}\nmax_client_conn = {CONNECTIONS}\n"
            "server_reset_query =\nlog_connections = 0\nlog_disconnections = 0\nlog_stats = 0\n"
        )
        command = [*servers.as_postgres(), "/usr/sbin/pgbouncer", "-q", str(folder / "pgbouncer.ini")]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            _answers(process, server, port)
            yield port, process.pid
        finally:
            process.terminate()
            process.wait(10)


def _answers(process: subprocess.Popen[str], server: servers.Server, port: int) -> None:
    isready = [server.bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
    for _ in range(200):
        if process.poll() is not None:
            raise RuntimeError(f"pgbouncer ended at once: {process.stderr.read() if process.stderr else ''}")
        if subprocess.run(isready, check=False).returncode == 0:
            return
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
    raise RuntimeError("pgbouncer did not answer within 10 s")


@contextmanager
def ways(version: int) -> Iterator[list[Way]]:
    """A server with the data to read, with all three ways to it."""
    with (
        servers.server(version, {"max_connections": str(2 * CONNECTIONS), "log_connections": "off"}) as server,
        server.database(DATABASE, PEOPLE),
        pgbouncer(server) as (port, bouncer),
        guard.guarding(
            guard.Setup(
                agents={"bench": guard.Agent(("bench",))},
                resources={"pg": f"{server.host}:{server.port}"},
                policies=POLICY,
                tags=TAGS,
            )
        ) as guarded,
    ):
        direct = Way("direct", server.environment(DATABASE), (), [])
        direct.run([server.bin / "pgbench", "--initialize", "--quiet", "--scale", "10"])
        before = tuple(map(str, guarded.command("bench", [])))
        yield [
            direct,
            Way("pgbouncer", {**server.environment(DATABASE), "PGPORT": str(port)}, (), [bouncer]),
            Way("hostguard", server.environment(DATABASE), before, guarded.processes(), masks=True),
        ]
