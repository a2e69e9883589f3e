"""Real clients, a conversation that logs in for them, real servers; and what passes through two TLS sessions."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
import certificates
import logins
import pg8000.dbapi
import psycopg
import pytest
import servers
from logins import SECRET
from relay import Ends, Own, Relay

from hostguard.protocols.events import CancelKey, CredentialRefused, Effect, Started
from hostguard.protocols.postgres import scram
from hostguard.protocols.postgres.standin import Credential

WORD = scram.verifier("wörd".encode(), b"0123456789abcdef")
APP, ASKED = Credential("shop-app", "scrammer"), Credential("shop-app", "scrammer", WORD)
CERTIFICATE = certificates.self_signed()
LEAF = certificates.self_signed()
CLIENT_TLS = Ends(LEAF.context(), LEAF.der)
WHO = "SELECT current_user, current_database()"


@pytest.fixture(scope="module", params=["postgres18", "postgres15"])
def postgres(request: pytest.FixtureRequest) -> Iterator[servers.Server]:
    running: servers.Server = request.getfixturevalue(request.param)
    with logins.roles(running):
        yield running


@pytest.fixture(scope="module")
def encrypted(encrypted15: servers.Server) -> Iterator[servers.Server]:
    with logins.roles(encrypted15):
        logins.show(encrypted15, CERTIFICATE)
        for _ in range(1000):
            with encrypted15.connect(sslmode="prefer") as connection:
                if connection.pgconn.ssl_in_use:
                    break
        yield encrypted15


@contextmanager
def relay(server: servers.Server, own: Own | None, ends: Ends | None = None) -> Iterator[Relay]:
    with Relay((server.host, server.port), own=own, ends=ends or Ends()) as running:
        yield running


def own(credential: Credential = APP, *secrets: str) -> Own:
    return Own(credential, list(secrets or (SECRET,)))


def connect(running: Relay, **how: object) -> psycopg.Connection[object]:
    host, port = running.address
    options = {"user": "anyone", "sslmode": "disable", "autocommit": True, **how}
    return psycopg.connect(host=host, port=port, **options)  # type: ignore[arg-type]


def who(running: Relay, **how: object) -> object:
    with connect(running, **how) as connection:
        return connection.execute(WHO).fetchone()


def effects(running: Relay, kind: type[Effect]) -> list[Effect]:
    return [effect for effect in running.effects if isinstance(effect, kind)]


# The server's side: an agent without a secret.


def test_an_agent_without_a_secret_is_the_credentials_user(postgres: servers.Server) -> None:
    with relay(postgres, own()) as running:
        assert who(running) == ("scrammer", "anyone")
        assert who(running, user="somebody", password="dummy", dbname="postgres") == ("scrammer", "postgres")
        (first, _) = effects(running, Started)
        assert isinstance(first, Started)
        assert (first.session.user, first.session.database) == ("scrammer", "anyone")
        assert len(effects(running, CancelKey)) == 2


def test_md5_in_the_clients_place(postgres: servers.Server) -> None:
    with relay(postgres, own(Credential("old", "digester"))) as running:
        assert who(running) == ("digester", "anyone")


def test_every_driver_logs_in_without_a_password(postgres: servers.Server) -> None:
    async def by_asyncpg(host: str, port: int) -> object:
        connection = await asyncpg.connect(host=host, port=port, user="anyone", ssl=False)
        try:
            return tuple(await connection.fetchrow(WHO))
        finally:
            await connection.close()

    with relay(postgres, own()) as running:
        host, port = running.address
        assert asyncio.run(by_asyncpg(host, port)) == ("scrammer", "anyone")
        connection = pg8000.dbapi.connect("anyone", host=host, port=port)
        try:
            cursor = connection.cursor()
            cursor.execute(WHO)
            assert tuple(cursor.fetchone()) == ("scrammer", "anyone")
        finally:
            connection.close()


def test_a_refused_credential_is_told_without_the_servers_user(postgres: servers.Server) -> None:
    with relay(postgres, own(APP, "wrong")) as running:
        with pytest.raises(psycopg.OperationalError) as refused:
            connect(running)
        assert 'the server refused the credential "shop-app"' in str(refused.value)
        assert "(28P01)" in str(refused.value)
        (effect,) = effects(running, CredentialRefused)
        assert isinstance(effect, CredentialRefused)
        assert effect.words == 'password authentication failed for user "scrammer"'


def test_a_secret_that_was_changed_is_read_again_and_the_agent_notices_nothing(postgres: servers.Server) -> None:
    with relay(postgres, own(APP, "the one before", SECRET)) as running:
        assert who(running) == ("scrammer", "anyone")
        assert len(effects(running, CredentialRefused)) == 1
    with relay(postgres, own(APP, "one", "two", SECRET)) as running:
        with pytest.raises(psycopg.OperationalError, match="refused the credential"):
            connect(running)
        assert [effect.again for effect in running.effects if isinstance(effect, CredentialRefused)] == [True, False]


def test_errors_of_the_server_pass_as_they_are(postgres: servers.Server) -> None:
    with relay(postgres, own()) as running, pytest.raises(psycopg.OperationalError, match='database "nowhere" does not exist'):
        connect(running, dbname="nowhere")


@pytest.mark.parametrize("credential", [APP, ASKED], ids=["not asked", "asked"])
def test_a_client_that_asks_for_protocol_3_2_is_told_what_the_server_speaks(
    postgres: servers.Server, credential: Credential
) -> None:
    for secrets in ((SECRET,), ("the one before", SECRET)):
        with relay(postgres, own(credential, *secrets)) as running:
            with connect(running, max_protocol_version="latest", password="wörd") as connection:
                assert connection.execute(WHO).fetchone() == ("scrammer", "anyone")
                assert connection.info.backend_pid
            (key,) = effects(running, CancelKey)
            assert isinstance(key, CancelKey)
            assert len(key.key) == (36 if postgres.version == 18 else 8)


# The client's side: what it asks for, hostguard gives.


@pytest.mark.parametrize("binding", ["disable", "prefer", "require"])
def test_libpq_over_tls_with_every_channel_binding(encrypted: servers.Server, binding: str) -> None:
    for ends in (CLIENT_TLS, Ends(LEAF.context(), LEAF.der, server=True)):
        with relay(encrypted, own(ASKED), ends) as running:
            how = {"sslmode": "require", "channel_binding": binding, "require_auth": "scram-sha-256"}
            assert who(running, password="wörd", **how) == ("scrammer", "anyone")
            with pytest.raises(psycopg.OperationalError, match="login to hostguard: password authentication failed"):
                connect(running, password="word", **how)


def test_libpq_in_the_clear_says_the_word(postgres: servers.Server) -> None:
    with relay(postgres, own(ASKED)) as running:
        assert who(running, password="wörd", require_auth="scram-sha-256") == ("scrammer", "anyone")
        with pytest.raises(psycopg.OperationalError, match="no password supplied"):
            connect(running)


def test_other_drivers_say_the_word_over_tls(encrypted: servers.Server) -> None:
    context = ssl.create_default_context(cadata=LEAF.chain.decode())

    async def by_asyncpg(host: str, port: int) -> object:
        connection = await asyncpg.connect(host=host, port=port, user="anyone", password="wörd", ssl=context)
        try:
            return tuple(await connection.fetchrow(WHO))
        finally:
            await connection.close()

    with relay(encrypted, own(ASKED), CLIENT_TLS) as running:
        host, port = running.address
        assert asyncio.run(by_asyncpg(host, port)) == ("scrammer", "anyone")
        # It binds the channel.
        connection = pg8000.dbapi.connect("anyone", host=host, port=port, password="wörd", ssl_context=context)
        try:
            cursor = connection.cursor()
            cursor.execute(WHO)
            assert tuple(cursor.fetchone()) == ("scrammer", "anyone")
        finally:
            connection.close()


# No credential: the client's own login, through no, one or two TLS sessions.

BOTH = Ends(LEAF.context(), LEAF.der, server=True)
PASSES = [
    ("prefer", "disable", Ends(), True),
    ("prefer", "disable", Ends(server=True), True),
    ("prefer", "require", CLIENT_TLS, True),
    ("disable", "require", BOTH, True),
    ("prefer", "require", BOTH, False),
    ("require", "require", BOTH, False),
]


@pytest.mark.parametrize(("binding", "sslmode", "ends", "passes"), PASSES)
def test_a_clients_own_scram_passes_unless_it_binds_what_ends_here(
    encrypted: servers.Server, binding: str, sslmode: str, ends: Ends, passes: bool
) -> None:
    # With TLS at the client alone the server must not offer any itself: there it is asked in the clear, so it does not.
    with relay(encrypted, None, ends) as running:
        how = {"user": "scrammer", "dbname": "anyone", "password": SECRET, "sslmode": sslmode, "channel_binding": binding}
        if passes:
            assert who(running, **how) == ("scrammer", "anyone")
            with pytest.raises(psycopg.OperationalError, match='password authentication failed for user "scrammer"'):
                connect(running, **{**how, "password": "wrong"})
        else:
            with pytest.raises(psycopg.OperationalError, match="connect with channel_binding=disable, or have hostguard log in"):
                connect(running, **how)
