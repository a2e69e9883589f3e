"""Who could exercise which duty by the loaded policies, who could exercise two that must be apart.

Theory of operation
-------------------
The answer must not miss anybody, so it is taken from the policies' scopes, and only what is sure to close is taken off:

1. An agent *may* exercise a duty when a permit whose scope fits the agent, an action and an object of the duty exists, and no
   forbid without conditions covers all of what both have in common (their *region*).
2. Then Cedar itself is asked about one object in the region (the *example*), without flags, without an approval and with each
   that users could give. If it permits, the holding is *certain*, and the example is shown. If it does not, conditions decide,
   which nobody can evaluate in advance: the holding is *unsure*. But where the region is one object and no condition looks at the
   context Cedar's answer is the answer.
   A role that only claims can give (`issuers`) may be there or not: what is permitted by it is unsure, what is forbidden by it
   stays open.
3. A user takes part in a duty as owner of an agent that may exercise it, or by approving it for one: where a policy speaks of
   approvals, or a budget holds for them, every user whom policy lets approve the action for that agent counts. That is exact.

Out of sight, here as everywhere: what functions, triggers and rules do inside the server (`opaque_calls` lists whom it concerns).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache

import msgspec
from cedarpy import pst

from .asks import Approval, Ask
from .bearers import Bearer
from .decide import Policy
from .duties import Span, spans
from .issuers import mapped_roles, possible_groups
from .judge import OPAQUE
from .paths import path, split
from .regions import acts, covers, is_many, regions
from .rules import RESERVED_ID, Rule, members, schema_text
from .sql.analysis import Name
from .sql.functions import classify

ANYTHING = ("any_database", "any_schema", "anything")
"""Names of an example in a region that is more than one object."""
_CONTEXT = re.compile(r"\bcontext\b|\bclaims\b")


class Holding(msgspec.Struct, frozen=True):
    """One agent that may exercise one duty."""

    agent: str
    duty: str
    example: str
    """The access: ``insert on bank/bank/public/payees``."""
    policies: tuple[str, ...]
    """That permit it, or may."""
    approval: str = ""
    """Whose approval it takes; empty when it takes none."""
    certain: bool = True
    """False: a condition decides that can't be evaluated in advance."""


class Part(msgspec.Struct, frozen=True):
    """One way in which a user takes part in a duty: as owner of the agent, or by approving."""

    user: str
    holding: Holding
    approves: bool
    policies: tuple[str, ...] = ()
    """By which the user may approve."""


class Conflict(msgspec.Struct, frozen=True):
    """Somebody who could exercise both duties of an exclusion."""

    exclusion: str
    who: str
    """``agent NAME`` or ``user NAME``."""
    ways: tuple[str, str]
    """How, a sentence for each duty."""
    certain: bool
    apart: str
    """What keeps them apart when they run: empty for an exclusion that is always in force, of which this is a breach."""

    def __str__(self) -> str:
        could = "can" if self.certain else "may, as far as conditions can be told in advance,"
        return f"exclusions.{self.exclusion}: {self.who} {could} exercise both duties: {self.ways[0]}; {self.ways[1]}"


class Matrix(msgspec.Struct, frozen=True):
    """Everybody's duties."""

    holdings: tuple[Holding, ...]
    parts: tuple[Part, ...]
    conflicts: tuple[Conflict, ...]
    """Of exclusions that are always in force: breaches."""
    separated: tuple[Conflict, ...]
    """Of those within one object or window: kept apart when they run."""


def matrix(policy: Policy) -> Matrix:
    """Who could exercise what, over all agents, owners, approvers."""
    document = policy.document
    found = {agent: dict(_holdings(policy, agent)) for agent in document.agents}
    parts = [part for agent, held in found.items() for part in _parts(policy, agent, held)]
    holdings = [_best(each) for held in found.values() for each in held.values()]
    conflicts = list(_conflicts(policy, holdings, parts))
    return Matrix(
        tuple(holdings),
        tuple(parts),
        tuple(each for each in conflicts if not each.apart),
        tuple(each for each in conflicts if each.apart),
    )


def opaque_calls(policy: Policy) -> Iterator[str]:
    """Permits to call functions whose bodies nobody sees, and that are no part of a duty."""
    if not policy.document.exclusions:
        return
    listed = [span for duty in policy.document.duties.values() for span in spans(policy.document, duty)]
    for rule in policy.rules:
        place = _function(rule)
        if place and rule.node.effect == "permit" and acts(rule, "call") and not any(span.path == place for span in listed):
            yield (
                f'{rule.file}:{rule.line}: policy "{rule.id}" lets agents call {path(*place)}, whose body is out of sight: '
                "name it in the `objects` of the duties that it exercises"
            )


