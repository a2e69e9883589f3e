"""Credentials in the configuration: which one an agent gets, and every mistake with its key, never with what may be a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostguard.policy.credentials import BadReference, Reference, login_of, reference, server_tls
from hostguard.policy.document import ConfigErrors, load

TOP = """
[policy]
files = ["none.cedar"]
[users.u]
[agents.bot]
owner = "u"
roles = ["reader", "writer"]
[agents.other]
owner = "u"
"""
RESOURCE = """
[resources.shop]
protocol = "postgres"
addresses = ["db.example:5432"]
"""


def write(folder: Path, toml: str, top: str = TOP) -> Path:
    (folder / "none.cedar").write_text("")
    file = folder / "hostguard.toml"
    file.write_text(top + toml)
    return file


def mistakes(folder: Path, toml: str) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        load(write(folder, toml))
    return [f"{error.key}: {error.message}" for error in caught.value.errors]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("file:/etc/hostguard/secrets/shop", Reference("file", "/etc/hostguard/secrets/shop")),
        ("env:SHOP_PASSWORD", Reference("env", "SHOP_PASSWORD")),
        ("command:/usr/bin/pass show 'my shop'", Reference("command", "/usr/bin/pass show 'my shop'")),
        ("vault:secret/data/shop#password", Reference("vault", "secret/data/shop", "password")),
        ("aws:prod/shop#password", Reference("aws", "prod/shop", "password")),
        ("aws:arn:aws:secretsmanager:eu-west-1:1:secret:x", Reference("aws", "arn:aws:secretsmanager:eu-west-1:1:secret:x")),
    ],
)
def test_places_of_secrets(text: str, expected: Reference) -> None:
    assert reference(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "hunter2", "", ":", "file:relative", "file:", "env:2X", "env:A B", "command:pass show", "command:/usr/bin/pass 'hunter2",
        "vault:secret/hunter2", "vault:#hunter2", "vault:/v1/x#hunter2", "aws:", "aws:a#", "FILE:/x", "file:/x\0y",
    ],
)  # fmt: skip
def test_what_is_no_place_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(BadReference) as caught:
        reference(text)
    assert "hunter2" not in str(caught.value)


LOGINS = """
credential = "shop-app"
[credentials.shop-app]
user = "app_ro"
secret = "file:/s/ro"
[credentials.shop-app.roles.writer]
user = "app_rw"
secret = "file:/s/rw"
[credentials.shop-app.roles.reader]
user = "app_reader"
[credentials.shop-app.agents.other]
secret = "env:OTHER"
"""


@pytest.mark.parametrize(
    ("agent", "roles", "variant", "user", "secret"),
    [
        ("bot", ("reader", "writer"), "shop-app/roles/writer", "app_rw", "file:/s/rw"),
        ("bot", ("reader",), "shop-app/roles/reader", "app_reader", "file:/s/ro"),
        ("bot", (), "shop-app", "app_ro", "file:/s/ro"),
        ("other", ("writer",), "shop-app/agents/other", "app_ro", "env:OTHER"),
    ],
)
def test_an_agent_comes_before_a_role_and_roles_in_the_order_of_the_file(
    tmp_path: Path, agent: str, roles: tuple[str, ...], variant: str, user: str, secret: str
) -> None:
    chosen = login_of(load(write(tmp_path, RESOURCE + LOGINS)), "shop", agent, roles)
    assert chosen is not None
    assert (chosen.variant, chosen.user, chosen.secret, chosen.carried) == (variant, user, secret, False)


def test_without_a_credential_there_is_no_login(tmp_path: Path) -> None:
    assert login_of(load(write(tmp_path, RESOURCE)), "shop", "bot", ()) is None


@pytest.mark.parametrize(
    ("address", "said", "expected"),
    [
        ("db.example:5432", "", "verify-full"),
        ("192.0.2.1:5432", "", "verify-full"),
        ("127.0.0.2:5432", "", "off"),
        ("[::1]:5432", "", "off"),
        ("localhost:5432", "", "off"),
        ("127.0.0.1:5432", 'server_tls = "verify-ca"', "verify-ca"),
        ("db.example:5432", 'server_tls = "off"', "off"),
    ],
)
def test_the_link_to_a_server_is_verified_unless_it_stays_on_this_host(
    tmp_path: Path, address: str, said: str, expected: str
) -> None:
    toml = f'[resources.shop]\nprotocol = "postgres"\naddresses = ["{address}"]\n{said}\n'
    assert server_tls(load(write(tmp_path, toml)).resources["shop"]) == expected


CREDENTIAL = '\n[credentials.a]\nuser = "u"\n'
BAD = {
    "an unknown credential": (
        RESOURCE + 'credential = "b"\n' + CREDENTIAL + 'secret = "env:X"\n',
        'resources.shop.credential: there is no credential "b"; known here: a',
    ),
    "a word without a credential": (
        RESOURCE + 'client_password = "hunter2"\n',
        "resources.shop.client_password: without a credential the server asks agents for their own passwords",
    ),
    "the password itself": (
        CREDENTIAL + 'secret = "hunter2"\n',
        "credentials.a.secret: this names no place of a secret: expected file:, env:, command:, vault: or aws:, then where it is",
    ),
    "the password as a number": (CREDENTIAL + "secret = 1234567\n", "credentials.a.secret: expected a text, got something else"),
    "no secret": (CREDENTIAL, "credentials.a.secret: required, but missing: there is no client certificate either"),
    "a certificate without its key": (
        CREDENTIAL + 'certificate = "/c.pem"\n',
        "credentials.a.key: a client certificate takes both certificate and key",
    ),
    "an unknown role": (
        CREDENTIAL + 'secret = "env:X"\n[credentials.a.roles.wrter]\nuser = "w"\n',
        'credentials.a.roles.wrter: no agent has the role "wrter"; did you mean writer?',
    ),
    "an unknown agent": (
        CREDENTIAL + 'secret = "env:X"\n[credentials.a.agents.bto]\nuser = "w"\n',
        'credentials.a.agents.bto: there is no agent "bto"; did you mean bot?',
    ),
    "a role's password itself": (
        CREDENTIAL + 'secret = "env:X"\n[credentials.a.roles.writer]\nsecret = "hunter2"\n',
        "credentials.a.roles.writer.secret: this names no place of a secret: expected file:, env:, command:, vault: or aws:, "
        "then where it is",
    ),
    "vault without an address": (
        CREDENTIAL + 'secret = "vault:a#b"\n',
        "credentials.a.secret: a vault: secret takes vault.address",
    ),
    "vault over the network in the clear": (
        '[vault]\naddress = "http://vault.example:8200"\ntoken_file = "/t"\n',
        "vault.address: plain http would show the secrets to the network: use https",
    ),
    "vault without a login": (
        '[vault]\naddress = "https://vault.example"\n',
        "vault: exactly one of token_file, and role_id with secret_id_file, is how hostguard logs in there",
    ),
    "half an AppRole": (
        '[vault]\naddress = "https://vault.example"\nrole_id = "r"\n',
        "vault.secret_id_file: an AppRole login takes both role_id and secret_id_file",
    ),
    "cleartext to nobody knows whom": (
        RESOURCE + 'server_tls = "require"\ncredential = "a"\n' + CREDENTIAL + 'secret = "env:X"\nmethods = ["cleartext"]\n',
        'resources.shop.credential: "a" may say its password in the clear, which takes a verified server: server_tls = "require"',
    ),
    "a client certificate to nobody knows whom": (
        RESOURCE + 'server_tls = "off"\ncredential = "a"\n' + CREDENTIAL + 'certificate = "/c"\nkey = "file:/k"\n',
        'resources.shop.credential: "a" has a client certificate, which takes a verified server: server_tls = "off"',
    ),
    "roots for nothing": (
        RESOURCE + 'server_tls = "require"\nserver_roots = "/r.pem"\n',
        'resources.shop.server_roots: nothing is verified with server_tls = "require"',
    ),
    "a name for nothing": (
        RESOURCE + 'server_tls = "verify-ca"\nserver_name = "db"\n',
        'resources.shop.server_name: no name is verified with server_tls = "verify-ca"',
    ),
    "an unknown mode": (
        RESOURCE + 'server_tls = "verify-fall"\n',
        'resources.shop.server_tls: expected one of "verify-full", "verify-ca", "require", "prefer", "off", '
        'got "verify-fall"; did you mean "verify-full"?',
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_a_mistake_is_told_with_its_key(tmp_path: Path, what: str) -> None:
    toml, expected = BAD[what]
    assert mistakes(tmp_path, toml) == [expected]
