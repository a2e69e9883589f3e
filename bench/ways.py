"""The ways to the server that are compared: direct, through pgbouncer, through hostguard; all of them in the clear, or by TLS."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

# Servers and guards are started the way the tests start them.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import guard
import servers
from certificates import Authority, Certificate

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
[tags."pii.hashed"]
columns = ["pg/bench/public/hashed/email", "pg/bench/public/hashed/card", "pg/bench/public/hashed/note"]
mask = { kind = "hash" }
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
CREATE TABLE plain AS SELECT * FROM people;
CREATE TABLE hashed AS SELECT * FROM people;
ANALYZE people, plain, hashed;
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


@dataclass(frozen=True, slots=True)
class Secured:
    """TLS that everybody verifies, on every link."""

    roots: Path
    """Of who vouches for the server, and for pgbouncer."""
    chain: Path
    key: Path

    @property
    def environment(self) -> dict[str, str]:
        """What libpq reads."""
        return {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": str(self.roots)}

    @property
    def resource(self) -> str:
        """Lines of hostguard's configuration."""
        return f'client_tls = "require"\nserver_roots = "{self.roots}"\n'

    @property
    def pgbouncer(self) -> str:
        """Lines of pgbouncer's."""
        return (
            f"client_tls_sslmode = require\nclient_tls_cert_file = {self.chain}\nclient_tls_key_file = {self.key}\n"
            f"server_tls_sslmode = verify-full\nserver_tls_ca_file = {self.roots}\n"
        )


@contextmanager
def secured() -> Iterator[tuple[Secured, Certificate]]:
    """Files for clients and pgbouncer, and what the server is to show."""
    with tempfile.TemporaryDirectory(prefix="bench-tls-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        authority = Authority()
        certificate = authority.issue("127.0.0.1")
        found = Secured(folder / "roots.pem", folder / "chain.pem", folder / "key.pem")
        found.roots.write_text(authority.pem)
        found.chain.write_bytes(certificate.chain)
        found.key.write_bytes(certificate.key)
        found.key.chmod(0o600)
        if os.geteuid() == 0:
            shutil.chown(found.key, "postgres")
        yield found, certificate


@contextmanager
def pgbouncer(server: servers.Server, tls: Secured | None) -> Iterator[tuple[int, int]]:
    """Port and pid of a pgbouncer in session mode in front of the server."""
    with tempfile.TemporaryDirectory(prefix="pgbouncer-") as name:
        folder, port = Path(name), servers.free_port()
        folder.chmod(0o755)
        # auth_type "any" asks for no password and logs in as the user of the database's line.
        (folder / "pgbouncer.ini").write_text(
            f"[databases]\n* = host={server.host} port={server.port} user=postgres\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
            f"pool_mode = session\ndefault_pool_size = {CONNECTIONS}\nmax_client_conn = {CONNECTIONS}\n"
            "server_reset_query =\nlog_connections = 0\nlog_disconnections = 0\nlog_stats = 0\n" + (tls.pgbouncer if tls else "")
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
    isready: list[str | Path] = [server.bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
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
def ways(version: int, *, by_tls: bool = False) -> Iterator[list[Way]]:
    """A server with the data to read, with all three ways to it."""
    with ExitStack() as stack:
        settings = {"max_connections": str(2 * CONNECTIONS), "log_connections": "off"}
        tls, certificate = stack.enter_context(secured()) if by_tls else (None, None)
        server = stack.enter_context(servers.server(version, settings, certificate=certificate))
        stack.enter_context(server.database(DATABASE, PEOPLE))
        port, bouncer = stack.enter_context(pgbouncer(server, tls))
        setup = guard.Setup(
            agents={"bench": guard.Agent(("bench",))},
            resources={"pg": f"{server.host}:{server.port}"},
            policies=POLICY,
            # Behind the resource's own lines.
            tags=(tls.resource if tls else "") + TAGS,
            server_tls="verify-full" if tls else "off",
        )
        guarded = stack.enter_context(guard.guarding(setup))
        environment = {**server.environment(DATABASE), **(tls.environment if tls else {})}
        direct = Way("direct", environment, (), [])
        direct.run([server.bin / "pgbench", "--initialize", "--quiet", "--scale", "10"])
        before = tuple(map(str, guarded.command("bench", [])))
        yield [
            direct,
            Way("pgbouncer", {**environment, "PGPORT": str(port)}, (), [bouncer]),
            Way("hostguard", environment, before, guarded.processes(), masks=True),
        ]
