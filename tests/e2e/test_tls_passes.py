"""TLS that is nobody's to read: unmodified clients and servers, a guard between them that asks whom they call."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import guard
import msgspec
import pytest
from guard import Guard
from handshakes import certificate
from name_server import NameServer, name_server
from servers import free_port
from tls_server import BIG_BYTES, HttpsServer, https_server

from hostguard.agent.cli.recordings_load import load
from hostguard.recorder.filters import Filters
from hostguard.recorder.reader import Reader
from hostguard.recorder.summaries import summaries

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
    plain = socket.create_connection((host, int(port)), timeout=20)
    with context.wrap_socket(plain, server_hostname=name) as tls:
        pin, spoken = hashlib.sha256(tls.getpeercert(binary_form=True)).hexdigest(), tls.version()
        tls.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        said = b"".join(iter(lambda: tls.recv(4096), b""))
        print(pin, spoken, said.decode().splitlines()[-1], sep="|")
"""
WAITS = """
import socket, ssl, sys
host, port, name, roots = sys.argv[1:]
context = ssl.create_default_context(cafile=roots)
with context.wrap_socket(socket.create_connection((host, int(port)), timeout=40), server_hostname=name) as tls:
    print("ready", flush=True)
    input()
    tls.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
    print(b"".join(iter(lambda: tls.recv(4096), b"")).decode().splitlines()[-1])
"""
REQUESTS = """
import sys, requests
url, roots, certificate, key = sys.argv[1:]
with requests.Session() as session:
    session.trust_env = False
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
    free: tuple[str, int]
    """An address of a resource on which a test may have a server of its own."""

    def run(self, *command: str | Path, agent: str = "one") -> subprocess.CompletedProcess[str]:
        return self.guard.run(agent, list(command), {"RES_OPTIONS": "attempts:1"})

    def curl(self, name: str, server: HttpsServer, *options: str, agent: str = "one") -> subprocess.CompletedProcess[str]:
        """Fetch by a name that leads to the server without name servers."""
        url = f"https://{name}:{server.port}/"
        there = ["--resolve", f"{name}:{server.port}:{server.host}", "--cacert", str(server.roots)]
        return self.run("curl", "-sS", "--max-time", "40", *there, *options, url, agent=agent)

    def last(self, resource: str) -> dict[str, Any]:
        """The recording of the last flow to a resource, once it has ended."""
        # Read as the command line reads it, but without its start for each look.
        (flow,) = summaries(Reader(self.guard.folder / "state" / "log"), Filters(resource=resource, limit=1))
        deadline = time.monotonic() + 20
        while (recording := load(self.guard.config, flow.flow)).end_ns is None:
            assert time.monotonic() < deadline, f"flow {flow.flow} did not end"
        found: dict[str, Any] = msgspec.to_builtins(recording)
        return found


def steps(recording: dict[str, Any]) -> list[dict[str, Any]]:
    return [item for item in recording["items"] if "form" in item]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with ExitStack() as stack:
        client = certificate("client.example.com")
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="client-")))
        roots, _ = client.write(folder)
        api = stack.enter_context(https_server("127.77.0.1", ["api.example.com", "alt.example.com", "x.cdn.example.com"]))
        asks = stack.enter_context(https_server("127.77.0.2", ["asks.example.com"]))
        mutual = stack.enter_context(https_server("127.77.0.3", ["mutual.example.com"], "secp384r1", roots))
        closed = stack.enter_context(https_server("127.77.0.4", ["closed.example.com"]))
        free = "127.77.0.5", free_port("127.77.0.5")
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
{_resource("free", f"{free[0]}:{free[1]}", "free.example.com")}
"""
        agents = {name: guard.Agent(("bot",)) for name in ("one", "two")}
        agents["watched"] = guard.Agent(mode="observe")
        setup = guard.Setup(agents=agents, resources={}, policies=POLICIES, tables=tables)
        with guard.guarding(setup) as running:
            yield World(running, names, api, asks, mutual, closed, free)
            assert "Traceback" not in "".join(running.lines)


