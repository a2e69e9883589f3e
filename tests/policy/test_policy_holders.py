"""Who could exercise what, against all that Cedar says of a small world: nobody is missed, and what is certain is so."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hostguard.policy.asks import Approval, Ask
from hostguard.policy.check import check
from hostguard.policy.decide import Policy
from hostguard.policy.document import of_texts
from hostguard.policy.holders import Matrix, applies_to, matrix
from hostguard.policy.rules import Source, base_source

WORLD = """
[agents.one]
owner = "u"
roles = ["r"]
[agents.two]
owner = "v"
roles = ["r", "s"]
[users.u]
[users.v]
groups = ["g"]
[resources.x]
protocol = "postgres"
addresses = ["127.0.0.1:1"]
environment = "e"
[duties.first]
actions = ["insert", "update"]
objects = ["x/y/p/a"]
[duties.second]
actions = ["insert", "delete"]
objects = ["x/y/q", "x/y/p/b"]
[exclusions.agents]
duties = ["first", "second"]
scope = "agent"
[exclusions.owners]
duties = ["second", "first"]
"""
PARTS = {"first": ("x/y/p/a",), "second": ("x/y/q/a", "x/y/q/anything", "x/y/p/b")}
ACTIONS = {"first": ("insert", "update"), "second": ("insert", "delete")}

PRINCIPALS = ["principal", 'principal == Agent::"one"', 'principal in Role::"r"', 'principal in Role::"s"', "principal is Agent"]
VERBS = [
    'action in [Action::"read", Action::"write"]',
    'action == Action::"insert"',
    'action == Action::"delete"',
    'action in Action::"write"',
]
PLACES = [
    "resource",
    "resource is Table",
    'resource in Schema::"x/y/p"',
    'resource in Schema::"x/y/q"',
    'resource == Table::"x/y/p/a"',
    'resource == Table::"x/y/p/b"',
    'resource in Table::"x/y/q/a"',
    'resource in Resource::"x"',
    'resource in Environment::"e"',
    'resource in Tag::"catalog"',
    'resource is Table in Database::"x/y"',
]
CONDITIONS = [
    "",
    "",
    "when { context has approval }",
    "when { context has approval && context.approval.count >= 2 }",
    'when { context has approval && context.approval.by.contains(User::"u") }',
    'when { context.flags.contains("no_where") }',
    'unless { context.flags.contains("no_where") }',
    'when { resource == Table::"x/y/p/a" }',
    'unless { resource in Schema::"x/y/q" }',
    "when { false }",
    "unless { context has approval }",
]
RULES = st.tuples(*map(st.sampled_from, (["permit", "permit", "forbid"], PRINCIPALS, VERBS, PLACES, CONDITIONS)))
APPROVERS = [
    'permit (principal in Group::"g", action == Action::"approve", resource);',
    'permit (principal == User::"u", action == Action::"approve", resource);',
    'permit (principal, action == Action::"approve", resource) when { resource.action == "insert" };',
    'forbid (principal, action == Action::"approve", resource) when { principal == resource.owner };',
]


def policy_of(rules: list[tuple[str, ...]], approvers: list[str]) -> Policy:
    texts = [f"{effect} ({who}, {what}, {where}) {when};" for effect, who, what, where, when in rules]
    named = "\n".join(f'@id("{number}") {text}' for number, text in enumerate(texts + approvers))
    return Policy(of_texts("hostguard.toml", WORLD, [base_source(), Source("p.cedar", named)]))


def everything(policy: Policy) -> Iterator[tuple[str, str, frozenset[str]]]:
    """(agent, duty, approvers that it took) for all that can happen in the world."""
    sets = [frozenset(each) for count in (1, 2) for each in itertools.combinations("uv", count)]
    for agent, duty in itertools.product(("one", "two"), PARTS):
        asker = policy.asker(agent)
        asks = [Ask(action, "Table", place, (("detail", ""),)) for action in ACTIONS[duty] for place in PARTS[duty]]
        for flags in ((), ("no_where",)):
            plain = asker.ask(asks, flags)
            if any(answer.allowed for answer in plain):
                yield agent, duty, frozenset()
            for by in sets:
                for ask, before, answer in zip(asks, plain, asker.ask(asks, flags, Approval(by)), strict=True):
                    users = policy.document.users
                    may = all(policy.approvers.may_approve(u, users[u].groups, agent, "x", [ask.action]).allowed for u in by)
                    if answer.allowed and not before.allowed and may:
                        yield agent, duty, by


def taking_part(found: Matrix) -> set[tuple[str, str]]:
    return {(part.user, part.holding.duty) for part in found.parts}


@settings(max_examples=40, deadline=None)
@given(st.lists(RULES, max_size=5), st.lists(st.sampled_from(APPROVERS), unique=True, max_size=3))
@example([("permit", PRINCIPALS[0], VERBS[0], PLACES[0], CONDITIONS[5]), ("forbid", PRINCIPALS[0], VERBS[0], PLACES[2], "")], [])
@example([("permit", PRINCIPALS[0], VERBS[0], PLACES[4], ""), ("forbid", PRINCIPALS[0], VERBS[0], PLACES[0], CONDITIONS[6])], [])
@example(
    [("permit", PRINCIPALS[3], VERBS[0], PLACES[0], ""), ("forbid", PRINCIPALS[0], VERBS[0], PLACES[0], CONDITIONS[10])],
    APPROVERS[1:2],
)
def test_nobody_is_missed_and_what_is_certain_is_so(rules: list[tuple[str, ...]], approvers: list[str]) -> None:
    policy = policy_of(rules, approvers)
    found, real = matrix(policy), set(everything(policy))
    held = {(agent, duty) for agent, duty, _ in real}
    claimed = {(holding.agent, holding.duty): holding for holding in found.holdings}
    assert held <= set(claimed)
    assert {pair for pair, holding in claimed.items() if holding.certain} <= held
    owners = {"one": "u", "two": "v"}
    parts = {(owners[agent], duty) for agent, duty in held} | {(user, duty) for _, duty, by in real for user in by}
    assert parts <= taking_part(found)
    assert {(part.user, part.holding.duty) for part in found.parts if part.holding.certain} <= parts
    conflicts = {(conflict.exclusion, conflict.who) for conflict in found.conflicts}
    for agent in owners:
        if {(agent, "first"), (agent, "second")} <= held:
            assert ("agents", f"agent {agent}") in conflicts
    for user in "uv":
        if {(user, "first"), (user, "second")} <= parts:
            assert ("owners", f"user {user}") in conflicts
    certain = {conflict.who for conflict in found.conflicts if conflict.certain and conflict.exclusion == "owners"}
    assert certain <= {f"user {user}" for user in "uv" if {(user, "first"), (user, "second")} <= parts}


CLAIMS = """
[agents.one.identity.corp]
subject = "one@corp"
[issuers.corp]
issuer = "https://login.example"
audiences = ["hostguard"]
[[issuers.corp.roles]]
claim = "groups"
contains = "t"
role = "t"
"""


@pytest.mark.parametrize(
    ("rules", "certain"),
    [
        (['permit (principal in Role::"t", action == Action::"insert", resource == Table::"x/y/p/a");'], False),
        (
            ['permit (principal, action == Action::"insert", resource == Table::"x/y/p/a") when { principal in Role::"t" };'],
            False,
        ),
        (
            [
                'permit (principal == Agent::"one", action == Action::"insert", resource == Table::"x/y/p/a");',
                'forbid (principal in Role::"t", action, resource);',
            ],
            True,
        ),
    ],
)
def test_a_role_that_only_claims_give_may_be_there_or_not(rules: list[str], certain: bool) -> None:
    named = "\n".join(f'@id("{number}") {text}' for number, text in enumerate(rules))
    policy = Policy(of_texts("hostguard.toml", WORLD + CLAIMS, [base_source(), Source("p.cedar", named)]))
    held = [(each.agent, each.duty, each.certain) for each in matrix(policy).holdings]
    assert held == [("one", "first", certain)]


def test_a_conflict_tells_the_way_of_it() -> None:
    policy = policy_of(
        [
            ("permit", 'principal == Agent::"one"', 'action == Action::"insert"', 'resource == Table::"x/y/p/a"', ""),
            ("permit", 'principal == Agent::"two"', 'action == Action::"delete"', 'resource in Schema::"x/y/q"', CONDITIONS[2]),
        ],
        ['permit (principal == User::"u", action == Action::"approve", resource);'],
    )
    (conflict,) = check(policy).conflicts
    assert conflict == (
        'exclusions.owners: user u can exercise both duties: "second" by approving for agent two ("2"), '
        'by delete on x/y/q/anything with the approval of user u ("1"); '
        '"first" as owner of agent one, by insert on x/y/p/a ("0")'
    )


@pytest.mark.parametrize(
    ("action", "types"),
    [("insert", ("Table",)), ("copy_in", ("Table", "Database")), ("call", ("Function",)), ("connect", ("Resource",))],
)
def test_what_an_action_is_on_is_the_schemas_word(action: str, types: tuple[str, ...]) -> None:
    assert applies_to(action) == types
