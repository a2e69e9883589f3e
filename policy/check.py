"""What an author of policies should know although nothing is wrong: what can match nothing, whom nothing permits anything."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec
from cedarpy import pst

from .asks import Ask
from .catalogs import BUILT_IN_TAGS
from .decide import Policy
from .entities import tag_chain
from .holders import all_claims, matrix, opaque_calls
from .names import OF_RESOURCE
from .operators import HOST, ROOT, SIGHTS, USERS_OWN, VERBS, may
from .paths import split
from .rules import RESERVED_ID, Rule
from .sql.functions import CONSEQUENCES
from .strict import suggest

GROUPS = frozenset(["read", "write", "define", "administer", "session"])
_DEPTH = {"Database": 2, "Schema": 3, "Table": 4, "Function": 4, "Column": 5}
"""Parts of the paths."""
_WORDS = {"FunctionClass": "class of functions", "NameClass": "class of names"}
_NAMED = re.compile(r'context\.(verb|what)\s*[!=]=\s*"([^"]*)"')
_SHAPE = ("resource", "database", "schema", "table", "column")


class Report(msgspec.Struct, frozen=True):
    """What `check` found."""

    counts: dict[str, int]
    """How many of each there are: workloads, agents, users, resources, tags, policies, base policies."""
    warnings: tuple[str, ...]
    """Sentences, each naming the place."""
    conflicts: tuple[str, ...] = ()
    """Who could exercise duties that must be apart, a sentence each."""


def check(policy: Policy) -> Report:
    """Look through a policy that loads."""
    document, rules = policy.document, policy.rules
    base = [rule for rule in rules if rule.id.startswith(RESERVED_ID)]
    counts = {
        "workloads": len(document.workloads),
        "agents": len(document.agents),
        "users": len(document.users),
        "resources": len(document.resources),
        "tags": len(document.tags),
        "policies": len(rules) - len(base),
        "base policies": len(base),
    }
    if document.duties:
        counts["duties"] = len(document.duties)
    warnings = (
        *_matching_nothing(policy),
        *_misnamed(policy),
        *_locked_out(policy),
        *_unserved(policy),
        *_unseen(policy),
        *_unapproved(policy),
        *opaque_calls(policy),
    )
    return Report(counts, warnings, tuple(map(str, matrix(policy).conflicts)))


def _matching_nothing(policy: Policy) -> Iterator[str]:
    """Policies that name what no configuration has."""
    for rule in policy.rules:
        for uid in sorted(pst.entity_uids(rule.node), key=str):
            why = _unknown(policy, str(uid.type), uid.id)
            if why:
                yield f'{rule.file}:{rule.line}: policy "{rule.id}" names {uid}, but {why}'


def _unknown(policy: Policy, kind: str, name: str) -> str:
    document = policy.document
    known: dict[str, Iterable[str]] = {
        "Role": {
            *(role for agent in document.agents.values() for role in agent.roles),
            *(rule.role for issuer in document.issuers.values() for rule in issuer.roles),
        },
        "Group": {
            ROOT,
            *(group for user in document.users.values() for group in user.groups),
            *(rule.group for issuer in document.issuers.values() for rule in issuer.groups),
        },
        "Agent": document.agents,
        "User": document.users,
        "Resource": document.resources,
        "Environment": {r.environment for r in document.resources.values() if r.environment},
        "Tag": {part for tag in (*document.tags, *BUILT_IN_TAGS) for part in tag_chain(tag)},
        "FunctionClass": {*CONSEQUENCES, "unlocks"},
        "NameClass": {OF_RESOURCE[1]},
        "Host": {HOST},
    }
    if kind in known:
        names = set(known[kind])
        return "" if name in names else f"there is no such {_WORDS.get(kind, kind.lower())}{suggest(name, names)}"
    if kind in ("Name", "Domain"):
        wrong = name != name.lower() or name != name.strip(".") or "" in name.split(".")
        return "a name is written in lower case without a final dot" if wrong and name != "." else ""
    if kind not in _DEPTH:
        return ""
    parts = split(name)
    if len(parts) != _DEPTH[kind] or "" in parts:
        return f"a {kind.lower()} is written {'/'.join(_SHAPE[: _DEPTH[kind]])}"
    return "" if parts[0] in document.resources else f'there is no resource "{parts[0]}"{suggest(parts[0], document.resources)}'


def _misnamed(policy: Policy) -> Iterator[str]:
    """Policies that wait for something that nobody can ask for."""
    for rule in policy.rules:
        for name, word in _NAMED.findall(rule.text):
            known = VERBS if name == "verb" else SIGHTS
            if word not in known:
                yield (
                    f'{rule.file}:{rule.line}: policy "{rule.id}" names context.{name} "{word}", which there is not'
                    f"{suggest(word, known)}"
                )


def _locked_out(policy: Policy) -> Iterator[str]:
    """What root may not do on the control socket: it is policy's to say so, and an author should know it."""
    for action, key, words in (("look", "what", ("status",)), ("operate", "verb", ("stop", "resume", "restart"))):
        refused = [word for word in words if not may(policy, "root", (ROOT,), action, None, {key: word}).allowed]
        if refused:
            yield (
                f'no policy lets root {action} ({", ".join(refused)}) here: permit it to Group::"{ROOT}", as the base policy '
                "does; until then only signals and files are left to it"
            )


