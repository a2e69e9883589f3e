"""What is wrong between the page, the providers, the users who sign in there."""

from __future__ import annotations

import pytest

from hostguard.policy.check import check
from hostguard.policy.decide import Policy
from hostguard.policy.document import ConfigErrors, of_texts
from hostguard.policy.holders import matrix
from hostguard.policy.issuers import groups_of
from hostguard.policy.rules import Source, base_source
from hostguard.policy.sections import Tables
from hostguard.policy.strict import Mistake, read
from hostguard.policy.web_checks import web_mistakes
from hostguard.policy.web_sections import Web

URL = "https://hostguard.example:8443"
ISSUER = {"issuer": "https://login.example", "audiences": ["x"], "users": [{"claim": "sub", "equals": "b", "user": "bob"}]}
SAML = {
    **ISSUER,
    "kind": "saml",
    "issuer": "idp",
    "audiences": ["us"],
    "certificates": "/idp.pem",
    "recipient": f"{URL}/sign-in/idp/answer",
}
WEB = {"listen": "127.0.0.1:8443", "public_url": URL}


def mistakes(**sections: object) -> dict[str, str]:
    found: list[Mistake] = []
    raw = {"web": WEB, "issuers": {"corp": ISSUER, "idp": SAML}, **sections}
    tables: Tables = read(raw, Tables, (), found)
    found.extend(web_mistakes(tables, raw))
    return {".".join(map(str, mistake.path)): mistake.message for mistake in found}


def test_a_good_configuration_has_none() -> None:
    sign_in = {"corp": {"client_id": "c"}, "idp": {"client_id": "us", "sso_url": "https://idp.example/sso"}}
    assert mistakes(sign_in=sign_in) == {}
    assert mistakes(web={}, sign_in={"corp": {"client_id": "c"}}) == {}, "the command line alone"


@pytest.mark.parametrize(
    ("web", "key", "words"),
    [
        ({"listen": "127.0.0.1:1"}, "web.public_url", "required with listen"),
        ({"public_url": URL}, "web.listen", "required with public_url"),
        ({**WEB, "public_url": "http://hostguard.example"}, "web.public_url", "https"),
        ({**WEB, "public_url": f"{URL}/path"}, "web.public_url", "no path"),
        ({**WEB, "public_url": "https://HOST"}, "web.public_url", "lower case"),
        ({**WEB, "listen": "host:1"}, "web.listen", "an address"),
        ({**WEB, "listen": "999.0.0.1:1"}, "web.listen", "is no address"),
        ({**WEB, "listen": "127.0.0.1:0"}, "web.listen", "is no port"),
        ({**WEB, "listen": "127.0.0.1:70000"}, "web.listen", "is no port"),
        ({**WEB, "certificate": "/c"}, "web.key", "required with certificate"),
        ({**WEB, "key": "/k"}, "web.certificate", "required with key"),
        ({**WEB, "session_s": 1}, "web.session_s", "60"),
    ],
)
def test_the_page(web: dict[str, object], key: str, words: str) -> None:
    assert words in mistakes(web=web)[key]


@pytest.mark.parametrize(
    ("name", "sign_in", "key", "words"),
    [
        ("crop", {"client_id": "c"}, "sign_in.crop", 'no issuer "crop"'),
        ("corp", {}, "sign_in.corp.client_id", "required"),
        ("corp", {"client_id": "a b"}, "sign_in.corp.client_id", "a word"),
        ("corp", {"client_id": "c", "scopes": ["email"]}, "sign_in.corp.scopes", "openid"),
        ("corp", {"client_id": "c", "sso_url": "https://x"}, "sign_in.corp.sso_url", "only an issuer of kind saml"),
        ("idp", {"client_id": "us"}, "sign_in.idp.sso_url", "required"),
        ("idp", {"client_id": "us", "sso_url": "http://idp.example"}, "sign_in.idp.sso_url", "https"),
        ("idp", {"client_id": "them", "sso_url": "https://x"}, "sign_in.idp.client_id", "audiences"),
    ],
)
def test_signing_in(name: str, sign_in: dict[str, object], key: str, words: str) -> None:
    assert words in mistakes(sign_in={name: sign_in})[key]