def _resource(name: str, address: str, *names: str) -> str:
    environment = "open" if name in ("api", "mutual", "free") else "other"
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
    assert list(step["policies"]) == ["bots call the api"]
    assert (step["reply"]["status"], step["reply"]["tag"]) == ("ok", "TLS 1.3")
    assert recording["facts"]["protocol"] == "tls"
    assert ["name", "api.example.com"] in [list(pair) for pair in recording["facts"]["details"]]


def test_pinned_certificates_and_both_versions(world: World) -> None:
    api = world.api
    where = (api.host, str(api.port), "x.cdn.example.com", str(api.roots), "TLSv1_3 TLSv1_2")
    got = world.run(sys.executable, "-c", PIN, *where, agent="two")
    assert got.stdout.splitlines() == [f"{api.fingerprint}|{version}|hello from the server" for version in ("TLSv1.3", "TLSv1.2")]
    assert steps(world.last("api"))[0]["reply"]["tag"] == "TLS 1.2"


def test_the_alpn_that_comes_of_it_where_it_is_in_the_clear(world: World) -> None:
    assert world.curl("x.cdn.example.com", world.api, "--tls-max", "1.2", agent="two").stdout == "hello from the server"
    assert steps(world.last("api"))[0]["reply"]["tag"] == "TLS 1.2 http/1.1"


def test_requests_with_a_clients_certificate_and_a_second_hello(world: World, tmp_path: Path) -> None:
    """The server takes one curve only, for which OpenSSL sends no key at first; in TLS 1.3 it asks again."""
    mutual = world.mutual
    certificate_file, key = certificate("client.example.com").write(tmp_path)
    tmp_path.chmod(0o755)
    options = ["--cert", str(certificate_file), "--key", str(key)]
    assert world.curl("mutual.example.com", mutual, *options).stdout == "hello from the server"
    # The server closes with curl's request unread: now and then TCP's reset overtakes its word, as it does without hostguard.
    alone = [world.curl("mutual.example.com", mutual) for _ in range(5)]
    assert all(attempt.returncode != 0 for attempt in alone)
    assert any("certificate required" in attempt.stderr for attempt in alone), "the server's own word passes"
    there = f"https://mutual.example.com:{mutual.port}/"
    patched = REQUESTS.replace(
        "import sys, requests\n",
        "import socket, sys, requests\n"
        "real = socket.getaddrinfo\n"
        f"socket.getaddrinfo = lambda host, *more: real('{mutual.host}', *more)\n",
    )
    got = world.run(sys.executable, "-c", patched, there, str(mutual.roots), str(certificate_file), str(key))
    digest = sha256(b"x" * 100_000).hexdigest()
    assert got.stdout == f"hello from the server|{digest}|hello from the server\n", got.stderr


