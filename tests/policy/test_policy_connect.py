"""Whom an agent may call by TLS: by resource, by the name that it says, by what it was told by name servers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from documents import mistakes, write
from hypothesis import given
from hypothesis import strategies as st

from hostguard.policy.asks import Approval
from hostguard.policy.connect import Connect, Unreadable, is_one_of, read
from hostguard.policy.decide import Decider, Policy
from hostguard.policy.document import load
from hostguard.policy.explain import explain
from hostguard.policy.judgement import Judgement
from hostguard.protocols.events import Operation, OperationKind, Session, Verdict
from hostguard.protocols.tls.client_hello import ClientHello
from hostguard.protocols.tls.wording import connect

CONFIGURATION = """
[workloads.bot]
cgroup = "hostguard/bot"
agent = "bot"
[agents.bot]
owner = "alice"
roles = ["reader"]
[users.alice]
groups = ["owners"]
[users.bob]
groups = ["dba"]
[resources.api]
protocol = "tls"
addresses = ["api.example.com:443", "192.0.2.7:443"]
names = ["www.example.com", "*.cdn.example.com"]
environment = "outside"
[resources.hidden]
protocol = "tls"
addresses = ["192.0.2.8:443"]
ech = true
[resources.asks]
protocol = "tls"
addresses = ["asks.example.com:443"]
[resources.shop]
protocol = "postgres"
addresses = ["127.0.0.1:5432"]
"""
POLICIES = """
@id("outside is reached") permit (principal in Role::"reader", action == Action::"connect", resource in Environment::"outside");
@id("no old protocols") forbid (principal, action == Action::"connect", resource) when { context.alpn.contains("spdy/3") };
@id("no old versions") forbid (principal, action == Action::"connect", resource)
when { ["1.0", "1.1"].contains(context.version) };
@id("not the admin's") forbid (principal, action == Action::"connect", resource)
when { context has sni && context.sni == "admin.cdn.example.com" };
@id("hidden is reached") permit (principal, action == Action::"connect", resource == Resource::"hidden");
@id("asks first") permit (principal, action == Action::"connect", resource == Resource::"asks")
when { context has approval && context.approval.count >= 1 };
@id("dba approves") permit (principal in Group::"dba", action == Action::"approve", resource);
"""
SESSION = Session("", "")


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    return Policy(load(write(tmp_path, CONFIGURATION, POLICIES)))


def judged(policy: Policy, text: str, resource: str = "api", approval: Approval | None = None) -> Judgement:
    flow = Decider(policy).open("bot", resource)
    return flow.decide(Operation(1, OperationKind.CONNECT, text, SESSION), approval)


@pytest.mark.parametrize(
    "words",
    [
        "sni=api.example.com",
        "sni=api.example.com asked=api.example.com alpn=h2,http/1.1 version=1.3",
        "sni=www.example.com",
        "sni=eu.cdn.example.com",
        "version=1.3",
    ],
)
def test_a_resources_names_are_called(policy: Policy, words: str) -> None:
    found = judged(policy, f"connect {words}")
    assert (found.decision.verdict, found.decision.policies) == (Verdict.ALLOW, ("outside is reached",))
    assert found.accesses[0][0] == "connect"


@pytest.mark.parametrize(
    ("words", "flag", "hint"),
    [
        (
            "sni=evil.example.com",
            "sni_differs",
            "evil.example.com is no name of resource api (*.cdn.example.com",
        ),
        ("sni=a.b.cdn.example.com", "sni_differs", "is no name"),
        ("sni=cdn.example.com", "sni_differs", "is no name"),
        ("sni=.cdn.example.com", "sni_differs", "is no name"),
        ("sni=api.example.com.", "sni_differs", "is no name"),
        ("sni=api.example.com%00", "sni_differs", "is no name"),
        ("sni=%2A.cdn.example.com%20", "sni_differs", "is no name"),
        (
            "sni=www.example.com asked=api.example.com",
            "sni_differs",
            "the agent asked name servers for api.example.com, and calls www.example.com",
        ),
        ("sni=api.example.com hidden=yes", "hidden_name", "the client hides the name it calls (ECH); `ech = true` lets it"),
    ],
)
def test_another_name_is_forbidden_by_the_base_policy(policy: Policy, words: str, flag: str, hint: str) -> None:
    found = judged(policy, f"connect {words}")
    assert found.decision.verdict is Verdict.DENY
    assert found.decision.policies == ("hostguard: servers are called by their names",)
    assert found.flags == (flag,)
    assert hint in found.decision.hint


def test_without_a_name_there_is_a_flag_for_policies(policy: Policy) -> None:
    assert judged(policy, "connect version=1.3").flags == ("no_sni",)


def test_a_hidden_name_where_the_configuration_lets_it(policy: Policy) -> None:
    found = judged(policy, "connect hidden=yes version=1.3", "hidden")
    assert (found.decision.verdict, found.flags) == (Verdict.ALLOW, ("no_sni",))


@pytest.mark.parametrize(
    ("words", "policies"),
    [
        ("sni=api.example.com alpn=h2,spdy/3", "no old protocols"),
        ("sni=api.example.com version=1.1", "no old versions"),
        ("sni=admin.cdn.example.com", "not the admin's"),
    ],
)
def test_what_a_policy_can_look_at(policy: Policy, words: str, policies: str) -> None:
    found = judged(policy, f"connect {words}")
    assert (found.decision.verdict, found.decision.policies) == (Verdict.DENY, (policies,))
    assert f'"{policies}" forbids connect on api' in found.decision.reason


def test_nothing_is_permitted_by_default(policy: Policy) -> None:
    found = judged(policy, "connect sni=asks.example.com", "asks")
    assert (found.decision.verdict, found.helped_by, found.needs) == (Verdict.HOLD, ("group dba",), ("connect",))
    approved = judged(policy, "connect sni=asks.example.com", "asks", Approval(frozenset(["bob"])))
    assert approved.decision.verdict is Verdict.ALLOW
    nobody = judged(policy, "connect sni=127.0.0.1", "asks", Approval(frozenset(["bob"])))
    assert nobody.decision.verdict is Verdict.DENY


def test_a_text_is_judged_once(policy: Policy) -> None:
    decider = Decider(policy)
    for _ in range(3):
        flow = decider.open("bot", "api")
        flow.decide(Operation(1, OperationKind.CONNECT, "connect sni=api.example.com", SESSION))
    assert decider.stats.decided == 1


@pytest.mark.parametrize("text", ["SELECT 1", "connect sni", "connect sni=a sni=b", "connect who=a", "connect =", "disconnect"])
def test_another_text_is_none(policy: Policy, text: str) -> None:
    with pytest.raises(Unreadable):
        read(text)
    assert judged(policy, text).decision.verdict is Verdict.DENY


def test_explain_tells_it_offline(policy: Policy) -> None:
    told = explain(policy, "bot", "api", "connect sni=api.example.com alpn=h2")
    assert told["verdict"] == "allow"
    assert told["accesses"] == [
        {"action": "connect", "object": "api (api.example.com)", "verdict": "allow", "policies": ["outside is reached"]}
    ]
    assert explain(policy, "bot", "api", "connect sni=evil.example.com")["verdict"] == "deny"
    assert 'expected "connect"' in explain(policy, "bot", "api", "SELECT 1")["reason"]


TEXTS = st.text(st.characters(max_codepoint=255), min_size=1, max_size=30).map(str.lower).filter(lambda t: t.isascii())


@given(TEXTS, st.lists(st.binary(min_size=1, max_size=8), max_size=3), st.lists(TEXTS, max_size=3, unique=True), st.booleans())
def test_what_the_conversation_writes_policy_reads(name: str, protocols: list[bytes], names: list[str], hides: bool) -> None:
    hello = ClientHello(name, tuple(protocols), 0x0304, hides, (0x1301,), (0,), ())
    found = read(connect(hello, names))
    asked = (name,) if name in names else tuple(sorted(names))
    assert found == Connect(name, asked, tuple(p.decode("latin-1") for p in protocols), "1.3", hides)


def test_a_star_is_one_label() -> None:
    assert is_one_of("a.b.c", ["*.b.c"])
    for name in ("b.c", "x.a.b.c", ".b.c", "a.b.c.", "a.b.d", "*.c", ""):
        assert not is_one_of(name, ["*.b.c"]), name


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            '[resources.x]\nprotocol = "postgres"\naddresses = ["a:1"]\nnames = ["a.b"]',
            'names: only a resource of protocol "tls"',
        ),
        ('[resources.x]\nprotocol = "postgres"\naddresses = ["a:1"]\nech = true', 'ech: only a resource of protocol "tls"'),
        ('[resources.x]\nprotocol = "tls"\naddresses = ["a:1"]\ncapture_replies = true', "capture_replies: nothing"),
        ('[resources.x]\nprotocol = "tls"\naddresses = ["a:1"]\nnames = ["A.b"]', "names: expected a host name in lower case"),
        ('[resources.x]\nprotocol = "tls"\naddresses = ["a:1"]\nnames = ["a.*.b"]', "names: expected a host name in lower case"),
        ('[resources.x]\nprotocol = "tls"\naddresses = ["a:1"]\nnames = ["a.b."]', "names: expected a host name in lower case"),
        ('[resources.x]\nprotocol = "tls"\naddresses = ["a:1"]\nserver_roots = "/etc/x"', "server_roots: nothing that passes"),
        (
            '[resources.x]\nprotocol = "tls"\naddresses = ["a:1"]\n[tags.t]\ncolumns = ["x/a/b/c/d"]',
            'columns: "x/a/b/c/d": a resource of protocol "tls" has no columns',
        ),
    ],
)
def test_mistakes_name_file_and_key(tmp_path: Path, more: str, said: str) -> None:
    (found,) = mistakes(tmp_path, CONFIGURATION + more)
    assert found.startswith("hostguard.toml:")
    assert said in found


def test_the_resource_says_its_protocol(policy: Policy) -> None:
    kinds: dict[str, Any] = {name: section.protocol for name, section in policy.document.resources.items()}
    assert kinds == {"api": "tls", "hidden": "tls", "asks": "tls", "shop": "postgres"}
