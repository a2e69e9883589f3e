"""What the daemon asks policy about its users, and what it leaves out of what it answers."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest

from hostguard.agent.control import Control
from hostguard.agent.rights import NoSuchAgent, Rights
from hostguard.agent.routes import Caller, Right
from hostguard.agent.sight import ANY, About, for_anybody
from hostguard.agent.waiting import By
from hostguard.policy.decide import Decider, Policy
from hostguard.policy.document import of_texts
from hostguard.policy.requests import NotAllowed
from hostguard.policy.rules import Source, base_source

CONFIGURATION = """
[agents.bot]
owner = "alice"
[agents.other]
owner = "alice"
[users.alice]
[users.carol]
"""
BLIND = '@id("blind") forbid (principal == User::"carol", action == Action::"look", resource == Agent::"bot");'
CAROL, ROOT = By("carol", 1000), By("", 0)


def policy_of(cedar: str = BLIND, *, base: bool = True) -> Policy:
    own = "" if base else "[policy]\nbase = false\n"
    return Policy(of_texts("hostguard.toml", CONFIGURATION + own, [*([base_source()] if base else []), Source("p.cedar", cedar)]))


def caller(by: By, policy: Policy, *right: str) -> Caller:
    return Caller(by, Right(*right), Rights(Decider(policy)))


def test_a_status_tells_nothing_of_agents_out_of_sight() -> None:
    facts = {
        "state": "guarding",
        "flows": {"open": 2, "shown": [{"agent": "bot", "id": 1}, {"agent": "other", "id": 2}]},
        "stops": [{"agent": "", "by": "all"}, {"agent": "bot"}],
        "deep": [{"tokens": [{"agent": "bot"}, {"agent": "other", "roles": ["r"]}]}],
        "problems": ["bot is stopped"],
    }
    asked = caller(CAROL, policy_of(), "look", "status")
    assert asked.within_sight(facts) == {
        "state": "guarding",
        "flows": {"open": 2, "shown": [{"agent": "other", "id": 2}]},
        "stops": [{"agent": "", "by": "all"}],
        "deep": [{"tokens": [{"agent": "other", "roles": ["r"]}]}],
        "problems": ["bot is stopped"],
    }
    assert asked.left_out == 3
    whole = caller(ROOT, policy_of(), "look", "status")
    assert (whole.within_sight(facts), whole.left_out) == (facts, 0)


def test_sentences_about_agents_out_of_sight_are_left_out_or_told_without_them() -> None:
    broken = About("bot fell over", ["bot", "other"], "somebody fell over")
    unread = About("KeyError: 'bot'", ANY, "an error")
    facts: dict[str, Any] = {
        "problems": [
            "the disk is full",
            "",
            About("bot is stopped", ["bot"]),
            About("other is", ["other"]),
            About("all are", [""]),
        ],
        "faults": [{"agent": "", "reason": unread}, {"agent": "", "reason": About("of any", ANY)}],
        "deep": {"failure": broken},
    }
    asked = caller(CAROL, policy_of(), "look", "status")
    assert asked.within_sight(facts) == {
        "problems": ["the disk is full", "", "other is", "all are"],
        "faults": [{"agent": "", "reason": "an error"}, {"agent": "", "reason": ""}],
        "deep": {"failure": "somebody fell over"},
    }
    assert asked.left_out == 1
    assert caller(ROOT, policy_of(), "look", "status").within_sight(facts) == facts
    assert for_anybody([*facts["problems"], unread]) == [
        "the disk is full",
        "",
        "all are",
        "an error",
        "2 more in hostguard status",
    ]


def test_duties_of_agents_out_of_sight_are_left_out() -> None:
    async def facts() -> list[dict[str, Any]]:
        return [{"agent": "bot", "duty": "pay"}, {"agent": "other", "duty": "pay"}]

    control: Any = SimpleNamespace(_history=SimpleNamespace(facts=facts))
    asked = caller(CAROL, policy_of(), "look", "duties")
    request: Any = None
    answer = asyncio.run(Control._get_duties(control, request, asked))
    assert json.loads(answer.text or "") == [{"agent": "other", "duty": "pay"}]
    assert asked.left_out == 1


def test_what_is_remembered_goes_with_the_policy() -> None:
    decider = Decider(policy_of())
    rights = Rights(decider)
    assert not rights.sees(CAROL, "bot", "requests")
    assert rights.sees(CAROL, "other", "requests")
    decider.reload(policy_of(""))
    assert rights.sees(CAROL, "bot", "requests")
    decider.reload(Policy(of_texts("hostguard.toml", CONFIGURATION.replace("[users.carol]\n", ""), [base_source()])))
    assert not rights.sees(CAROL, "bot", "requests"), "who is no user any more"


OPERATES = '@id("operates") permit (principal == User::"carol", action == Action::"operate", resource);'
NOT_BOT = '@id("not bot") forbid (principal == User::"carol", action, resource == Agent::"bot");'
EVERYBODY = (
    '@id("everybody") forbid (principal == User::"carol", action in [Action::"look", Action::"operate"], resource is Agent);'
)
LOOKS = (
    '@id("one look") permit (principal == User::"carol", action == Action::"look", resource) when { context.what == "grants" };'
)


@pytest.mark.parametrize("cedar", [BLIND, BLIND + OPERATES + NOT_BOT, NOT_BOT, EVERYBODY, BLIND + EVERYBODY + OPERATES])
@pytest.mark.parametrize("base", [True, False])
def test_who_is_refused_can_not_tell_an_agent_out_of_sight_from_none(cedar: str, base: bool) -> None:
    asked, said = caller(CAROL, policy_of(cedar, base=base), "operate", "stop"), []
    for agent in ("bot", "nobody"):
        with pytest.raises((NotAllowed, NoSuchAgent)) as refused:
            asked.insist_by_name(agent, f"stop agent {agent}")
        said.append((refused.type, str(refused.value).replace(agent, "AGENT")))
    assert said[0] == said[1]
    assert (said[0][0] is NoSuchAgent) == (OPERATES in cedar and EVERYBODY not in cedar)


def test_who_sees_an_agent_or_may_act_on_it_is_answered_about_it() -> None:
    seeing = policy_of(LOOKS + NOT_BOT.replace("action,", 'action == Action::"operate",'), base=False)
    with pytest.raises(NotAllowed, match="forbidden by not bot"):
        caller(CAROL, seeing, "operate", "stop").insist_by_name("bot", "stop agent bot")
    assert caller(CAROL, policy_of(BLIND + OPERATES), "operate", "stop").insist_by_name("bot", "stop") == ("operates",)
    gone = caller(CAROL, policy_of(OPERATES), "operate", "resume")
    assert gone.insist_by_name("gone", "resume", left=True) == ("operates",)
    with pytest.raises(NoSuchAgent, match='there is no agent "gone"; known here: bot, other'):
        gone.insist_by_name("gone", "resume")


def test_a_refusal_says_why() -> None:
    with pytest.raises(NotAllowed) as refused:
        caller(CAROL, policy_of(), "operate", "stop").insist("bot", "stop agent bot")
    asked = "(action 'operate' on Agent::\"bot\", context.verb 'stop')"
    assert str(refused.value) == f"carol may not stop agent bot: no policy permits it {asked}."
    with pytest.raises(NotAllowed, match=r"root may not restart .* the base policy, by which root may, is off \(\[policy\] base"):
        caller(ROOT, policy_of(base=False), "operate", "restart").insist(None, "restart the daemon")
    with pytest.raises(NotAllowed, match="carol may not look: forbidden by blind"):
        caller(CAROL, policy_of(), "look", "requests").insist("bot", "look")
    broken = '@id("b") permit (principal, action == Action::"operate", resource is Agent) when { 9223372036854775807 + 1 > 0 };'
    with pytest.raises(NotAllowed, match="a policy fails"):
        caller(CAROL, policy_of(broken), "operate", "stop").insist("bot", "stop agent bot")
