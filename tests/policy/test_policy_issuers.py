"""Issuers in the configuration: what they stand for, and every mistake with its key."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostguard.identity.mapping import ClaimRule
from hostguard.policy.asks import Ask
from hostguard.policy.bearers import UNVERIFIED, Bearer
from hostguard.policy.check import check
from hostguard.policy.decide import Decider, Policy
from hostguard.policy.document import ConfigErrors, Document, load
from hostguard.policy.issuers import mapped_roles, role_rules, trust_of, user_rules
from hostguard.protocols.events import Operation, OperationKind, Session, Verdict

GOOD = """
[policy]
files = ["none.cedar"]
[users.ada]
[agents.bot]
owner = "ada"
roles = ["reader"]
[agents.bot.identity.corp]
subject = "system:serviceaccount:shop:*"
token_file = "/run/token"
[issuers.corp]
issuer = "https://login.example"
audiences = ["hostguard"]
algorithms = ["ES256"]
once = true
skew_s = 5
[[issuers.corp.roles]]
claim = "groups"
contains = "shop"
role = "support"
[[issuers.corp.roles]]
claim = "/kubernetes.io/namespace"
glob = "prod-*"
role = "production"
[[issuers.corp.users]]
claim = "email"
equals = "ada@example.com"
user = "ada"
"""


def read(folder: Path, toml: str) -> Document:
    (folder / "none.cedar").write_text("")
    (folder / "hostguard.toml").write_text(toml)
    return load(folder / "hostguard.toml")


def mistakes(folder: Path, toml: str) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        read(folder, toml)
    return [f"{error.key}: {error.message}" for error in caught.value.errors]


def test_what_an_issuer_stands_for(tmp_path: Path) -> None:
    document = read(tmp_path, GOOD)
    corp = document.issuers["corp"]
    demands = trust_of(corp)
    assert (demands.kind, demands.issuer) == ("oidc", "https://login.example")
    assert demands.audiences == {"hostguard"}
    assert (demands.algorithms, demands.skew_s, demands.keep_s) == (("ES256",), 5, 3600)
    assert role_rules(corp) == [
        ClaimRule("groups", "contains", "shop", "support"),
        ClaimRule("/kubernetes.io/namespace", "glob", "prod-*", "production"),
    ]
    assert user_rules(corp) == [ClaimRule("email", "equals", "ada@example.com", "ada")]
    assert mapped_roles(document, "bot") == {"support", "production"}
    assert document.agents["bot"].identity["corp"].token_file == "/run/token"


ISSUER = 'issuer = "https://login.example"\naudiences = ["hostguard"]'


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("identity.corp]", "identity.crop]", ['agents.bot.identity.crop: there is no issuer "crop"; did you mean corp?']),
        ('"system:serviceaccount:shop:*"', '"*"', None),
        ("https://login", "http://login", ["issuers.corp.issuer: expected https, or http on the loopback: it is not https"]),
        ("login.example", "login.example?a=b", ["issuers.corp.issuer: expected https, or http on the loopback: it has a query"]),
        ('["ES256"]', '["HS256"]', None),
        ('["ES256"]', '["none"]', None),
        ('["ES256"]', "[]", None),
        ('audiences = ["hostguard"]', "audiences = []", None),
        ("skew_s = 5", "skew_s = 301", ["issuers.corp.skew_s: expected a whole number from 0 to 300, got 301"]),
        ("skew_s = 5", "keep_s = 200", None),
        ("skew_s = 5", 'jwks_url = "ftp://x"', None),
        ("skew_s = 5", 'recipient = "x"', ["issuers.corp.recipient: only an issuer of kind saml has recipient"]),
        ('contains = "shop"', "", ["issuers.corp.roles: number 1 needs exactly one of equals, contains, glob"]),
        ('contains = "shop"', 'contains = "shop"\nequals = "x"', None),
        ('equals = "ada@example.com"', "", ["issuers.corp.users: number 1 needs exactly one of equals, contains"]),
        ('user = "ada"', 'user = "adda"', ['issuers.corp.users: there is no user "adda"; did you mean ada?']),
        (
            "skew_s = 5",
            'kind = "spiffe"',
            [
                "issuers.corp.issuer: expected a trust domain, spiffe://example.org",
                "issuers.corp.jwks_url: required, but missing: a trust domain's bundle has no place of its own",
            ],
        ),
        (
            "skew_s = 5",
            'kind = "saml"',
            ["issuers.corp.certificates: required, but missing", "issuers.corp.recipient: required, but missing"],
        ),
    ],
)  # fmt: skip
def test_every_mistake_has_its_key(tmp_path: Path, old: str, new: str, expected: list[str] | None) -> None:
    found = mistakes(tmp_path, GOOD.replace(old, new, 1))
    assert found
    if expected is not None:
        assert sorted(found) == sorted(expected)


CEDAR = """
@id("support reads") permit (principal in Role::"support", action == Action::"connect", resource);
@id("only itself") forbid (principal is Agent, action, resource)
when { principal.claims has subject && principal.claims.subject == "impostor" };
@id("by its issuer") permit (principal, action == Action::"connect", resource)
when { principal.claims has issuer && principal.claims.issuer == "https://login.example" };
"""
API = '[resources.api]\nprotocol = "tls"\naddresses = ["192.0.2.1:443"]\nserver_roots = ""\n'


OPERATION = Operation(1, OperationKind.CONNECT, "connect version=1.3", Session("", ""))


def verdict(policy: Policy, bearer: Bearer) -> tuple[str, ...]:
    (answer,) = policy.asker("bot", bearer).ask([Ask("connect", "Resource", "api", (("alpn", ()), ("version", "1.3")), ())], ())
    return answer.policies if answer.allowed else ("no", *answer.policies)


def test_policies_see_what_is_verified(tmp_path: Path) -> None:
    (tmp_path / "none.cedar").write_text(CEDAR)
    (tmp_path / "hostguard.toml").write_text(GOOD + API)
    policy = Policy(load(tmp_path / "hostguard.toml"))
    assert verdict(policy, UNVERIFIED) == ("no",)
    assert verdict(policy, Bearer(("support",), "https://x.example", "bot")) == ("support reads",)
    assert verdict(policy, Bearer((), "https://login.example", "bot")) == ("by its issuer",)
    assert verdict(policy, Bearer(("support",), "https://login.example", "impostor")) == ("no", "only itself")
    # What is verified of one is nobody else's, nor its own without it.
    assert verdict(policy, UNVERIFIED) == ("no",)
    assert not [warning for warning in check(policy).warnings if "support" in warning]
    decider = Decider(policy)
    assert decider.open("bot", "api", Bearer(("support",))).decide(OPERATION).decision.verdict is Verdict.ALLOW
    assert decider.open("bot", "api").decide(OPERATION).decision.verdict is Verdict.DENY
    assert decider.open("bot", "api", Bearer(("support",))).decide(OPERATION).decision.verdict is Verdict.ALLOW