def _function(rule: Rule) -> tuple[str, ...]:
    """The function of unknown body that is the policy's very scope; nothing for another."""
    scope = rule.node.resource
    if not isinstance(scope, pst.ScopeEq | pst.ScopeIn) or not isinstance(scope.entity, pst.EntityUid):
        return ()
    place = split(scope.entity.id)
    known = str(scope.entity.type) != "Function" or len(place) != 4
    return () if known or ("FunctionClass", classify(Name(place[3], place[2]))) != OPAQUE else place


def all_claims(policy: Policy, agent: str) -> Bearer:
    """All roles that claims can give to the agent."""
    roles = mapped_roles(policy.document, agent).difference(policy.document.agents[agent].roles)
    return Bearer(tuple(sorted(roles)))


# -- agents -------------------------------------------------------------------------------------------------------------------


def _holdings(policy: Policy, agent: str) -> Iterator[tuple[str, list[Holding]]]:
    for name, duty in policy.document.duties.items():
        actions = sorted(set().union(*map(members, duty.actions)))
        found = [
            holding
            for span in spans(policy.document, duty)
            for action in actions
            for holding in _holding(policy, agent, name, span, action)
        ]
        if found:
            yield name, found


def _holding(policy: Policy, agent: str, duty: str, span: Span, action: str) -> Iterator[Holding]:
    """How the agent may do this in the span; nothing when it may not."""
    claims = all_claims(policy, agent)
    asker, most = policy.asker(agent), policy.asker(agent, claims)
    kinds = applies_to(action)
    own = {rule.id for rule in asker.rules}
    forbids = [rule for rule in most.rules if rule.node.effect == "forbid" and acts(rule, action)]
    # What forbids a role from claims closes nothing: the agent may come without it.
    sure = [rule for rule in forbids if not rule.node.clauses and rule.id in own]
    open_to: dict[tuple[str, tuple[str, ...]], list[Rule]] = {}
    for rule in most.rules:
        if rule.node.effect != "permit" or not acts(rule, action):
            continue
        for kind, region in regions(policy, rule.node.resource, span, kinds):
            if not any(covers(policy, each.node.resource, kind, region) for each in sure):
                open_to.setdefault((kind, region), []).append(rule)
    for (kind, region), rules in open_to.items():
        ask = _example(action, kind, region)
        names = tuple(sorted(rule.id for rule in rules))
        said = f"{action} on {ask.id}"
        (plain,) = asker.ask([ask], ())
        if plain.allowed:
            yield Holding(agent, duty, said, plain.policies)
        approved = False
        if asker.heeds_approval:
            for help_ in policy.approvers.helps(agent, region[0], [action]):
                (answer,) = asker.ask([ask], (), help_.approval)
                if answer.allowed and not plain.allowed:
                    approved = True
                    yield Holding(agent, duty, said, answer.policies, help_.words)
                    break
        looking = any(_CONTEXT.search(_clauses(rule)) for rule in (*rules, *forbids))
        if claims.roles:
            looking |= any(rule.id not in own for rule in rules) or any("Role" in _clauses(rule) for rule in (*rules, *forbids))
        if not (plain.allowed or approved) and (looking or is_many(kind, region)):
            yield Holding(agent, duty, said, names, "", certain=False)


def _example(action: str, kind: str, region: tuple[str, ...]) -> Ask:
    """A question about one object of the region."""
    depth = {"Resource": 1, "Database": 2, "Schema": 3}.get(kind, 4)
    place = (*region, *ANYTHING[len(region) - 1 :])[:depth]
    groups = (("FunctionClass", classify(Name(place[3], place[2]))),) if kind == "Function" else ()
    if action == "connect":
        return Ask(action, kind, path(*place), (("alpn", ()), ("version", "1.3")))
    facts = (("setting", "anything"),) if action == "alter_system" else (("detail", ""),)
    return Ask(action, kind, path(*place), facts, groups)


def _clauses(rule: Rule) -> str:
    """The conditions, as text; more than them does no harm."""
    return rule.text.partition(")")[2] if rule.node.clauses else ""


@cache
def applies_to(action: str) -> tuple[str, ...]:
    """Types of the objects that the schema lets the action be on."""
    for statement in re.sub("//.*", "", schema_text()).split(";"):
        names, _, rest = statement.strip().removeprefix("action ").partition(" appliesTo")
        found = re.search(r"resource: \[?([\w, ]+?)\]?,? *(?:context|\n|\})", rest)
        if found and action in re.split(r"[,\s]+", names.partition(" in [")[0]):
            return tuple(kind for kind in re.split(r"[,\s]+", found[1]) if kind)
    return ()


# -- users --------------------------------------------------------------------------------------------------------------------


