"""Agents that speak TLS, servers that do: every way in, every way on, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import guard
import logins
import pytest
import servers
from certificates import Authority, Certificate, self_signed
from guard import Guard
from servers import Server
from tls_front import Front, front

PERMIT = '@id("all") permit (principal, action, resource);'
RESOURCE = """
[resources.{name}]
protocol = "postgres"
addresses = ["127.0.0.1:{port}"]
{more}
"""
VERIFIED = 'server_tls = "verify-full"\nserver_roots = "{roots}"'
PSQL15 = servers.DEBIAN_15 / "psql"
ENCRYPTED = "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def shop(authority: Authority) -> Iterator[Server]:
    """PostgreSQL 15 with TLS."""
    with servers.server(15) as running:
        logins.show(running, authority.issue("127.0.0.1", "localhost"))
        yield running


@pytest.fixture(scope="module")
def fronted(postgres18: Server, authority: Authority) -> Iterator[Front]:
    """PostgreSQL 18 with TLS in front of it."""
    with front((postgres18.host, postgres18.port), authority.issue("127.0.0.1", "localhost")) as running:
        yield running


@contextmanager
def guarding(authority: Authority, resources: dict[str, tuple[int, str]]) -> Iterator[Guard]:
    """A guard with these resources: name to port, and what else is said of it; {roots} is the authority's file."""
    setup = guard.Setup(agents={"bot": guard.Agent()}, resources={}, policies=PERMIT, workers=1)
    with guard.prepared(setup) as prepared:
        file = prepared.folder / "roots.pem"
        file.write_text(authority.pem)
        secret = prepared.folder / "secret"
        secret.touch(0o600)
        secret.write_text(logins.SECRET)
        sections = [
            RESOURCE.format(name=name, port=port, more=more.format(roots=file, folder=prepared.folder))
            for name, (port, more) in resources.items()
        ]
        prepared.config.write_text(prepared.config.read_text() + "".join(sections))
        prepared.start()
        yield prepared


OWN = (
    VERIFIED
    + """
client_tls = "require"
client_password = "anything"
credential = "app"
[credentials.app]
user = "scrammer"
secret = "file:{folder}/secret"
"""
)


@pytest.fixture(scope="module")
def own(encrypted15: Server, authority: Authority) -> Iterator[Server]:
    """PostgreSQL 15 with TLS, whose logins are hostguard's."""
    with logins.roles(encrypted15):
        logins.show(encrypted15, authority.issue("127.0.0.1"))
        yield encrypted15


@pytest.fixture(scope="module")
def running(authority: Authority, shop: Server, fronted: Front, own: Server) -> Iterator[Guard]:
    resources = {
        "shop": (shop.port, VERIFIED),
        "modern": (fronted.port, VERIFIED + '\nclient_tls = "off"'),
        "own": (own.port, OWN),
    }
    with logins.roles(shop), guarding(authority, resources) as found:
        yield found


def roots(running: Guard) -> dict[str, str]:
    """What an agent has that verifies its server: the file of the server's own authority; `hostguard exec` adds to it."""
    return {"PGSSLROOTCERT": str(running.folder / "roots.pem")}


def psql(running: Guard, port: int, *statements: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "postgres", "PGDATABASE": "postgres"}
    commands = [word for statement in statements for word in ("-c", statement)]
    return running.run("bot", [PSQL15, "-X", "-A", "-t", *commands], environment | roots(running) | more)


