"""A real name server for tests, dnsmasq on a loopback port, whose names the test sets; it asks nobody else."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dns.exception
import dns.message
import dns.query
from servers import free_port

START_LIMIT_S = 10
MARKER = "up.test.invalid"


@dataclass(slots=True)
class NameServer:
    """A running dnsmasq."""

    host: str
    port: int
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def set_hosts(self, hosts: Mapping[str, Sequence[str]]) -> None:
        """The addresses of names from now on; returns once the server answers by them."""
        generation = f"127.9.{time.monotonic_ns() // 256 % 256}.{time.monotonic_ns() % 255 + 1}"
        lines = [f"{address} {name}" for name, addresses in hosts.items() for address in addresses]
        (self.folder / "hosts").write_text("\n".join([f"{generation} {MARKER}", *lines, ""]))
        self.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + START_LIMIT_S
        while generation not in self.look_up(MARKER):
            assert time.monotonic() < deadline, "dnsmasq did not read its hosts again"

    def look_up(self, name: str) -> str:
        """The answer to a question of the test's own, as text; empty while nobody answers."""
        try:
            return str(dns.query.udp(dns.message.make_query(name, "A"), self.host, 0.2, self.port))
        except (dns.exception.Timeout, OSError):
            return ""

    def log(self) -> str:
        """Every question that came to it."""
        return (self.folder / "log").read_text()


@contextmanager
def name_server(options: Sequence[str] = (), host: str = "127.0.0.1", ttl_s: int = 30) -> Iterator[NameServer]:
    """Start dnsmasq with more options (``txt-record=…``, ``srv-host=…``, ``cname=…``), stop it at the end."""
    with tempfile.TemporaryDirectory(prefix="dnsmasq-") as name:
        folder = Path(name)
        (folder / "hosts").write_text("")
        port = free_port(host)
        command = [
            "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--bind-interfaces",
            f"--port={port}", f"--listen-address={host}", "--user=root", "--group=root", f"--pid-file={folder}/pid",
            f"--addn-hosts={folder}/hosts", f"--local-ttl={ttl_s}", "--edns-packet-max=4096", "--local=//", "--local=/test/",
            "--local=/example/", "--local=/com/", "--log-queries", f"--log-facility={folder}/log",
            *(f"--{option}" for option in options),
        ]  # fmt: skip
        environment = {**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin"}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            server = NameServer(host, port, folder, process)
            deadline = time.monotonic() + START_LIMIT_S
            while not server.look_up(MARKER):
                assert process.poll() is None, process.communicate()[1]
                assert time.monotonic() < deadline, "dnsmasq did not start"
            yield server
        finally:
            process.terminate()
            process.wait(START_LIMIT_S)
