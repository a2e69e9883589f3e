"""Which names policy permits, what looks like a tunnel, and what does not."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from hostguard.policy.check import check
from hostguard.policy.decide import Policy
from hostguard.policy.document import ConfigErrors, load
from hostguard.policy.explain_name import explain
from hostguard.policy.names import NamePolicy, NameVerdict
from hostguard.policy.sections import Dns
from hostguard.policy.tunnels import MAX_DOMAINS, Watch, coded_characters, registered_domain

CONFIGURATION = """
[policy]
files = ["names.cedar"]
[users.alice]
[agents.bot]
roles = ["web"]
owner = "alice"
[agents.other]
owner = "alice"
[resources.shop]
protocol = "postgres"
addresses = ["DB.shop.example:5432", "127.0.0.1:5432", "[::1]:5432"]
"""
POLICIES = """
@id("web") permit (principal in Role::"web", action == Action::"resolve", resource in Domain::"api.example");
@id("one") permit (principal in Role::"web", action == Action::"resolve", resource == Name::"one.test")
when { context.type == "A" };
@id("not hr") forbid (principal, action == Action::"resolve", resource in Domain::"hr.api.example");
@id("no shop") forbid (principal == Agent::"other", action, resource in Resource::"shop");
"""


@pytest.fixture
def configured(tmp_path: Path) -> Callable[..., Policy]:
    def make(policies: str = POLICIES, more: str = "") -> Policy:
        (tmp_path / "hostguard.toml").write_text(CONFIGURATION + more)
        (tmp_path / "names.cedar").write_text(policies)
        return Policy(load(tmp_path / "hostguard.toml"))

    return make


def verdict(policy: Policy, agent: str, name: str, kind: str = "A", *flags: str) -> NameVerdict:
    return NamePolicy(policy).decide(agent, tuple(name.split(".")) if name else (), kind, frozenset(flags))


@pytest.mark.parametrize(
    ("agent", "name", "kind", "policies"),
    [
        ("bot", "api.example", "A", ("web",)),
        ("bot", "a.b.api.example", "TXT", ("web",)),
        ("bot", "one.test", "A", ("one",)),
        ("bot", "db.shop.example", "A", ("hostguard: names of resources are resolved",)),
        ("bot", "db.shop.example", "SRV", ("hostguard: names of resources are resolved",)),
    ],
)
def test_what_a_policy_permits(
    configured: Callable[..., Policy], agent: str, name: str, kind: str, policies: tuple[str, ...]
) -> None:
    found = verdict(configured(), agent, name, kind)
    assert (found.allowed, found.policies, found.reason) == (True, policies, "")


@pytest.mark.parametrize(
    ("agent", "name", "kind", "reason"),
    [
        ("bot", "example", "A", "no policy permits resolve on example (A) for agent bot"),
        ("bot", "xapi.example", "A", "no policy permits resolve on xapi.example (A) for agent bot"),
        ("bot", r"evil\.api.example", "A", r"no policy permits resolve on evil\.api.example (A) for agent bot"),
        ("bot", "one.test", "TXT", "no policy permits resolve on one.test (TXT) for agent bot"),
        ("bot", "a.one.test", "A", "no policy permits resolve on a.one.test (A) for agent bot"),
        ("bot", "x.db.shop.example", "A", "no policy permits resolve on x.db.shop.example (A) for agent bot"),
        ("bot", "", "A", "no policy permits resolve on . (A) for agent bot"),
        ("bot", "x.hr.api.example", "A", '"not hr" forbids resolve on x.hr.api.example (A) for agent bot'),
        ("other", "api.example", "A", "no policy permits resolve on api.example (A) for agent other"),
        ("other", "db.shop.example", "A", '"no shop" forbids resolve on db.shop.example (A) for agent other'),
        ("nobody", "db.shop.example", "A", "the policy no longer knows agent nobody"),
    ],
)
def test_what_no_policy_permits(configured: Callable[..., Policy], agent: str, name: str, kind: str, reason: str) -> None:
    labels = ("evil\\.api", "example") if "\\" in name else tuple(name.split(".")) if name else ()
    found = NamePolicy(configured()).decide(agent, labels, kind, frozenset())
    assert (found.allowed, found.reason) == (False, reason)


def test_the_base_policy_forbids_what_has_a_flag_but_for_names_of_resources(configured: Callable[..., Policy]) -> None:
    policy = configured()
    for flag in ("long_name", "coded_name", "many_names", "many_texts"):
        found = verdict(policy, "bot", "x.api.example", "A", flag)
        assert (found.allowed, found.policies) == (False, ("hostguard: no tunnels through names",))
        assert found.reason.endswith(f"for agent bot ({flag})")
        assert verdict(policy, "bot", "db.shop.example", "A", flag).allowed
    assert not verdict(policy, "bot", "db.shop.example", "NULL", "rare_type").allowed


def test_without_the_base_policy_nothing_is_permitted_that_yours_does_not(configured: Callable[..., Policy]) -> None:
    policy = configured(more="", policies=POLICIES)
    document = msgspec.structs.replace(policy.document, sources=policy.document.sources[1:])
    assert not verdict(Policy(document), "bot", "db.shop.example").allowed
    assert verdict(Policy(document), "bot", "x.api.example", "A", "many_names").allowed


def test_names_in_policies_that_could_match_nothing_are_warned_of(configured: Callable[..., Policy]) -> None:
    policies = "".join(
        f'@id("{n}") permit (principal, action == Action::"resolve", resource {scope});'
        for n, scope in enumerate(
            ['in Domain::"Example.com"', '== Name::"a.example."', 'in Domain::"example.com"', 'in NameClass::"own"']
        )
    )
    warnings = [w for w in check(configured(policies)).warnings if "names.cedar" in w]
    assert len(warnings) == 3
    assert 'Domain::"Example.com", but a name is written in lower case without a final dot' in warnings[0]
    assert "there is no such class of names" in warnings[2]


def test_a_policy_can_not_ask_for_an_approval_of_a_name(configured: Callable[..., Policy]) -> None:
    with pytest.raises(ConfigErrors, match="approval"):
        configured('@id("x") permit (principal, action == Action::"resolve", resource) when { context.approval.count >= 1 };')


def test_a_name_is_explained_without_a_daemon(configured: Callable[..., Policy]) -> None:
    document = configured().document
    assert explain(document, "bot", "DB.Shop.Example.", "A") == {
        "verdict": "allow",
        "name": "db.shop.example",
        "type": "A",
        "reason": 'permitted by "hostguard: names of resources are resolved"',
        "policies": ["hostguard: names of resources are resolved"],
        "flags": [],
        "resources": ["shop"],
    }
    denied = explain(document, "bot", "a" * 60 + "." + "b" * 60 + "." + "c" * 60 + ".api.example", "NULL")
    assert (denied["verdict"], denied["flags"]) == ("deny", ["coded_name", "long_name", "rare_type"])


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ('upstreams = ["ns.example:53"]', "expected an address with its port, 127.0.0.53:53"),
        ('upstreams = ["127.0.0.53"]', "expected an address with its port, 127.0.0.53:53"),
        ('types = ["ANY"]', "expected a type of records in capitals, such as TXT"),
        ('types = ["txt"]', "expected a type of records in capitals, such as TXT"),
        ("max_name = 300", "expected a whole number from 0 to 255"),
        ("graces = 1", "unknown key; did you mean grace_s?"),
    ],
)
def test_mistakes_in_the_section_are_told(configured: Callable[..., Policy], toml: str, message: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        configured(more=f"[dns]\n{toml}\n")
    assert message in str(caught.value)


# -- tunnels ------------------------------------------------------------------------------------------------------------------

ORDINARY = [
    "www.google.com",
    "db",
    "internal-a1b2c3d4e5f6a7b8c9d0e1f2a3b4c5d6-1234567890.us-east-1.elb.amazonaws.com",
    "k8s-default-ingressnginx-0123456789-0123456789abcdef.elb.eu-west-1.amazonaws.com",
    "vpce-0123456789abcdef0-abcdefgh.vpce-svc-0123456789abcdef0.us-east-1.vpce.amazonaws.com",
    "_3639ac514e785e898d2646601fa951d5.example.com",
    "d111111abcdef8.cloudfront.net",
    "_ldap._tcp.default-first-site-name._sites.dc._msdcs.corp.example.com",
    "my-very-long-bucket-name-for-production-analytics-2024-eu-west-1.s3.eu-west-1.amazonaws.com",
    "a.a.a.a.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
    "1.0.0.127.in-addr.arpa",
    "selector1-contoso-com._domainkey.contoso.onmicrosoft.com",
    "mydatabase.c9akciq32abc.us-east-1.rds.amazonaws.com",
    "shop.cluster-ro-c9akciq32abc.us-east-1.rds.amazonaws.com",
    "ep-cool-darkness-123456-pooler.us-east-2.aws.neon.tech",
    "e4a5c1d2-3b4f-4c6d-8e7f-9a0b1c2d3e4f.databases.appdomain.cloud",
    "a1234.dscr.akamai.net",
    "e6858.dsce9.akamaiedge.net",
    "registry-1.docker.io",
    "production.cloudflare.docker.com",
    "llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch.co.uk",
    "donaudampfschiffahrtsgesellschaftskapitaen.de",
    "rindfleischetikettierungsueberwachungsaufgabenuebertragungsgesetz.de",
    "ec2-203-0-113-25.compute-1.amazonaws.com",
    "gateway-prod-weu-001.privatelink.database.windows.net",
    "xn--fiqs8s.xn--55qx5d.cn",
    "xn--vermgensberatung-pwb.example",
    "s1._domainkey.u1234567.wl123.sendgrid.net",
    "0123456789abcdef0123456789abcdef.r2.cloudflarestorage.com",
    "_postgresql._tcp.db.example.com",
    "orders-postgresql-primary.orders-production.svc.cluster.local",
    "orders-postgresql-primary-0.orders-postgresql-headless.orders-production.svc.cluster.local",
    "pkg-containers.githubusercontent.com",
]


@pytest.mark.parametrize("name", ORDINARY)
@pytest.mark.parametrize("kind", ["A", "AAAA", "TXT", "HTTPS"])
def test_ordinary_names_have_no_flag(name: str, kind: str) -> None:
    assert Watch(Dns()).flags("bot", name.split("."), kind, 0.0) == frozenset()


def test_all_ordinary_names_in_one_minute_again_and_again_have_no_flag() -> None:
    watch = Watch(Dns())
    for now in range(60):
        for name in ORDINARY:
            for kind in ("A", "AAAA"):
                assert watch.flags("bot", name.split("."), kind, float(now)) == frozenset(), name


def tunnelled(payload: bytes, encode: Callable[[bytes], str]) -> list[str]:
    """Names as tunnels make them: the payload in labels of 57 characters below the tunnel's domain."""
    text = encode(payload)
    return [*(text[at : at + 57] for at in range(0, len(text), 57)), "t", "example", "com"]


