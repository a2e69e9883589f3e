"""Programs that `hostguard exec` runs trust hostguard's certificates, and still whom they trusted before."""

from __future__ import annotations

import contextlib
import datetime
import json
import shutil
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import guard
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from hostguard.agent.authority.bundle import certificates, system_bundle
from hostguard.agent.authority.issue import make_authority, make_leaf
from hostguard.agent.authority.names import of_texts
from hostguard.agent.authority.store import Store, Terms
from hostguard.agent.authority.variables import VARIABLES

NOW = datetime.datetime.now(datetime.UTC)
ENVIRONMENT = "import json, os; print(json.dumps(dict(os.environ)))"
NODE = 'require("https").get(process.argv[1], r => console.log(r.statusCode)).on("error", e => console.log(e.code))'
URL = "https://localhost:{port}/"
PROGRAMS: dict[str, list[str]] = {
    "curl": ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", URL],
    "python": [sys.executable, "-c", "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).status)", URL],
    "requests": [sys.executable, "-c", "import sys, requests; print(requests.get(sys.argv[1]).status_code)", URL],
    "node": ["node", "-e", NODE, URL],
    "git": ["git", "ls-remote", URL],
}


class Answers(BaseHTTPRequestHandler):
    """200 and nothing."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Not into the test's output."""


@contextlib.contextmanager
def https(folder: Path, chain: bytes, key: bytes) -> Iterator[int]:
    """A server with that certificate; yields its port."""
    (folder / "chain.pem").write_bytes(chain)
    (folder / "key.pem").write_bytes(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "chain.pem", folder / "key.pem")
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's machine may have such variables."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def running() -> Iterator[guard.Guard]:
    """A guard with one resource on the loopback, so that its authority may vouch for localhost."""
    setup = guard.Setup(agents={"bot": guard.Agent()}, resources={"shop": "127.0.0.1:5432"}, policies="")
    with guard.guarding(setup) as made:
        yield made


def environment_of(running: guard.Guard, **own: str) -> dict[str, str]:
    """What a guarded program has in its environment."""
    result = running.run("bot", [sys.executable, "-c", ENVIRONMENT], own)
    found: dict[str, str] = json.loads(result.stdout)
    return found


def verdict(program: str, port: int, environment: dict[str, str]) -> bool:
    """Whether the program takes the server's certificate; it connects directly: what it is told is all that matters here."""
    command = [part.replace("{port}", str(port)) for part in PROGRAMS[program]]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment, cwd="/")
    said = (result.stdout + result.stderr).lower()
    refused = any(word in said for word in ("certificate", "unable_to", "self_signed", "ssl"))
    assert refused or result.returncode == 0, said
    return not refused


def leaf_of(running: guard.Guard) -> Any:
    store = Store(running.folder / "state" / "ca", Terms(825, 24, 24), "x")
    return store.sign(of_texts(["localhost"]), datetime.datetime.now(datetime.UTC))


@pytest.fixture(scope="module")
def servers(running: guard.Guard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """Ports of a server with our certificate, and of one with a certificate of somebody who is like us."""
    leaf = leaf_of(running)
    authority, key = make_authority("other", 1, of_texts(["localhost"]), 10, NOW)
    forged = make_leaf(authority, key, of_texts(["localhost"]), 1, NOW)
    folders = [tmp_path_factory.mktemp(name) for name in ("ours", "forged")]
    with https(folders[0], leaf.chain, leaf.key) as good, https(folders[1], forged.chain, forged.key) as bad:
        yield good, bad


@pytest.fixture(scope="module")
def guarded(running: guard.Guard) -> dict[str, str]:
    """What a guarded program has in its environment, for which nothing was set before."""
    with pytest.MonkeyPatch.context() as patched:
        for name in VARIABLES:
            patched.delenv(name, raising=False)
        return environment_of(running)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_guarded_program_trusts_us_and_nobody_who_is_like_us(
    servers: tuple[int, int], guarded: dict[str, str], program: str
) -> None:
    assert shutil.which(PROGRAMS[program][0]) is not None
    good, bad = servers
    assert verdict(program, good, guarded)
    assert not verdict(program, good, {name: value for name, value in guarded.items() if name not in VARIABLES})
    assert not verdict(program, bad, guarded)


def test_the_bundle_has_the_systems_roots_and_ours(running: guard.Guard) -> None:
    system = system_bundle()
    assert system is not None
    bundle = running.folder / "run" / "bundle.pem"
    has = certificates(bundle.read_bytes())
    assert certificates(system.read_bytes()).keys() < has.keys()
    assert bundle.stat().st_mode & 0o777 == 0o644
    exported = running.cli("ca", "export").stdout
    assert certificates(exported.encode()).keys() <= has.keys()
    assert running.cli("ca", "export", "--bundle").stdout == bundle.read_text()
    assert environment_of(running)["SSL_CERT_FILE"] == str(bundle)


def test_a_bundle_of_the_programs_own_keeps_its_roots(running: guard.Guard, tmp_path: Path) -> None:
    authority, key = make_authority("company", 1, of_texts(["localhost"]), 10, NOW)
    leaf = make_leaf(authority, key, of_texts(["localhost"]), 1, NOW)
    own = tmp_path / "company.pem"
    own.write_bytes(leaf.chain.partition(b"-----END CERTIFICATE-----\n")[2])
    environment = environment_of(running, CURL_CA_BUNDLE=str(own), PGSSLROOTCERT="/nowhere/at/all")
    assert environment["PGSSLROOTCERT"] == "/nowhere/at/all", "as without us: the program tells what is wrong"
    assert environment["CURL_CA_BUNDLE"] not in (str(own), environment["SSL_CERT_FILE"])
    exported = certificates(running.cli("ca", "export").stdout.encode())
    has = certificates(Path(environment["CURL_CA_BUNDLE"]).read_bytes())
    assert has.keys() == certificates(own.read_bytes()).keys() | exported.keys(), "none of the system's, which it did not trust"
    ours = leaf_of(running)
    for each in (leaf, ours):
        with https(tmp_path, each.chain, each.key) as port:
            assert verdict("curl", port, environment)


def test_a_new_authority_is_in_all_bundles_at_once_and_signs_later(running: guard.Guard, tmp_path: Path) -> None:
    company, _ = make_authority("company", 1, of_texts(["localhost"]), 10, NOW)
    own = tmp_path / "company.pem"
    own.write_bytes(company.public_bytes(Encoding.PEM))
    extended = Path(environment_of(running, SSL_CERT_FILE=str(own))["SSL_CERT_FILE"])
    bundle = running.folder / "run" / "bundle.pem"
    before = certificates(bundle.read_bytes())
    store = Store(running.folder / "state" / "ca", Terms(825, 24, 24), "x")
    made = store.rotate(of_texts(["localhost", "127.0.0.1", "::1"]), datetime.datetime.now(datetime.UTC))
    deadline = time.monotonic() + 20
    while len(certificates(bundle.read_bytes())) == len(before):
        assert time.monotonic() < deadline, "the running daemon does not notice"
        time.sleep(0.02)
    has = certificates(bundle.read_bytes())
    assert before.keys() < has.keys()
    assert certificates(made.pem).keys() <= has.keys()
    while certificates(made.pem).keys() - certificates(extended.read_bytes()).keys():
        assert time.monotonic() < deadline, "who has roots of its own is not told"
        time.sleep(0.02)
    assert certificates(own.read_bytes()).keys() <= certificates(extended.read_bytes()).keys()
    assert [each["signs"] for each in running.status()["broker"]["authorities"]] == [True, False]