def answer(running: Guard, port: int, *statements: str, **more: str) -> str:
    done = psql(running, port, *statements, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_sslmode_gets_through_and_the_server_sees_tls(running: Guard, shop: Server) -> None:
    one = f"{PSQL15} -X -A -t -c '{ENCRYPTED}' -h 127.0.0.1 -U postgres -p {shop.port}"
    modes = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
    done = running.run("bot", ["sh", "-c", "".join(f"PGSSLMODE={mode} {one}\n" for mode in modes)], roots(running))
    assert (done.stdout.split(), done.stderr) == (["t|TLSv1.3"] * len(modes), "")


def shown(running: Guard) -> str:
    """The record of the latest flow."""
    flow = max(flow["flow"] for flow in running.ask("recordings", "list"))
    return running.cli("recordings", "show", str(flow)).stdout


def test_the_record_tells_of_both_links(running: Guard, shop: Server) -> None:
    answer(running, shop.port, "SELECT 1", PGSSLMODE="verify-full", PGHOST="localhost")
    told = shown(running)
    print(told)
    assert "TLSv1.3 TLS_AES_256_GCM_SHA384 with the agent, for localhost, certificate " in told
    assert "TLSv1.3 TLS_AES_256_GCM_SHA384 with the server, verify-full for 127.0.0.1, certificate " in told


# -- what agents may ask for -----------------------------------------------------------------------------------------------------

BOUND = {"PGPASSWORD": "anything", "PGSSLMODE": "verify-full", "PGCHANNELBINDING": "require"}


def test_an_agent_that_wants_its_login_bound_gets_it_from_hostguard(running: Guard, own: Server) -> None:
    """hostguard is the server of that login, so it is bound to the certificate that it shows."""
    assert answer(running, own.port, "SELECT current_user", **BOUND) == "scrammer"
    assert "by credential app" in shown(running)
    wrong = psql(running, own.port, "SELECT 1", **BOUND | {"PGPASSWORD": "wrong"})
    assert "password authentication failed" in wrong.stderr


def test_a_bound_login_of_the_agents_own_does_not_pass_and_is_told_why(running: Guard, shop: Server) -> None:
    mine = {"PGUSER": "scrammer", "PGPASSWORD": logins.SECRET, "PGSSLMODE": "require"}
    assert answer(running, shop.port, "SELECT current_user", PGCHANNELBINDING="disable", **mine) == "scrammer"
    assert "have hostguard log in" in psql(running, shop.port, "SELECT 1", PGCHANNELBINDING="require", **mine).stderr
    assert answer(running, shop.port, "SELECT current_user", **mine | {"PGSSLMODE": "disable"}) == "scrammer"


def test_a_resource_may_require_tls_or_have_none(running: Guard, own: Server, fronted: Front) -> None:
    plain = psql(running, own.port, "SELECT 1", PGSSLMODE="disable", PGPASSWORD="anything")
    assert "connect with sslmode=require or stronger" in plain.stderr
    assert "server does not support SSL" in psql(running, fronted.port, "SELECT 1", PGSSLMODE="require").stderr
    assert answer(running, fronted.port, "SHOW server_version_num", PGSSLMODE="prefer") >= "180000"


CANCELLED = Path(__file__).parent / "agents" / "cancelled.py"


@pytest.mark.parametrize("place", ["shop", "modern", "own"])
def test_what_is_cancelled_by_tls_is_cancelled(running: Guard, shop: Server, own: Server, fronted: Front, place: str) -> None:
    """psycopg's libpq 18 asks by TLS; a key of PostgreSQL 18 has 32 bytes. The server hears of it by TLS as well."""
    port = {"shop": shop.port, "modern": fronted.port, "own": own.port}[place]
    words = f"host=127.0.0.1 port={port} user=postgres dbname=postgres password=anything"
    mode = "disable" if place == "modern" else "verify-full"
    before = len(fronted.handshakes)
    done = running.run("bot", [sys.executable, CANCELLED, f"{words} sslmode={mode}"], roots(running))
    assert (done.stdout, done.stderr) == ("57014\n42\n", "")
    assert len(fronted.handshakes) - before >= (2 if place == "modern" else 0)


# -- servers that are not as they should be --------------------------------------------------------------------------------------


def refusals(authority: Authority) -> dict[str, tuple[Certificate, bytes, str]]:
    """Name to a server's certificate, its answer to an SSLRequest, and what the agent is to hear of it."""
    good = authority.issue("127.0.0.1")
    return {
        "expired": (authority.issue("127.0.0.1", begins=-5), b"S", "its certificate has expired: renew it on the server"),
        "early": (authority.issue("127.0.0.1", begins=5), b"S", "its certificate is not valid yet: look at both clocks"),
        "named": (authority.issue("other.example"), b"S", "its certificate is not for 127.0.0.1: set server_name"),
        "unknown": (
            Authority("another").issue("127.0.0.1"),
            b"S",
            "its certificate is signed by an authority that hostguard does not trust: set server_roots",
        ),
        "selfsigned": (self_signed(), b"S", "its certificate is signed by itself: set server_roots"),
        "plain": (good, b"N", 'it has no TLS, or somebody on the way to it says so: turn it on there, or say server_tls = "off"'),
        "stuffed": (good, b"SS", "bytes came along with its consent to TLS, which nobody vouches for"),
        "failing": (good, b"E\0\0\0\5\0", "it answers the request for TLS with an error"),
        "strange": (good, b"H", "it answers the request for TLS with what is no answer"),
        "closing": (good, b"", "it closed the connection when it was asked for TLS"),
    }


LESS = {
    "ca": ("other.example", 'server_tls = "verify-ca"\nserver_roots = "{roots}"'),
    "renamed": ("other.example", VERIFIED + '\nserver_name = "other.example"'),
    "any": ("127.0.0.1", 'server_tls = "require"'),
    "direct": ("127.0.0.1", VERIFIED + '\nserver_negotiation = "direct"'),
}


@pytest.fixture(scope="module")
def bad(authority: Authority, postgres18: Server) -> Iterator[tuple[Guard, dict[str, Front]]]:
    """A guard before servers of which each is another than it should be, or less is asked of."""
    behind = postgres18.host, postgres18.port
    with ExitStack() as stack:
        fronts, resources = {}, {}
        for name, (certificate, said, _) in refusals(authority).items():
            fronts[name] = stack.enter_context(front(behind, certificate, said))
            resources[name] = fronts[name].port, VERIFIED
        for name, (named, more) in LESS.items():
            signer = Authority("another") if name == "any" else authority
            fronts[name] = stack.enter_context(front(behind, signer.issue(named)))
            resources[name] = fronts[name].port, more
        resources["maybe"] = postgres18.port, 'server_tls = "prefer"'
        yield stack.enter_context(guarding(authority, resources)), fronts


@pytest.fixture(scope="module")
def heard(bad: tuple[Guard, dict[str, Front]], authority: Authority) -> dict[str, str]:
    """What an agent hears of each server that is not as it should be; one agent for all of them, which is quicker."""
    running, fronts = bad
    one = f"{PSQL15} -X -c 'SELECT 1' -h 127.0.0.1 -U postgres -p"
    script = "".join(f"echo '#{name}' >&2; {one} {fronts[name].port}\n" for name in refusals(authority))
    done = running.run("bot", ["sh", "-c", script], {})
    assert done.stdout == ""
    return {part.split("\n")[0]: part for part in done.stderr.split("#")[1:]}


@pytest.mark.parametrize("name", refusals(Authority()))
def test_a_server_that_is_not_as_it_should_be_hears_nothing(
    bad: tuple[Guard, dict[str, Front]], heard: dict[str, str], authority: Authority, name: str
) -> None:
    running, fronts = bad
    said = refusals(authority)[name][2]
    sentence = f'hostguard does not connect you to the server of {name} (server_tls = "verify-full"): {said}'
    assert sentence in heard[name]
    assert any(sentence in fault["reason"] for fault in running.status()["faults"])
    assert fronts[name].handshakes == []


@pytest.mark.usefixtures("heard")
def test_why_a_server_was_refused_is_on_record(bad: tuple[Guard, dict[str, Front]]) -> None:
    assert "server_tls: hostguard does not connect you to the server of closing" in shown(bad[0])


def test_less_is_asked_of_a_server_where_configuration_says_so(bad: tuple[Guard, dict[str, Front]], postgres18: Server) -> None:
    running, fronts = bad
    one = f"{PSQL15} -X -A -t -c 'SELECT 41 + 1' -h 127.0.0.1 -U postgres -p"
    ports = [postgres18.port, *(fronts[name].port for name in LESS)]
    done = running.run("bot", ["sh", "-c", "".join(f"{one} {port}\n" for port in ports)], {})
    assert (done.stdout.split(), done.stderr) == (["42"] * 5, "")
    assert [fronts[name].handshakes for name in LESS] == [["postgresql"]] * 4


# -- agents that do what no good driver does -------------------------------------------------------------------------------------

RAW = """
import socket, ssl, struct, sys
port, what, roots = int(sys.argv[1]), sys.argv[2], sys.argv[3]
sock = socket.create_connection(("127.0.0.1", port), timeout=20)
SSL, GSS = (struct.pack(">II", 8, code) for code in (80877103, 80877104))
START = struct.pack(">II", 24, 196608) + b"user\\0postgres\\0\\0"
START = struct.pack(">I", len(START)) + START[4:]
def tls(alpn=("postgresql",), roots=roots):
    context = ssl.create_default_context(cafile=roots)
    if alpn:
        context.set_alpn_protocols(alpn)
    return context.wrap_socket(sock, server_hostname="127.0.0.1")
def hear(sock):
    said = b""
    try:
        while (more := sock.recv(4096)) and b"Z\\0\\0\\0\\5I" not in said:
            said += more
            if said.endswith(b"Z\\0\\0\\0\\5I"):
                break
    except OSError as error:
        said += type(error).__name__.encode()
    return said.decode("latin1").replace("\\0", " ")
try:
    if what == "stuffed":
        sock.sendall(SSL + START); print(hear(sock))
    elif what == "gss":
        sock.sendall(GSS); print(sock.recv(1)); sock.sendall(SSL); print(sock.recv(1))
        secure = tls(); secure.sendall(START); print(hear(secure)[-6:])
    elif what == "twice":
        sock.sendall(SSL); print(sock.recv(1)); secure = tls(); secure.sendall(SSL); print(hear(secure))
    elif what == "direct":
        secure = tls(); secure.sendall(START); print(hear(secure)[-6:])
    elif what == "nameless":
        secure = tls(()); secure.sendall(START); print(hear(secure))
    elif what == "wrongly named":
        sock.sendall(SSL); print(sock.recv(1)); tls(("h2",))
    elif what == "http":
        sock.sendall(SSL); print(sock.recv(1)); sock.sendall(b"GET / HTTP/1.1\\r\\n\\r\\n"); print(hear(sock))
    elif what == "distrust":
        sock.sendall(SSL); print(sock.recv(1)); tls(roots="/etc/ssl/certs/ca-certificates.crt")
    elif what == "plain":
        sock.sendall(START); print(hear(sock))
    elif what == "cut":
        sock.sendall(SSL); print(sock.recv(1)); secure = tls(); secure.sendall(START); print(hear(secure)[-6:])
        socket.socket(fileno=secure.detach()).close()
except OSError as error:
    print(type(error).__name__, error)
"""
ODD = {
    "stuffed": ("bytes behind an SSLRequest before its answer", "bytes behind an SSLRequest before its answer"),
    "gss": ("b'N'\nb'S'\nZ", ""),
    "twice": ("an SSLRequest inside of TLS", "an SSLRequest inside of TLS"),
    "direct": ("Z", ""),
    "nameless": ("direct TLS must name its protocol (ALPN): postgresql", ""),
    "wrongly named": ("alert no application protocol", "it offers protocols (ALPN), but not postgresql"),
    "http": ("b'S'", "no TLS with the agent: it speaks HTTP"),
    "distrust": ("CERTIFICATE_VERIFY_FAILED", "no TLS with the agent: it does not trust hostguard's authority"),
    "cut": ("b'S'\nZ", ""),
}
"""To what it hears, and what is told of it."""


@pytest.fixture(scope="module")
def odd(running: Guard, shop: Server) -> dict[str, str]:
    """What each of them hears."""
    bundle = running.folder / "run" / "bundle.pem"
    lines = "".join(f"echo '#{what}'; \"$0\" -c \"$1\" {shop.port} '{what}' {bundle}\n" for what in ODD)
    done = running.run("bot", ["sh", "-c", lines, sys.executable, RAW], {})
    assert done.stderr == ""
    return {part.split("\n")[0]: part.split("\n", 1)[1].strip() for part in done.stdout.split("#")[1:]}


@pytest.mark.parametrize("what", ODD)
def test_an_odd_agent_is_served_or_told(running: Guard, odd: dict[str, str], what: str) -> None:
    hears, told = ODD[what]
    assert hears in odd[what]
    assert any(told in fault["reason"] for fault in running.status()["faults"])
    if what == "cut":
        assert "the client closed the connection without ending its TLS session" in shown(running)


def test_status_tells_how_each_link_is_protected(running: Guard, bad: tuple[Guard, dict[str, Front]]) -> None:
    told = " ".join(running.cli("status").stdout.split())
    assert "TLS with agents: offer (certificate for another 2" in told
    assert "TLS with agents: require" in told
    assert "TLS with agents: off" in told
    assert "with the server: verify-full, credential app" in told
    facts = {resource["name"]: resource for resource in bad[0].status()["resources"]}
    assert (facts["maybe"]["server_tls"], facts["ca"]["server_tls"], facts["named"]["server_tls"]) == (
        "prefer",
        "verify-ca",
        "verify-full",
    )