def _unserved(policy: Policy) -> Iterator[str]:
    """Workloads whose agent nothing of the user's own permits anything."""
    for name, workload in policy.document.workloads.items():
        roles = (*policy.document.agents[workload.agent].roles, *all_claims(policy, workload.agent).roles)
        rules = policy.book.concerning(("Agent", workload.agent), [("Role", role) for role in roles])
        if not any(rule.node.effect == "permit" and not rule.id.startswith(RESERVED_ID) and _for_agents(rule) for rule in rules):
            yield f'workloads.{name}: no policy permits agent "{workload.agent}" anything beyond the base policy'


def _for_agents(rule: Rule) -> bool:
    action = rule.node.action
    return not (isinstance(action, pst.ActionEq) and action.entity.id in ("approve", "issue", *USERS_OWN))


def _unseen(policy: Policy) -> Iterator[str]:
    """Tags that nobody may see, and tags on nothing."""
    for name, tag in policy.document.tags.items():
        if not tag.columns:
            yield f'tags."{name}": no column carries it'
            continue
        asks = [Ask("reveal", "Column", column, (), (("Tag", name),)) for column in tag.columns]
        askers = [policy.asker(agent, all_claims(policy, agent)) for agent in policy.document.agents]
        answers = [answer for asker in askers for answer in asker.ask(asks, ())]
        if not any(answer.allowed for answer in answers):
            yield f'tags."{name}": no policy permits any agent to reveal it'


def _unapproved(policy: Policy) -> Iterator[str]:
    """Permits that wait for an approval which nobody may give."""
    for rule in policy.rules:
        if rule.node.effect != "permit" or "approval" not in rule.text:
            continue
        agents = [agent for agent in policy.document.agents if rule in policy.asker(agent, all_claims(policy, agent)).rules]
        for action in _actions(rule):
            if agents and not any(
                policy.approvers.helps(agent, resource, [action]) for agent in agents for resource in policy.document.resources
            ):
                yield f'{rule.file}:{rule.line}: policy "{rule.id}" waits for an approval of {action} that no user may give'


def _actions(rule: Rule) -> Iterator[str]:
    """The actions that the policy names; groups left out, since a request for approval names the single action."""
    action = rule.node.action
    named = [action.entity] if isinstance(action, pst.ActionEq) else action.entities if isinstance(action, pst.ActionIn) else ()
    yield from (uid.id for uid in named if uid.id not in GROUPS)
