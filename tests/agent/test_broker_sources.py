"""Secrets from Vault (a stand-in for the server, the real client), from AWS (moto, the real client), read by the caged broker."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import boto3
import brokering
import msgspec
import pytest
from moto.server import ThreadedMotoServer
from vault_server import ROLE, ROLE_SECRET, VaultServer, vault_server

from hostguard.agent.broker.environment import VARIABLE, descriptor, secret_variables, taken
from hostguard.agent.broker.keeper import Keeper
from hostguard.agent.broker.secret import Secret
from hostguard.agent.broker.unreadable import Unreadable
from hostguard.policy.document import load

Test = Callable[[Keeper], Awaitable[None]]


def run(folder: Path, toml: str, test: Test) -> None:
    async def play() -> None:
        async with brokering.broker(folder, toml) as keeper:
            await test(keeper)

    asyncio.run(play())


def credentials(**secrets: str) -> str:
    return "".join(f'[credentials.{name}]\nuser = "u"\nsecret = "{secret}"\nrefresh_s = 1\n' for name, secret in secrets.items())


@pytest.fixture
def vault() -> Iterator[VaultServer]:
    with vault_server() as server:
        yield server


def test_vault_by_a_tokens_file(tmp_path: Path, vault: VaultServer) -> None:
    (tmp_path / "token").write_text("token-1\n")
    vault.tokens.add("token-1")
    vault.namespace = "team"
    vault.secrets = {
        "secret/data/shop": {"data": {"password": "of version 2", "number": 5}, "metadata": {"version": 7}},
        "kv/shop": {"password": "of version 1"},
    }
    section = f'[vault]\naddress = "{vault.address}"\ntoken_file = "{tmp_path}/token"\nnamespace = "team"\n'
    secrets = {
        "two": "vault:secret/data/shop#password",
        "one": "vault:kv/shop#password",
        "nothing": "vault:kv/other#password",
        "field": "vault:kv/shop#pasword",
        "number": "vault:secret/data/shop#number",
    }

    async def test(keeper: Keeper) -> None:
        told = brokering.failures(await keeper.facts())
        assert (told["two"], told["one"]) == ("", "")
        assert told["nothing"] in ("Vault refused: InvalidPath", "nothing is at kv/other in Vault")
        assert told["field"] == "what is at kv/shop in Vault has no text field pasword"
        assert told["number"] == "what is at secret/data/shop in Vault has no text field number"
        # The token is taken away, and another comes into its file: as Vault's agent does it.
        vault.tokens = {"token-2"}
        await until(keeper, lambda told: told["one"] == "Vault refused: Forbidden")
        (tmp_path / "token").write_text("token-2\n")
        await until(keeper, lambda told: told["one"] == "")

    run(tmp_path, section + credentials(**secrets), test)


async def until(keeper: Keeper, done: Callable[[dict[str, str]], bool]) -> None:
    async with asyncio.timeout(30):
        while not done(brokering.failures(await keeper.facts())):
            pass


def test_vault_by_approle_logs_in_again_when_its_token_has_ended(tmp_path: Path, vault: VaultServer) -> None:
    (tmp_path / "role").write_text(ROLE_SECRET)
    vault.secrets = {"kv/shop": {"password": "x"}}
    section = f'[vault]\naddress = "{vault.address}"\nrole_id = "{ROLE}"\nsecret_id_file = "{tmp_path}/role"\n'

    async def test(keeper: Keeper) -> None:
        assert brokering.failures(await keeper.facts()) == {"c": ""}
        assert vault.logins == 1
        vault.tokens.clear()
        async with asyncio.timeout(30):
            while vault.logins < 2:
                await keeper.facts()
        await until(keeper, lambda told: told["c"] == "")

    run(tmp_path, section + credentials(c="vault:kv/shop#password"), test)


def test_a_vault_that_does_not_answer_keeps_nobody_from_starting(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t")
    section = f'[vault]\naddress = "http://127.0.0.1:1"\ntoken_file = "{tmp_path}/token"\n'

    async def test(keeper: Keeper) -> None:
        assert brokering.failures(await keeper.facts())["c"] == "Vault at http://127.0.0.1:1 could not be asked: ConnectionError"

    run(tmp_path, section + credentials(c="vault:kv/shop#password"), test)


def test_aws_secrets_manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("AWS_ACCESS_KEY_ID", "testing"), ("AWS_SECRET_ACCESS_KEY", "testing-secret-key")):
        monkeypatch.setenv(name, value)
    server = ThreadedMotoServer(port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        client = boto3.client("secretsmanager", endpoint_url=endpoint, region_name="eu-west-1")
        client.create_secret(Name="prod/shop", SecretString='{"password": "x", "number": 5}')
        client.create_secret(Name="plain", SecretString="text")
        client.create_secret(Name="bytes", SecretBinary=b"\xff\xfe")
        section = f'[aws]\nregion = "eu-west-1"\nendpoint = "{endpoint}"\n'
        secrets = {
            "field": "aws:prod/shop#password",
            "plain": "aws:plain",
            "bytes": "aws:bytes",
            "number": "aws:prod/shop#number",
            "unknown": "aws:other",
        }
        # As `hostguard daemon` finds them after it has taken them out of its environment.
        fd = hidden(tmp_path, section + credentials(**secrets))
        monkeypatch.setenv(VARIABLE, str(fd))

        async def test(keeper: Keeper) -> None:
            assert brokering.failures(await keeper.facts()) == {
                "field": "",
                "plain": "",
                "bytes": "",
                "number": "its field number is no text",
                "unknown": "AWS refused: ResourceNotFoundException",
            }

        run(tmp_path, section + credentials(**secrets), test)
        os.close(fd)
    finally:
        server.stop()


def hidden(folder: Path, toml: str) -> int:
    """The descriptor with the variables that this configuration makes secret."""
    (folder / "none.cedar").write_text("")
    (folder / "hostguard.toml").write_text(brokering.TOP.replace("{folder}", str(folder)) + toml)
    names = secret_variables(load(folder / "hostguard.toml"))
    fd = os.memfd_create("test-secrets")
    os.write(fd, msgspec.msgpack.encode({name.encode(): os.environ[name].encode() for name in names if name in os.environ}))
    assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= taken(fd).keys()
    return fd


def test_a_descriptor_that_is_not_there_is_none() -> None:
    assert descriptor({}) == -1
    assert descriptor({VARIABLE: "987654"}) == -1
    assert taken(-1) == {}


# -- what becomes of a secret over time -----------------------------------------------------------------------------------------


class Place:
    """Where a secret is; counts how often it was looked at."""

    def __init__(self, *answers: bytes | str) -> None:
        self.answers = list(answers)
        self.reads = 0

    async def read(self, place: str) -> bytes:
        self.reads += 1
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        await asyncio.sleep(0)
        if isinstance(answer, str):
            raise Unreadable(answer)
        return answer


def test_a_secret_that_could_be_read_once_outlives_its_source() -> None:
    async def play() -> None:
        secret = Secret("file:/x", 300, Place(b"one", "gone").read)
        first = await secret.have()
        await secret.renew()
        assert (await secret.have(), secret.failure) == (first, "gone")

    asyncio.run(play())


def test_who_comes_while_it_is_being_read_waits_for_that() -> None:
    async def play() -> None:
        place = Place(b"one")
        secret = Secret("file:/x", 300, place.read)
        versions = await asyncio.gather(*(secret.have() for _ in range(20)))
        assert (place.reads, {version.number for version in versions}) == (1, {1})

    asyncio.run(play())


def test_many_logins_with_one_old_version_read_it_again_once() -> None:
    async def play() -> None:
        place = Place(b"one", b"two")
        secret = Secret("file:/x", 300, place.read)
        used = (await secret.have()).number
        assert await asyncio.gather(*(secret.refused(used) for _ in range(20))) == [True] * 20
        assert place.reads == 2

    asyncio.run(play())


def test_pbkdf2_runs_once_for_each_version_salt_and_count(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        secret = Secret("file:/x", 300, Place(b"one", b"one", b"two").read)
        version = await secret.have()
        first = version.derive(b"salt", 4096)
        with monkeypatch.context() as patched:
            patched.setattr("hashlib.pbkdf2_hmac", None)
            assert version.derive(b"salt", 4096) == first
            await secret.renew()
            assert (await secret.have()).derive(b"salt", 4096) == first, "the same secret, read again"
        assert version.derive(b"salt", 4097) != first
        await secret.renew()
        assert (await secret.have()).derive(b"salt", 4096) != first

    asyncio.run(play())


def test_salts_that_are_made_up_take_no_memory() -> None:
    async def play() -> None:
        version = await Secret("file:/x", 300, Place(b"one").read).have()
        for number in range(200):
            version.derive(number.to_bytes(2, "big"), 1)
        assert len(version.derived) <= 64

    asyncio.run(play())


def test_nothing_that_holds_a_secret_shows_it() -> None:
    async def play() -> None:
        secret = Secret("file:/x", 300, Place(b"hunter2").read)
        version = await secret.have()
        version.derive(b"salt", 1)
        assert "hunter2" not in repr(version) + repr(secret) + repr(vars(secret))

    asyncio.run(play())
