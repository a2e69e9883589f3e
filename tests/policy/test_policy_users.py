"""What users may beside answering requests, as the base policy and policies beside it say."""

from __future__ import annotations

import pytest
from documents import SMALL

from hostguard.policy.check import check
from hostguard.policy.decide import Policy
from hostguard.policy.document import of_texts
from hostguard.policy.operators import ROOT, SIGHTS, VERBS, may
from hostguard.policy.rules import Source, base_source, schema_text

CONFIGURATION = """
[agents.bot]
owner = "alice"
roles = ["worker"]
[agents.other]
owner = "bob"
[users.alice]
[users.bob]
groups = ["auditors"]
"""
POLICIES = """
@id("auditors replay workers") permit (principal in Group::"auditors", action == Action::"replay", resource in Role::"worker")
when { context.resource == "shop" && !context.payloads };
@id("bob is blind") forbid (principal == User::"bob", action == Action::"look", resource == Agent::"bot")
when { context.what != "grants" };
"""


def policy_of(cedar: str = POLICIES, *, base: bool = True) -> Policy:
    own = "" if base else "[policy]\nbase = false\n"
    sources = [*([base_source()] if base else []), Source("p.cedar", cedar)]
    return Policy(of_texts("hostguard.toml", CONFIGURATION + own, sources))


def asked(policy: Policy, user: str, action: str, agent: str | None, **context: str | bool) -> tuple[str, ...] | None:
    """By which policies; None for no."""
    groups = {"root": (ROOT,), "bob": ("auditors",)}.get(user, ())
    answer = may(policy, user, groups, action, agent, context)
    assert not answer.error
    return answer.policies if answer.allowed else None


def test_everybody_looks_unless_a_policy_forbids() -> None:
    policy = policy_of()
    for what in sorted(SIGHTS):
        for agent in ("bot", "other", "forgotten", None):
            blind = agent == "bot" and what != "grants"
            assert asked(policy, "bob", "look", agent, what=what) == (None if blind else ("hostguard: users look",))
            assert asked(policy, "alice", "look", agent, what=what) == ("hostguard: users look",)
            assert asked(policy, "root", "look", agent, what=what) == ("hostguard: users look",)


def test_nobody_replays_but_root_unless_a_policy_says_so() -> None:
    policy = policy_of()
    for resource, payloads, allowed in (("shop", False, True), ("shop", True, False), ("bank", False, False)):
        terms: dict[str, str | bool] = {"resource": resource, "payloads": payloads}
        assert asked(policy, "bob", "replay", "bot", **terms) == (("auditors replay workers",) if allowed else None)
        assert asked(policy, "bob", "replay", "other", **terms) is None
        assert asked(policy, "alice", "replay", "bot", **terms) is None
        assert asked(policy, "root", "replay", "bot", **terms) == ("hostguard: root replays",)


def test_owners_and_who_decides_take_back_and_do_nothing_else() -> None:
    policy = policy_of()
    for verb in sorted(VERBS):
        back = verb in ("revoke_grant", "withdraw")
        assert asked(policy, "root", "operate", "bot", verb=verb) == ("hostguard: root operates",)
        assert asked(policy, "alice", "operate", "bot", verb=verb) == (("hostguard: owners take back",) if back else None)
        assert asked(policy, "bob", "operate", "bot", verb=verb, decides=False) is None
        decides = asked(policy, "bob", "operate", "bot", verb=verb, decides=True)
        assert decides == (("hostguard: who permits takes back",) if back else None)
        assert asked(policy, "alice", "operate", None, verb=verb, decides=True) is None
        assert asked(policy, "alice", "operate", "forgotten", verb=verb) is None


def test_without_the_base_policy_nobody_may_and_a_check_says_so() -> None:
    policy = policy_of(base=False)
    assert asked(policy, "root", "look", None, what="status") is None
    assert asked(policy, "root", "operate", None, verb="restart") is None
    warnings = [warning for warning in check(policy).warnings if "lets root" in warning]
    assert [warning[:55] for warning in warnings] == [
        "no policy lets root look (status) here: permit it to Gr",
        "no policy lets root operate (stop, resume, restart) her",
    ]
    assert not [warning for warning in check(policy_of()).warnings if "lets root" in warning]
    own = '@id("r") permit (principal in Group::"hostguard:root", action in [Action::"look", Action::"operate"], resource);'
    assert not [warning for warning in check(policy_of(own, base=False)).warnings if "lets root" in warning]


def test_a_check_finds_words_that_nobody_asks_with() -> None:
    cedar = """
@id("typo") permit (principal, action == Action::"operate", resource) when { context.verb == "stopp" };
@id("fine") permit (principal, action == Action::"look", resource) when { context.what == "requests" };
"""
    found = [warning for warning in check(policy_of(cedar)).warnings if "there is not" in warning]
    assert found == ['p.cedar:2: policy "typo" names context.verb "stopp", which there is not; did you mean stop?']


@pytest.mark.parametrize("words", [VERBS, SIGHTS])
def test_the_schema_tells_every_word(words: frozenset[str]) -> None:
    assert [word for word in sorted(words) if f'"{word}"' not in schema_text()] == []


def test_a_policy_for_users_serves_no_agent() -> None:
    cedar = '@id("u") permit (principal, action == Action::"look", resource);'
    policy = Policy(of_texts("hostguard.toml", SMALL, [base_source(), Source("p.cedar", cedar)]))
    assert [warning for warning in check(policy).warnings if "beyond the base policy" in warning]
