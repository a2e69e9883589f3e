"""TLS that is nobody's to read: unmodified clients and servers, a guard between them that asks whom they call."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import guard
import pytest
from guard import Guard
from handshakes import certificate
from name_server import NameServer, name_server
from servers import free_port
from tls_server import BIG_BYTES, HttpsServer, https_server

POLICIES = """
@id("bots call the api")
permit (principal in Role::"bot", action == Action::"connect", resource in Environment::"open");
@id("bots ask before they call")
permit (principal in Role::"bot", action == Action::"connect", resource == Resource::"asks")
when { context has approval && context.approval.count >= 1 };
@id("dba approves") permit (principal in Group::"dba", action == Action::"approve", resource);
"""
PIN = """
import hashlib, socket, ssl, sys
host, port, name, roots, versions = sys.argv[1:]
for version in versions.split():
    context = ssl.create_default_context(cafile=roots)
    context.maximum_version = getattr(ssl.TLSVersion, version)
    with socket.create_connection((host, int(port)), timeout=20) as plain, context.wrap_socket(plain, server_hostname=name) as tls:
        pin = hashlib.sha256(tls.getpeercert(binary_form=True)).hexdigest()
        tls.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        said = b"".join(iter(lambda: tls.recv(4096), b""))
        print(pin, tls.version(), said.decode().splitlines()[-1], sep="|")
"""
REQUESTS = """
import sys, requests
url, roots, certificate, key = sys.argv[1:]
with requests.Session() as session:
    session.verify = roots
    session.cert = (certificate, key) if key else None
    print(session.get(url).text, session.post(url, data=b"x" * 100_000).text, session.get(url).text, sep="|")
"""


@dataclass(frozen=True, slots=True)
class World:
    """A guard whose resources are HTTPS servers, a name server beside it."""

    guard: Guard
    names: NameServer
    api: HttpsServer
    asks: HttpsServer
    mutual: HttpsServer
    closed: HttpsServer

    def run(self, *command: str | Path, agent: str = "one") -> subprocess.CompletedProcess[str]:
        return self.guard.run(agent, list(command), {"RES_OPTIONS": "attempts:1"})

    def curl(self, name: str, server: HttpsServer, *options: str, agent: str = "one") -> subprocess.CompletedProcess[str]:
        """Fetch by a name that leads to the server without name servers."""
        url = f"https://{name}:{server.port}/"
        there = ["--resolve", f"{name}:{server.port}:{server.host}", "--cacert", server.roots]
        return self.run("curl", "-sS", "--max-time", "40", *there, *options, url, agent=agent)

    def last(self, resource: str) -> dict[str, Any]:
        """The recording of the last flow to a resource, once it has ended."""
        flow = [flow for flow in self.guard.ask("recordings", "list") if flow["resource"] == resource][-1]["flow"]
        found: dict[str, Any] = self.guard.ask("recordings", "show", str(flow))
        return found


def steps(recording: dict[str, Any]) -> list[dict[str, Any]]:
    return [item for item in recording["items"] if "form" in item]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with ExitStack() as stack:
        client = certificate("client.example.com")
        folder = Path(stack.enter_context(_folder()))
        roots, _ = client.write(folder)
        api = stack.enter_context(https_server("127.77.0.1", ["api.example.com", "alt.example.com", "x.cdn.example.com"]))
        asks = stack.enter_context(https_server("127.77.0.2", ["asks.example.com"]))
        mutual = stack.enter_context(https_server("127.77.0.3", ["mutual.example.com"], "secp384r1", roots))
        closed = stack.enter_context(https_server("127.77.0.4", ["closed.example.com"]))
        names = stack.enter_context(name_server(ttl_s=60))
        names.set_hosts({"api.example.com": [api.host], "alt.example.com": [api.host]})
        tables = f"""
[dns]
upstreams = ["{names.address}"]
timeout_ms = 500
{_resource("api", f"api.example.com:{api.port}", "alt.example.com", "*.cdn.example.com")}
{_resource("asks", asks.address, "asks.example.com")}
{_resource("mutual", mutual.address, "mutual.example.com")}
{_resource("closed", closed.address, "closed.example.com")}
{_resource("plain", f"127.77.0.5:{free_port()}", "plain.example.com")}
"""
        agents = {name: guard.Agent(("bot",)) for name in ("one", "two")}
        agents["watched"] = guard.Agent(mode="observe")
        setup = guard.Setup(agents=agents, resources={}, policies=POLICIES, tables=tables)
        with guard.guarding(setup) as running:
            yield World(running, names, api, asks, mutual, closed)
            assert "Traceback" not in "".join(running.lines)
            assert running.ask("status")["faults"] == []


def _folder() -> Any:
    import tempfile

    return tempfile.TemporaryDirectory(prefix="client-")


def _resource(name: str, address: str, *names: str) -> str:
    environment = "open" if name in ("api", "mutual", "plain") else "other"
    keys = f'addresses = ["{address}"]\nnames = {json.dumps(names)}\nenvironment = "{environment}"'
    return f'[resources.{name}]\nprotocol = "tls"\n{keys}\n'


def test_curl_by_name_and_what_is_on_record(world: World) -> None:
    url = f"https://api.example.com:{world.api.port}/"
    got = world.run("curl", "-sS", "--max-time", "40", "--cacert", world.api.roots, url)
    assert (got.stdout, got.stderr) == ("hello from the server", "")
    recording = world.last("api")
    (step,) = steps(recording)
    assert step["verdict"] == "allow"
    assert re.fullmatch(
        r"connect sni=api\.example\.com asked=api\.example\.com alpn=h2,http/1\.1 version=1\.3 ja4=t13d\w+_\w{12}_\w{12}",
        step["text"],
    )
    assert step["policies"] == ["bots call the api"]
    assert (step["reply"]["status"], step["reply"]["tag"]) == ("ok", "TLS 1.3")
    assert recording["facts"]["protocol"] == "tls"
    assert ["name", "api.example.com"] in recording["facts"]["details"]
