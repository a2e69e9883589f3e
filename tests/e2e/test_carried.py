"""Links that the broker carries, through the whole daemon: client certificates, a password in the clear, cancels, rotation."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import guard
import logins
import memory
import pytest
import servers
from certificates import Authority
from e2e.talk import Talk, guarded
from guard import Guard
from logins import SECRET
from servers import Server

CANCELLED = Path(__file__).parent / "agents" / "cancelled.py"
STAYS = """
import psycopg, sys
with psycopg.connect("", autocommit=True) as connection:
    print(*connection.execute("SELECT 1").fetchone(), flush=True)
    sys.stdin.readline()
    try:
        connection.execute("SELECT 2")
    except psycopg.Error as error:
        print(error.sqlstate, error)
"""
CREDENTIALS = """
server_roots = "{folder}/roots.pem"
credential = "app"

[credentials.app]
user = "plain"
secret = "file:{folder}/secrets/password"
certificate = "{folder}/secrets/certified.pem"
key = "file:{folder}/secrets/certified.key"
methods = ["cleartext"]
refresh_s = 86400
agents.certified = { user = "certified" }
"""
WHO = "SELECT current_user, ssl, client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
RULES = "hostssl all certified all cert\nhostssl all plain all password\nhost all plain,certified all reject\n"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def shop(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """PostgreSQL 18 that lets one role in by its certificate, another by its password as it is; nobody by less."""
    roots = tmp_path_factory.mktemp("roots") / "roots.pem"
    roots.write_text(authority.pem)
    roots.parent.chmod(0o755)  # the server runs as somebody else
    certificate = authority.issue("127.0.0.1", "localhost")
    with servers.server(18, {"ssl_ca_file": str(roots)}, certificate=certificate) as running:
        with running.connect() as connection:
            connection.execute(f"CREATE ROLE plain LOGIN PASSWORD '{SECRET}'; CREATE ROLE certified LOGIN".encode())
        rules = running.folder / "data" / "pg_hba.conf"
        rules.write_text(RULES + rules.read_text())
        logins.reload(running)
        yield running


def write(running: Guard, name: str, data: bytes) -> None:
    """Put a secret where the configuration says."""
    place = running.folder / "secrets" / name
    place.parent.mkdir(mode=0o700, exist_ok=True)
    place.touch(0o600)
    place.write_bytes(data)


def certify(running: Guard, authority: Authority, name: str) -> None:
    """Another client certificate."""
    made = authority.issue(name)
    write(running, "certified.pem", made.chain)
    write(running, "certified.key", made.key)


@pytest.fixture(scope="module")
def running(shop: Server, authority: Authority) -> Iterator[Guard]:
    setup = guard.Setup(
        agents={"plain": guard.Agent(), "certified": guard.Agent()},
        resources={"shop": f"{shop.host}:{shop.port}"},
        policies='@id("all") permit (principal, action, resource);',
        server_tls="verify-full",
        tags=CREDENTIALS,
        workers=1,
    )
    with guard.prepared(setup) as prepared:
        prepared.config.write_text(prepared.config.read_text().replace("{folder}", str(prepared.folder)))
        (prepared.folder / "roots.pem").write_text(authority.pem)
        write(prepared, "password", SECRET.encode())
        certify(prepared, authority, "certified")
        prepared.start()
        yield prepared


def begin(running: Guard, server: Server, agent: str) -> AbstractContextManager[Talk]:
    return guarded(running, agent, server, "postgres")


def latest(running: Guard) -> str:
    """The record of the latest flow."""
    flow = max(flow["flow"] for flow in running.ask("recordings", "list"))
    return running.cli("recordings", "show", str(flow)).stdout


def attempt(running: Guard, server: Server, agent: str) -> str:
    """What an agent hears that can't log in; nothing when it can. By TLS alone: libpq would try a second time without."""
    program = [sys.executable, "-c", "import psycopg; psycopg.connect('')"]
    return running.run(agent, program, {**server.environment(), "PGSSLMODE": "require"}).stderr


@pytest.mark.parametrize("agent", ["plain", "certified"])
def test_a_secret_that_goes_into_tls_logs_in(running: Guard, shop: Server, agent: str) -> None:
    with begin(running, shop, agent) as talk:
        assert talk(WHO) == [f"{agent}|t|/CN=certified"]
    assert f"{agent} to database postgres by credential app" in latest(running)
    assert "TLSv1.3 with the server, verify-full" in " ".join(latest(running).split())


@pytest.mark.parametrize("agent", ["plain", "certified"])
def test_what_is_cancelled_is_cancelled(running: Guard, shop: Server, agent: str) -> None:
    done = running.run(agent, [sys.executable, CANCELLED], shop.environment())
    assert (done.stdout, done.stderr) == ("57014\n42\n", "")


def test_another_password_is_read_when_the_server_refuses_the_old_one(running: Guard, shop: Server) -> None:
    with shop.connect() as connection:
        connection.execute("ALTER ROLE plain PASSWORD 'another one'")
        try:
            write(running, "password", b"another one")
            with begin(running, shop, "plain") as talk:
                assert talk("SELECT current_user") == ["plain"]
            assert "password authentication failed" in latest(running), "once, and then it was another one"
            connection.execute("ALTER ROLE plain PASSWORD 'a third'")
            assert 'the server refused the credential "app"' in attempt(running, shop, "plain")
        finally:
            connection.execute(f"ALTER ROLE plain PASSWORD '{SECRET}'".encode())
            write(running, "password", SECRET.encode())
    with begin(running, shop, "plain") as talk:
        assert talk("SELECT current_user") == ["plain"]


def test_another_certificate_is_shown_at_the_next_login(running: Guard, shop: Server, authority: Authority) -> None:
    """One that the server does not accept in TLS, one that is for somebody else; the record says which."""
    try:
        for signer, name, words in (
            (Authority("another"), "certified", "the server ends TLS: TLSV1_ALERT_UNKNOWN_CA"),
            (authority, "else", 'certificate authentication failed for user "certified"'),
        ):
            certify(running, signer, name)
            assert "hostguard" in attempt(running, shop, "certified")
            assert words in latest(running)
    finally:
        certify(running, authority, "certified")
    with begin(running, shop, "certified") as talk:
        assert talk("SELECT current_user") == ["certified"]


def test_the_secrets_stay_where_they_are(running: Guard, shop: Server) -> None:
    key = (running.folder / "secrets" / "certified.key").read_bytes().split(b"\n")[1]
    wanted = {"password": SECRET.encode(), "key": key}
    with begin(running, shop, "plain") as talk:
        assert talk("SELECT 1") == ["1"]
        assert running.process is not None
        broker = int(running.status()["broker"]["pid"])
        assert "password" in memory.found_in(broker, wanted)
        others = [pid for pid in memory.descendants(running.process.pid) if pid != broker]
        assert {pid: found for pid in others if (found := memory.found_in(pid, wanted))} == {}


def test_a_restart_ends_what_the_broker_carries_and_says_so(running: Guard, shop: Server) -> None:
    agent = running.begin("plain", [sys.executable, "-c", STAYS], shop.environment())
    assert agent.stdout is not None
    assert agent.stdout.readline() == "1\n"
    told = running.ask("restart")
    assert (told["flows"], told["carried"]) == (1, 1)
    assert "08006 the link to the server has ended: hostguard's broker carried it" in agent.communicate("go\n", timeout=60)[0]
    assert "hostguard's broker carried it" in latest(running)
    with begin(running, shop, "plain") as talk:
        assert talk("SELECT 3") == ["3"]