def hexadecimal(data: bytes) -> str:
    return data.hex()


def base32(data: bytes) -> str:
    return base64.b32encode(data).decode().rstrip("=").lower()


def binary(data: bytes) -> str:
    return "".join(f"\\{byte | 128:03}" for byte in data)


@pytest.mark.parametrize("encode", [hexadecimal, base32, binary])
@pytest.mark.parametrize("size", [60, 100])
def test_a_name_full_of_data_is_coded_or_long_whatever_the_data(encode: Callable[[bytes], str], size: int) -> None:
    dice = random.Random(size)
    for _ in range(200):
        labels = tunnelled(dice.randbytes(size), encode)
        assert Watch(Dns()).flags("bot", labels, "A", 0.0) & {"coded_name", "long_name"}, labels


@pytest.mark.parametrize("encode", [hexadecimal, base32])
def test_a_tunnel_of_short_names_is_stopped_by_their_number(encode: Callable[[bytes], str]) -> None:
    dice, watch = random.Random(1), Watch(Dns())
    passed = [n for n in range(600) if not watch.flags("bot", tunnelled(dice.randbytes(16), encode), "A", n / 10)]
    assert len(passed) <= 25


def test_a_tunnel_of_words_is_stopped_by_their_number() -> None:
    watch = Watch(Dns())
    flags = [watch.flags("bot", (f"word{n}", "t", "example", "com"), "A", n / 10) for n in range(300)]
    assert flags[:120] == [frozenset()] * 120
    assert flags[120:] == [frozenset(["many_names"])] * 180
    # Another domain, another agent, the names of before, a minute later: nothing of that is too much.
    assert not watch.flags("bot", ("a", "example", "org"), "A", 30.0)
    assert not watch.flags("other", ("a", "t", "example", "com"), "A", 30.0)
    assert not watch.flags("bot", ("word5", "t", "example", "com"), "A", 30.0)
    assert not watch.flags("bot", ("new", "t", "example", "com"), "A", 95.0)