def test_an_answer_by_saml_goes_to_the_page() -> None:
    sign_in = {"idp": {"client_id": "us", "sso_url": "https://x"}}
    elsewhere = {"idp": {**SAML, "recipient": f"{URL}/saml"}}
    assert f"{URL}/sign-in/idp/answer" in mistakes(sign_in=sign_in, issuers=elsewhere)["issuers.idp.recipient"]
    assert "takes a browser" in mistakes(web={}, sign_in=sign_in)["sign_in.idp"]


def test_an_issuer_without_users_lets_nobody_in() -> None:
    nobody = {"corp": {**ISSUER, "users": []}}
    assert "no rule" in mistakes(sign_in={"corp": {"client_id": "c"}}, issuers=nobody)["sign_in.corp"]


def test_addresses_are_read() -> None:
    assert Web(listen="[::1]:8443").address == ("::1", 8443)
    assert Web(listen="127.0.0.1:1").address == ("127.0.0.1", 1)
    assert Web().address is None


GROUPS = """
[policy]
files = ["p.cedar"]
[users.ada]
groups = ["staff"]
[users.carl]
[users.dora]
[agents.bot]
owner = "ada"
[resources.pg]
protocol = "postgres"
addresses = ["127.0.0.1:1"]
[duties.clean]
actions = ["delete"]
objects = ["pg/d/public/t"]
[issuers.corp]
issuer = "https://login.example"
audiences = ["x"]
users = [{ claim = "sub", equals = "c", user = "carl" }, { claim = "sub", equals = "a", user = "ada" }]
[[issuers.corp.groups]]
claim = "groups"
contains = "db-admins"
group = "dba"
[[issuers.corp.groups]]
claim = "groups"
contains = "staff"
group = "staff"
[issuers.agents]
issuer = "https://agents.example"
audiences = ["x"]
users = [{ claim = "sub", equals = "d", user = "dora" }]
groups = [{ claim = "sub", equals = "d", group = "dba" }]
[sign_in.corp]
client_id = "c"
"""
HOLDS = """
@id("deletes") permit (principal, action == Action::"delete", resource)
when { context has approval && context.approval.count >= 1 };
@id("dba approves") permit (principal in Group::"dba", action == Action::"approve", resource);
@id("contractors do not") forbid (principal in Group::"staff", action == Action::"approve", resource);
"""


def loaded(toml: str = GROUPS, cedar: str = HOLDS) -> Policy:
    return Policy(of_texts("hostguard.toml", toml, [base_source(), Source("p.cedar", cedar)]))


def test_a_sign_in_adds_what_its_rules_may_give_to_its_users_and_nothing_else() -> None:
    document = loaded().document
    assert groups_of(document, "carl") == ()
    assert groups_of(document, "carl", ["dba", "root", "staff"]) == ("dba", "staff")
    assert groups_of(document, "ada", ["staff", "dba"]) == ("staff", "dba"), "each once"
    assert groups_of(document, "dora", ["dba"]) == (), "nobody signs in at the issuer that would give it"
    assert groups_of(document, "eve", ["dba"]) == (), "who is no user has none"


def test_what_only_a_sign_in_lets_somebody_approve_is_held_for_them() -> None:
    policy = loaded()
    (help_,) = policy.approvers.helps("bot", "pg", ["delete"])
    # With both groups carl may not, with that of the database administrators alone he may. ada is staff without any sign-in.
    assert (help_.words, help_.approval.by) == ("group dba", frozenset(["carl"]))
    assert loaded(
        GROUPS.replace("[sign_in.corp]\nclient_id", "[sign_in.other]\nclient_id").replace("[issuers.agents]", "[issuers.other]")
    ).approvers.helps("bot", "pg", ["delete"])[0].approval.by == frozenset(["dora"])
    assert not [line for line in check(policy).warnings if "dba" in line]


def test_the_matrix_names_them_as_unsure() -> None:
    (part,) = (part for part in matrix(loaded()).parts if part.approves)
    assert (part.user, part.holding.certain, part.policies) == ("carl", False, ("dba approves",))


def test_a_rule_for_groups_says_one_thing() -> None:
    with pytest.raises(ConfigErrors) as caught:
        loaded(GROUPS.replace('contains = "db-admins"', ""))
    (error,) = caught.value.errors
    assert (error.key, error.message) == ("issuers.corp.groups", "number 1 needs exactly one of equals, contains")
