"""Whether a user may operate, look, replay: the one place of the daemon that asks policy about it.

Answering requests and issuing grants are asked where the request is at hand (`policy.approvers`); everything else that the
control socket or the page can do is asked here.
"""

from __future__ import annotations

from ..policy.asks import Answer
from ..policy.decide import Decider, Policy
from ..policy.issuers import groups_of
from ..policy.operators import HOST, ROOT, may
from ..policy.regions import acts
from ..policy.requests import NotAllowed
from .peer import unix_name
from .waiting import By

MAX_KEPT = 4096
"""Answers at hand: a list asks about each of its rows, and a question costs about a millisecond."""

Key = tuple[str, bool, tuple[str, ...], str, str | None, tuple[tuple[str, str | bool], ...]]


class Rights:
    """Of the users of the policy in force."""

    def __init__(self, decider: Decider) -> None:
        self._decider = decider
        self._policy: Policy | None = None
        self._kept: dict[Key, Answer] = {}
        """By that policy."""

    def ask(self, by: By, action: str, agent: str | None, **context: str | bool) -> Answer:
        """Whether they may do this to the agent, or to all of this host; `context`: as the schema has it for the action."""
        policy = self._decider.policy
        if policy is not self._policy or len(self._kept) >= MAX_KEPT:
            self._policy, self._kept = policy, {}
        key = (by.user, by.uid == 0, by.groups, action, agent, tuple(sorted(context.items())))
        found = self._kept.get(key)
        if found is None:
            found = self._kept[key] = self._ask(policy, by, action, agent, context)
        return found

    def _ask(self, policy: Policy, by: By, action: str, agent: str | None, context: dict[str, str | bool]) -> Answer:
        if by.user not in policy.document.users and by.uid != 0:
            return Answer(False)
        return may(policy, named(by), self._groups(policy, by), action, agent, context)

    def _groups(self, policy: Policy, by: By) -> tuple[str, ...]:
        groups = groups_of(policy.document, by.user, by.groups)
        # Whoever root is in the configuration, it is root here.
        return (*groups, ROOT) if by.uid == 0 else groups

    def insist(self, by: By, action: str, agent: str | None, doing: str, **context: str | bool) -> tuple[str, ...]:
        """The policies by which they may. Raises NotAllowed with a sentence; `doing`: what it says that they may not."""
        if not by.user and by.uid != 0:
            raise NotAllowed(f"UNIX user {unix_name(by.uid)} is no user of hostguard, so it can't {doing}.")
        answer = self.ask(by, action, agent, **context)
        if answer.allowed:
            return answer.policies
        where = f'Host::"{HOST}"' if agent is None else f'Agent::"{agent}"'
        asked = f"action {action!r} on {where}" + "".join(f", context.{name} {value!r}" for name, value in context.items())
        if answer.policies or answer.error:
            why = f"forbidden by {', '.join(answer.policies)}" if answer.policies else f"a policy fails: {answer.error}"
        else:
            why = "no policy permits it"
            if by.uid == 0 and not self._decider.policy.document.policy.base:
                why += ", and the base policy, by which root may, is off ([policy] base = false)"
        raise NotAllowed(f"{named(by)} may not {doing}: {why} ({asked}).")

    def could(self, by: By, action: str) -> bool:
        """Whether any policy could permit them this, to whomever; a look at scopes alone, which costs next to nothing."""
        policy = self._decider.policy
        principal = ("User", named(by))
        rules = policy.book.concerning(principal, [("Group", group) for group in self._groups(policy, by)])
        return any(rule.node.effect == "permit" and acts(rule, action) for rule in rules)

    def sees(self, by: By, agent: str, what: str) -> bool:
        """Whether they may look at this of the agent's."""
        return self.ask(by, "look", agent, what=what).allowed


def named(by: By) -> str:
    """The user as policies and people know them; uid 0 that no user is mapped to is root."""
    return by.user or "root"