def test_many_questions_for_free_data_are_flagged() -> None:
    watch = Watch(Dns())
    flags = [watch.flags("bot", ("t", "example", "com"), "TXT", 1.0) for _ in range(40)]
    assert flags[:30] == [frozenset()] * 30
    assert flags[30:] == [frozenset(["many_texts"])] * 10
    assert not watch.flags("bot", ("t", "example", "com"), "A", 1.0)


def test_zero_turns_a_limit_off() -> None:
    watch = Watch(Dns(max_name=0, max_coded=0, names_per_minute=0, coded_per_minute=0, texts_per_minute=0))
    for n in range(500):
        assert not watch.flags("bot", (f"{n:060x}", f"{n:060x}", f"{n:060x}", "example", "com"), "TXT", 0.0)


def test_memory_is_bounded_by_the_number_of_domains() -> None:
    watch = Watch(Dns())
    for n in range(MAX_DOMAINS + 100):
        watch.flags("bot", ("a", f"d{n}", "com"), "A", 0.0)
    assert len(watch._agents["bot"].domains) == MAX_DOMAINS


@pytest.mark.parametrize(
    ("name", "domain"),
    [
        ("a.b.example.com", "example.com"),
        ("a.b.example.co.uk", "example.co.uk"),
        ("co.uk", "co.uk"),
        ("db", "db"),
        ("a.go.com", "go.com"),
    ],
)
def test_the_registered_domain_is_guessed(name: str, domain: str) -> None:
    assert registered_domain(name.split(".")) == domain


def test_what_counts_as_coded() -> None:
    assert coded_characters(["0123456789abcdef0123456789abcdef", "example"]) == 32
    assert coded_characters(["orders-postgresql-primary", "example"]) == 0
    assert coded_characters(["x" * 15, "example"]) == 0