def test_bytes_each_way_are_counted(world: World) -> None:
    url = f"https://api.example.com:{world.api.port}/big"
    command = f"curl -sS --max-time 60 --cacert {world.api.roots} {url} | sha256sum"
    got = world.run("sh", "-c", command)
    assert got.stdout.split()[0] == sha256(bytes(range(256)) * (BIG_BYTES // 256)).hexdigest()
    recording = world.last("api")
    assert recording["server_bytes"] > BIG_BYTES - 256 > 10_000 > recording["client_bytes"] > 500


def test_another_name_gets_the_alert_and_the_server_hears_nothing(world: World) -> None:
    policy = "hostguard: servers are called by their names"
    before = len(world.api.accepted)
    got = world.curl("evil.example.com", world.api, agent="two")
    assert (got.returncode, got.stdout) == (35, "")
    assert "alert access denied" in got.stderr
    assert len(world.api.accepted) == before
    recording = world.last("api")
    (step,) = steps(recording)
    assert (step["verdict"], list(step["policies"])) == ("deny", [policy])
    assert "evil.example.com is no name of resource api" in step["hint"]
    assert policy in recording["close_reason"]


def test_a_name_that_the_agent_did_not_ask_name_servers_for(world: World) -> None:
    """Both are names of the resource, and lead to one address: what it asked for is not what it calls."""
    client = ["openssl", "s_client", "-brief", "-CAfile", str(world.api.roots)]
    where = ["-connect", f"api.example.com:{world.api.port}"]
    for name, agrees in (("api.example.com", True), ("alt.example.com", False)):
        got = world.run(*client, *where, "-servername", name)
        assert (got.returncode == 0) is agrees, got.stderr
    assert "tlsv1 alert access denied" in got.stderr
    (step,) = steps(world.last("api"))
    assert step["hint"] == "the agent asked name servers for api.example.com, and calls alt.example.com"


def test_without_a_permit_there_is_no_way(world: World) -> None:
    got = world.curl("closed.example.com", world.closed)
    assert (got.returncode, len(world.closed.accepted)) == (35, 0)
    (step,) = steps(world.last("closed"))
    assert step["reason"] == "no policy permits connect on closed (closed.example.com) for agent one"


def test_what_speaks_no_tls_is_refused(world: World) -> None:
    got = world.run("curl", "-sS", "--max-time", "20", f"http://{world.closed.address}/")
    assert got.returncode != 0
    assert len(world.closed.accepted) == 0
    recording = world.last("closed")
    assert recording["fault"] == "client"
    assert "no TLS" in recording["close_reason"]


@pytest.mark.parametrize(("answer", "said"), [("approve", "hello from the server"), ("deny", "")])
def test_held_the_client_waits_until_a_user_answers(world: World, answer: str, said: str) -> None:
    watch = subprocess.Popen(
        [guard.HOSTGUARD, "requests", "watch", "--json", "--config", str(world.guard.config)], stdout=subprocess.PIPE, text=True
    )
    before = len(world.asks.accepted)
    there = ["--resolve", f"asks.example.com:{world.asks.port}:{world.asks.host}", "--cacert", str(world.asks.roots)]
    url = f"https://asks.example.com:{world.asks.port}/"
    process = world.guard.begin("one", ["curl", "-sS", "--max-time", "60", *there, url], {})
    assert watch.stdout is not None
    request = json.loads(watch.stdout.readline())
    watch.kill()
    watch.communicate()
    assert request["summary"].startswith("connect to asks.example.com for h2, http/1.1")
    assert (request["approvers"], len(world.asks.accepted)) == (["group dba"], before)
    assert world.guard.cli("requests", answer, request["id"]).returncode == 0
    stdout, stderr = process.communicate(timeout=60)
    assert stdout == said, stderr
    assert ("alert access denied" in stderr) is (answer == "deny")
    assert len(world.asks.accepted) - before == (answer == "approve")


def test_a_client_that_gives_up_withdraws_its_request(world: World) -> None:
    got = world.curl("asks.example.com", world.asks, "--max-time", "1")
    assert got.returncode == 28
    recording = world.last("asks")
    assert steps(recording)[0]["verdict"] == "hold"
    assert recording["close_reason"] == "the client closed the connection"
    assert world.guard.ask("requests", "list", "--all")[-1]["state"] == "withdrawn"


def test_observed_everything_passes_and_the_record_says_what_would_have_been(world: World) -> None:
    for name, server in (("closed.example.com", world.closed), ("alt.example.com", world.asks)):
        got = world.curl(name, server, "--insecure", agent="watched")
        assert got.stdout == "hello from the server", got.stderr
    (step,) = steps(world.last("asks"))
    assert (step["verdict"], step["would"]) == ("allow", "deny")
    got = world.run("curl", "-sS", "--max-time", "20", f"http://{world.api.address}/", agent="watched")
    assert got.returncode != 0
    (passed,) = world.last("api")["items"]
    assert (passed["kind"], "client: no TLS" in passed["text"]) == ("opaque", True)


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """What the process prints up to the line with these words; to its end if there is none."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if words in line:
            break
    return said


@contextmanager
def listening(*command: str | Path, sign: str) -> Iterator[subprocess.Popen[str]]:
    """A server of its own process, once it has printed its sign."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True)
    try:
        said = read_until(process, sign)
        assert sign in said, said
        yield process
    finally:
        process.kill()
        process.communicate()


def test_early_data_is_not_lost(world: World, tmp_path: Path) -> None:
    """What comes behind the hello waits for the server's answer; a server does not wait for it."""
    host, port = world.free
    roots, key = certificate("free.example.com").write(tmp_path)
    (tmp_path / "early").write_text("early bird\n")
    tmp_path.chmod(0o777)
    there = ["-connect", f"{host}:{port}", "-servername", "free.example.com", "-tls1_3"]
    openssl = ["stdbuf", "-oL", "openssl"]
    server = [*openssl, "s_server", "-early_data", "-accept", f"{host}:{port}", "-cert", str(roots), "-key", str(key)]
    with listening(*server, sign="ACCEPT") as serving:
        for options, sign in (
            (["-sess_out", f"{tmp_path}/session"], "New Session Ticket arrived"),
            (["-sess_in", f"{tmp_path}/session", "-early_data", f"{tmp_path}/early"], "Early data was accepted"),
        ):
            client = world.guard.begin("one", [*openssl, "s_client", *there, *options], {})
            assert sign in read_until(client, sign)
            client.communicate(timeout=60)
        assert "early bird" in read_until(serving, "early bird")


NODE = """
const http2 = require("http2"), fs = require("fs"), [host, port, cert, key] = process.argv.slice(1);
const server = http2.createSecureServer({cert: fs.readFileSync(cert), key: fs.readFileSync(key)});
server.on("stream", (stream, head) => { stream.respond({":status": 200}); stream.end(`two${head[":path"]} `); });
server.listen(Number(port), host, () => console.log("up"));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="no HTTP/2 server is here: Node is not installed")
def test_http2(world: World, tmp_path: Path) -> None:
    host, port = world.free
    paths = certificate("free.example.com").write(tmp_path)
    tmp_path.chmod(0o755)
    url = f"https://free.example.com:{port}"
    there = ["--resolve", f"free.example.com:{port}:{host}", "--cacert", str(paths[0]), "--max-time", "40", "-sS"]
    with listening("node", "-e", NODE, host, str(port), *paths, sign="up"):
        got = world.run("curl", *there, "--http2", "-w", "%{http_version}", *(f"{url}/{n}" for n in range(3)))
    assert (got.stdout, got.stderr) == ("two/0 2two/1 2two/2 2", "")
    (step,) = steps(world.last("free"))
    assert " alpn=h2,http/1.1 " in step["text"]


def test_the_name_is_what_explain_and_rerun_judge(world: World) -> None:
    told = world.guard.ask("policy", "explain", "--agent", "one", "--resource", "api", "connect sni=api.example.com alpn=h2")
    assert told["verdict"] == "allow"
    flow = world.last("free")["facts"]["flow"]
    again = world.guard.cli("recordings", "rerun", str(flow))
    assert "0 of 1 operations would be decided otherwise today" in again.stdout


def test_a_reload_ends_no_session_that_was_allowed(world: World) -> None:
    where = [world.api.host, str(world.api.port), "x.cdn.example.com", str(world.api.roots)]
    client = world.guard.begin("two", [sys.executable, "-c", WAITS, *where], {})
    assert "ready" in read_until(client, "ready")
    assert world.guard.process is not None
    before = world.guard.status()["policy"]["epoch"]
    world.guard.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 30
    while world.guard.status()["policy"]["epoch"] == before:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert client.communicate("go\n", timeout=60)[0] == "hello from the server\n"
