"""What would help somebody whose statement is denied: which policy to change, or to write."""

from __future__ import annotations

from collections.abc import Iterator

from ..protocols.events import Verdict
from .decide import Policy
from .duties import Span
from .holders import applies_to
from .judgement import AccessVerdict, Judgement
from .paths import split
from .regions import acts, common
from .rules import Rule

_DEPTH = {"Resource": 1, "Database": 2, "Schema": 3}
MAX_REMEDIES = 12


def remedies(policy: Policy, agent: str, judgement: Judgement) -> list[str]:
    """Sentences, one for each denied access at least; none for what is not denied, or is denied whatever policy says."""
    if judgement.decision.verdict is not Verdict.DENY:
        return []
    found = [each for verdict in judgement.verdicts for each in _of(policy, agent, verdict, judgement.flags)]
    return list(dict.fromkeys(found))[:MAX_REMEDIES]


def _of(policy: Policy, agent: str, verdict: AccessVerdict, flags: tuple[str, ...]) -> Iterator[str]:
    if verdict.verdict is not Verdict.DENY:
        return
    what = f"{verdict.action} on {verdict.object}"
    if verdict.policies:
        for name in verdict.policies:
            yield f"{what}: {_place(policy.book.rules[name])} forbids it; no permit and no approval is stronger"
        return
    place = split(verdict.object.partition(" (")[0])
    kind = next((kind for kind in applies_to(verdict.action) if len(place) == _DEPTH.get(kind, 4)), "")
    near = [rule for rule in policy.asker(agent).rules if _covers(policy, rule, verdict.action, place, kind)]
    for rule in near:
        said = f" (flags: {', '.join(flags)})" if flags and "flags" in rule.text else ""
        yield f"{what}: {_place(rule)} is about it, but its condition does not hold{said}"
    if not near and kind:
        roles = policy.document.agents[agent].roles
        who = f'in Role::"{roles[0]}"' if roles else f'== Agent::"{agent}"'
        where = verdict.object.partition(" (")[0]
        yield f'{what}: a policy permit (principal {who}, action == Action::"{verdict.action}", resource == {kind}::"{where}");'


def _covers(policy: Policy, rule: Rule, action: str, place: tuple[str, ...], kind: str) -> bool:
    if rule.node.effect != "permit" or not rule.node.clauses or not acts(rule, action) or not kind:
        return False
    return common(policy, rule.node.resource, Span(place), kind) == place


def _place(rule: Rule) -> str:
    return f'"{rule.id}" ({rule.file}:{rule.line})'
