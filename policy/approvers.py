"""Which users may approve an agent's operations."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import cedarpy

from .asks import Answer, Approval, entity, reference
from .cedar import Rulebook, authorize
from .document import Document
from .grants import Terms
from .issuers import possible_groups
from .judge import Help
from .rules import approvable, schema

MAX_COUNT = 5
"""Largest number of approvals that is looked for."""
MAX_KNOWN = 16_384
"""Answers that are remembered: who asks for one asks for all users and agents, again and again."""


class Approvers:
    """Asks who may approve, for one epoch; remembers what it asked."""

    def __init__(self, document: Document, book: Rulebook) -> None:
        self._document = document
        self._book = book
        self._helps: dict[tuple[str, str, frozenset[str]], tuple[Help, ...]] = {}
        self._known: dict[tuple[object, ...], Answer] = {}

    def may_approve(
        self, user: str, groups: Sequence[str], agent: str, resource: str, actions: Iterable[str], escalation: int = 0
    ) -> Answer:
        """Whether the user may approve all of `actions` for the agent on the resource.

        `groups` are what the caller knows the user to be in; the configuration's are not added. `escalation`: how many times of
        ``approvals.escalate_s`` have passed.
        """
        return _all(
            self._answer("approve", {"escalation": escalation}, user, groups, agent, resource, action)
            for action in sorted(set(actions))
        )

    def may_issue(
        self, user: str, groups: Sequence[str], agent: str, resource: str, actions: Iterable[str], terms: Terms
    ) -> Answer:
        """Whether the user may permit all of `actions` in advance, as far as `terms` go."""
        context = {"kind": terms.kind.value, "uses": terms.uses, "seconds": terms.seconds}
        return _all(self._answer("issue", context, user, groups, agent, resource, action) for action in sorted(set(actions)))

    def may_issue_any(self, user: str, groups: Sequence[str], agent: str, resource: str, terms: Terms) -> Answer:
        """Whether there is an action that the user may permit so; of a statement that nobody has judged yet."""
        answer = Answer(False)
        for action in sorted(approvable()):
            answer = self.may_issue(user, groups, agent, resource, [action], terms)
            if answer.allowed:
                break
        return answer

    def _answer(
        self,
        question: str,
        context: dict[str, Any],
        user: str,
        groups: Sequence[str],
        agent: str,
        resource: str,
        action: str,
    ) -> Answer:
        key = (question, tuple(context.items()), user, frozenset(groups), agent, resource, action)
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            found = self._known[key] = self._asked(question, context, user, groups, agent, resource, action)
        return found

    def _asked(
        self,
        question: str,
        context: dict[str, Any],
        user: str,
        groups: Sequence[str],
        agent: str,
        resource: str,
        action: str,
    ) -> Answer:
        policies = self._book.slice(("User", user), [("Group", group) for group in groups])
        facts = self._document.agents[agent]
        request = ("Request", f"{agent}/{resource}/{action}")
        environment = self._document.resources[resource].environment
        entities = [
            entity(("User", user), [("Group", group) for group in groups]),
            *(entity(("Group", group)) for group in groups),
            entity(
                ("Agent", agent),
                [("Role", role) for role in facts.roles],
                owner=reference("User", facts.owner),
                workload="",
                claims={},
            ),
            *(entity(("Role", role)) for role in facts.roles),
            *([entity(("Environment", environment))] if environment else []),
            entity(
                ("Resource", resource),
                [("Environment", environment)] if environment else [],
                protocol=self._document.resources[resource].protocol,
            ),
            entity(
                request,
                agent=reference("Agent", agent),
                owner=reference("User", facts.owner),
                action=action,
                resource=reference("Resource", resource),
            ),
        ]
        handle = cedarpy.Entities.from_json_str(json.dumps(entities), schema())
        asked = {
            "principal": {"type": "User", "id": user},
            "action": {"type": "Action", "id": question},
            "resource": {"type": request[0], "id": request[1]},
            "context": context,
        }
        return authorize(policies, handle, [asked])[0]

    def helps(self, agent: str, resource: str, actions: Iterable[str]) -> tuple[Help, ...]:
        """The approvals to try for these actions: of a group, of a user, of all together; smallest count first."""
        key = (agent, resource, frozenset(actions))
        if key not in self._helps:
            self._helps[key] = tuple(self._find(*key))
        return self._helps[key]

    def _find(self, agent: str, resource: str, actions: frozenset[str]) -> Iterable[Help]:
        last = len(self._document.approvals.escalate_s)
        ways = {user: possible_groups(self._document, user) for user in self._document.users}
        able = {user: self._ways(user, ways[user], agent, resource, actions, last) for user in ways}
        may = frozenset(user for user in ways if able[user])
        later = frozenset(user for user in may if not self._ways(user, ways[user], agent, resource, actions, 0))
        all_groups = {user: {group for way in able[user] for group in way} for user in may}
        groups: dict[str, frozenset[str]] = {}
        for name in sorted(set().union(*all_groups.values())):
            groups[f"group {name}"] = frozenset(user for user in may if name in all_groups[user])
        for user in sorted(may):
            if not all_groups[user]:
                groups[f"user {user}"] = frozenset([user])
        if len(set(groups.values())) > 1:
            groups[" and ".join(groups)] = may
        for words, members in groups.items():
            for count in range(1, min(len(members), MAX_COUNT) + 1):
                said = words if count == 1 else f"{count} of {words}"
                yield Help(Approval(members, count), f"{said} (once it has escalated)" if members <= later else said)

    def _ways(
        self, user: str, ways: Iterable[Sequence[str]], agent: str, resource: str, actions: Iterable[str], escalation: int
    ) -> list[Sequence[str]]:
        """Those of the ways in which the user's groups may be by which they may approve."""
        return [way for way in ways if self.may_approve(user, way, agent, resource, actions, escalation).allowed]


def _all(answers: Iterable[Answer]) -> Answer:
    """Yes with all the policies that say so, or the first no; no when nothing was asked."""
    found: list[Answer] = []
    for answer in answers:
        if not answer.allowed:
            return answer
        found.append(answer)
    return Answer(bool(found), tuple(sorted({name for answer in found for name in answer.policies})))