def _parts(policy: Policy, agent: str, held: dict[str, list[Holding]]) -> Iterator[Part]:
    document = policy.document
    owner = document.agents[agent].owner
    asked = any(budget.over == "hold" and budget.concerns(agent) for budget in document.budgets.values())
    for holdings in held.values():
        if owner in document.users:
            yield Part(owner, _best(holdings), approves=False)
        shortest = sorted(holdings, key=lambda holding: len(holding.example))
        for user in document.users:
            ways = (way for holding in shortest if (way := _approves(policy, user, agent, holding, asked)) is not None)
            # The shortest that is sure; no further one is looked for, since each takes questions to Cedar.
            first = next(ways, None)
            if first is not None:
                yield first if first.holding.certain else next((way for way in ways if way.holding.certain), first)


def _approves(policy: Policy, user: str, agent: str, holding: Holding, asked: bool) -> Part | None:
    """How the user takes part by approving what the agent may do so; None when they can't, or nobody asks them."""
    rules = policy.asker(agent, all_claims(policy, agent)).rules
    action = holding.example.partition(" on ")[0]
    # A forbid as well: `forbid … unless { context has approval }` asks for one.
    speaks = any("approval" in rule.text and acts(rule, action) for rule in rules)
    if not (speaks or asked):
        return None
    resource = split(holding.example.partition(" on ")[2])[0]
    may, ways = policy.approvers.may_approve, possible_groups(policy.document, user)
    levels = range(len(policy.document.approvals.escalate_s) + 1)
    answers = ((way, may(user, way, agent, resource, [action], level)) for way in ways for level in levels)
    groups, answer = next(((way, answer) for way, answer in answers if answer.allowed), (ways[0], None))
    if answer is None:
        return None
    # Whether a sign-in gives the groups that it takes can't be told in advance.
    suffices = groups == ways[0] and bool(holding.approval) and holding.certain and _suffices(policy, user, holding)
    return Part(user, msgspec.structs.replace(holding, certain=suffices), True, answer.policies)


def _suffices(policy: Policy, user: str, holding: Holding) -> bool:
    """Whether the user's approval is, alone or with others who may, what the example takes."""
    action, _, place = holding.example.partition(" on ")
    kind = next(
        (kind for kind in applies_to(action) if len(split(place)) == {"Resource": 1, "Database": 2, "Schema": 3}.get(kind, 4)), ""
    )
    ask = _example(action, kind, split(place))
    helps = policy.approvers.helps(holding.agent, split(place)[0], [action])
    approvals = [Approval(frozenset([user])), *(each.approval for each in helps if user in each.approval.by)]
    return any(policy.asker(holding.agent).ask([ask], (), approval)[0].allowed for approval in approvals)


def _best(holdings: Iterable[Holding]) -> Holding:
    """The surest, simplest, shortest example."""
    return min(holdings, key=lambda each: (not each.certain, bool(each.approval), len(each.example), each.example))


# -- both ---------------------------------------------------------------------------------------------------------------------


def _conflicts(policy: Policy, holdings: list[Holding], parts: list[Part]) -> Iterator[Conflict]:
    document = policy.document
    for name, exclusion in document.exclusions.items():
        first, second = exclusion.duties
        apart = {"always": "", "object": "within one object", "window": f"within {exclusion.window_s} s"}[exclusion.within]
        if exclusion.scope == "agent":
            by_agent = {(each.agent, each.duty): each for each in holdings}
            for agent in document.agents:
                one, other = by_agent.get((agent, first)), by_agent.get((agent, second))
                if one and other:
                    ways = f'"{first}" {way(one)}', f'"{second}" {way(other)}'
                    yield Conflict(name, f"agent {agent}", ways, one.certain and other.certain, apart)
            continue
        for user in document.users:
            some = _way_of(user, first, parts), _way_of(user, second, parts)
            if some[0] and some[1]:
                ways = f'"{first}" {_taken(some[0])}', f'"{second}" {_taken(some[1])}'
                yield Conflict(name, f"user {user}", ways, some[0].holding.certain and some[1].holding.certain, apart)


def _way_of(user: str, duty: str, parts: Iterable[Part]) -> Part | None:
    ways = [part for part in parts if part.user == user and part.holding.duty == duty]
    return min(
        ways, key=lambda p: (not p.holding.certain, p.approves, bool(p.holding.approval), len(p.holding.example)), default=None
    )


def way(holding: Holding) -> str:
    """How an agent exercises a duty, with the policies."""
    by = ", ".join(f'"{policy}"' for policy in holding.policies if not policy.startswith(RESERVED_ID)) or "the base policy"
    with_ = f" with the approval of {holding.approval}" if holding.approval else ""
    return f"{'by' if holding.certain else 'perhaps by'} {holding.example}{with_} ({by})"


def _taken(part: Part) -> str:
    if not part.approves:
        return f"as owner of agent {part.holding.agent}, {way(part.holding)}"
    by = ", ".join(f'"{policy}"' for policy in part.policies)
    return f"by approving for agent {part.holding.agent} ({by}), {way(part.holding)}"
