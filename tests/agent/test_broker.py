"""The broker's process: it logs in to real servers by secrets from real files, commands, environments, and is caged."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import brokering
import caged
import psycopg
import pytest
from cryptography import x509
from servers import Server

from hostguard.agent.broker.environment import VARIABLE
from hostguard.agent.broker.keeper import BrokerAway, Keeper

PASSWORD = "correct horse battery staple"
Test = Callable[[Keeper], Awaitable[None]]


@pytest.fixture(scope="module")
def shop(postgres15: Server) -> Iterator[Server]:
    """A server whose users ``app_*`` have passwords, each kept in another way."""
    with postgres15.connect() as connection:
        for encryption, user in (("scram-sha-256", "app_scram"), ("md5", "app_md5"), ("scram-sha-256", "app_rotates")):
            connection.execute(f"SET password_encryption = '{encryption}'")
            connection.execute(f"DROP ROLE IF EXISTS {user}")
            connection.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{PASSWORD}'")
    hba = postgres15.folder / "data" / "pg_hba.conf"
    before = hba.read_text()
    hba.write_text(
        "host all app_scram all scram-sha-256\nhost all app_rotates all scram-sha-256\nhost all app_md5 all md5\n" + before
    )
    with postgres15.connect() as connection:
        connection.execute("SELECT pg_reload_conf()")
    yield postgres15
    hba.write_text(before)
    with postgres15.connect() as connection:
        connection.execute("SELECT pg_reload_conf()")
        for user in ("app_scram", "app_md5", "app_rotates"):
            connection.execute(f"DROP ROLE {user}")


def run(folder: Path, toml: str, test: Test) -> None:
    async def play() -> None:
        async with brokering.broker(folder, brokering.SHOP + toml) as keeper:
            await test(keeper)

    asyncio.run(play())


def credential(secret: str, user: str = "app_scram", more: str = "") -> str:
    return f'credential = "c"\n[credentials.c]\nuser = "{user}"\nsecret = "{secret}"\n{more}\n'


def secret_file(folder: Path, text: str = f"{PASSWORD}\n") -> Path:
    place = folder / "secrets" / "shop"
    place.parent.mkdir(exist_ok=True)
    place.write_text(text)
    place.chmod(0o600)
    return place


@pytest.mark.parametrize(
    ("user", "more"), [("app_scram", ""), ("app_md5", 'methods = ["md5"]'), ("app_scram", 'methods = ["md5", "scram-sha-256"]')]
)
def test_a_secret_from_a_file_logs_in(tmp_path: Path, shop: Server, user: str, more: str) -> None:
    async def test(keeper: Keeper) -> None:
        assert await brokering.log_in(keeper, shop, "c", user) == "ok"

    run(tmp_path, credential(f"file:{secret_file(tmp_path)}", user, more), test)


def test_a_secret_that_a_command_prints_logs_in_and_the_command_has_no_capability(tmp_path: Path, shop: Server) -> None:
    script = tmp_path / "print-secret"
    script.write_text(f"#!/bin/sh\ngrep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status > {tmp_path}/status\necho \"$1\"\n")
    script.chmod(0o700)

    async def test(keeper: Keeper) -> None:
        assert await brokering.log_in(keeper, shop, "c", "app_scram") == "ok"
        assert (tmp_path / "status").read_text().split() == ["CapEff:", "0" * 16, "CapBnd:", "0" * 16, "NoNewPrivs:", "1"]

    run(tmp_path, credential(f"command:{script} '{PASSWORD}'"), test)


UNREADABLE = {
    "exits": ("command:/bin/false", "the command ended with exit code 1"),
    "missing-program": ("command:/nowhere/at/all", "the command ended with exit code 126"),
    "silent": ("command:/bin/true", "it is empty"),
    "no-file": ("file:/nowhere/at/all", "/nowhere/at/all: "),
    "empty": ("file:/dev/null", "it is empty"),
    "no-variable": ("env:HOSTGUARD_TEST_NOWHERE", "the daemon was started without HOSTGUARD_TEST_NOWHERE in its environment"),
    "not-roots": ("file:{theirs}", "the file must be root's"),
}


def test_secrets_that_can_not_be_read_are_told_and_refuse_the_login(tmp_path: Path, shop: Server) -> None:
    theirs = secret_file(tmp_path)
    os.chown(theirs, 65534, 65534)
    tables = [f'[credentials.{name}]\nuser = "u"\nsecret = "{secret}"\n' for name, (secret, _) in UNREADABLE.items()]

    async def test(keeper: Keeper) -> None:
        told = brokering.failures(await keeper.facts())
        assert [name for name, (_, words) in UNREADABLE.items() if words not in told[name]] == []
        for name in UNREADABLE:
            with pytest.raises(BrokerAway, match=f"the secret of credential {name} can't be read"):
                await brokering.log_in(keeper, shop, name, "app_scram")

    run(tmp_path, "".join(tables).replace("{theirs}", str(theirs)), test)


def test_a_wrong_secret_is_read_again_when_the_server_refuses_it(tmp_path: Path, shop: Server) -> None:
    place = secret_file(tmp_path)
    changed = "another one by now"

    async def test(keeper: Keeper) -> None:
        assert await brokering.log_in(keeper, shop, "c", "app_rotates", 1) == "ok"
        with shop.connect() as connection:
            connection.execute(f"ALTER ROLE app_rotates PASSWORD '{changed}'")
        assert await brokering.log_in(keeper, shop, "c", "app_rotates", 2) == "28P01"
        assert not await keeper.refused(2), "it is still the same in the file"
        # As editors do it: another file in its place.
        aside = place.with_name("new")
        aside.write_text(changed)
        aside.rename(place)
        assert await brokering.log_in(keeper, shop, "c", "app_rotates", 3) == "28P01"
        assert await keeper.refused(3)
        assert await brokering.log_in(keeper, shop, "c", "app_rotates", 4) == "ok"

    run(tmp_path, credential(f"file:{place}", "app_rotates", "refresh_s = 3600"), test)


def test_a_secret_is_read_again_in_time_without_being_refused(tmp_path: Path, shop: Server) -> None:
    place = secret_file(tmp_path, "wrong")

    async def test(keeper: Keeper) -> None:
        place.write_text(PASSWORD)
        async with asyncio.timeout(20):
            for flow in range(1, 100):
                if await brokering.log_in(keeper, shop, "c", "app_scram", flow) == "ok":
                    break

    run(tmp_path, credential(f"file:{place}", more="refresh_s = 1"), test)


def test_md5_is_not_answered_unless_the_configuration_says_so(tmp_path: Path, shop: Server) -> None:
    async def test(keeper: Keeper) -> None:
        with pytest.raises(BrokerAway, match='the server asks for the login "md5"'):
            await brokering.log_in(keeper, shop, "c", "app_md5")

    run(tmp_path, credential(f"file:{secret_file(tmp_path)}", "app_md5"), test)


NO_REQUESTS = (
    b"", b"\0\0\0", b"\0\0\0\x03", b"\0\0\0\x05salt2", b"\0\0\0\x0aNOTHING\0\0", b"\0\0\0\x0b" + bytes(60_000), b"\xff" * 9,
)  # fmt: skip


def test_what_no_server_says_is_refused_and_the_broker_lives(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        pid = keeper.pid
        for request in NO_REQUESTS:
            with pytest.raises(BrokerAway):
                await keeper.log_in(1, "c", request, b"", begins=True)
            with pytest.raises(BrokerAway, match="no login is under way"):
                await keeper.log_in(2, "c", request, b"", begins=False)
        await keeper.facts()
        assert keeper.pid == pid

    run(tmp_path, credential(f"file:{secret_file(tmp_path)}"), test)


def test_it_makes_leaves_for_all_resources_before_it_is_ready(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        (leaf,) = keeper.leaves
        certificate = x509.load_pem_x509_certificate(leaf.chain)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert leaf.resource == "shop"
        assert names.get_values_for_type(x509.DNSName) == ["db.example", "localhost"]
        assert [each.signs for each in keeper.authorities] == [True]

    run(tmp_path, "", test)


def test_another_one_takes_over_when_it_is_killed(tmp_path: Path, shop: Server) -> None:
    async def test(keeper: Keeper) -> None:
        first, leaves = keeper.pid, keeper.leaves
        os.kill(first, 9)
        async with asyncio.timeout(60):
            while keeper.ready.is_set():
                await asyncio.sleep(0.01)
            with pytest.raises(BrokerAway, match="not running"):
                await keeper.log_in(1, "c", b"\0\0\0\x0aSCRAM-SHA-256\0\0", b"", begins=True)
            assert keeper.leaves == leaves, "what was signed stays good meanwhile"
            await keeper.ready.wait()
        assert keeper.pid != first
        assert await brokering.log_in(keeper, shop, "c", "app_scram") == "ok"

    run(tmp_path, credential(f"file:{secret_file(tmp_path)}"), test)


def test_its_cage(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        facts = caged.facts_of(keeper.pid)
        assert {facts[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
        assert (facts["NoNewPrivs"], facts["Seccomp"], facts["Uid"].split()) == ("1", "2", ["0"] * 4)
        assert keeper.applied is not None
        # Only who may raise the limit can lock that much: the unit may (LimitMEMLOCK=).
        lockable = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1] == resource.RLIM_INFINITY
        assert bool(keeper.applied.missing) != lockable
        assert (int(facts["VmLck"].split()[0]) > 0) == lockable
        limits = Path(f"/proc/{keeper.pid}/limits").read_text()
        assert next(line for line in limits.splitlines() if line.startswith("Max core")).split()[4:6] == ["0", "0"]
        environment = Path(f"/proc/{keeper.pid}/environ").read_bytes().split(b"\0")
        assert sorted(entry.partition(b"=")[0] for entry in environment if entry) == [b"HOME", b"LANG"]
        assert VARIABLE not in os.environ

    run(tmp_path, "", test)


def test_the_server_would_refuse_a_wrong_password(shop: Server) -> None:
    """Or the tests above would show nothing."""
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(host=shop.host, port=shop.port, user="app_scram", password="wrong", dbname="postgres")
