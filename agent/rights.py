"""Whether a user may operate, look, replay: the one place of the daemon that asks policy about it.

Answering requests and issuing grants are asked where the request is at hand (`policy.approvers`); everything else that the
control socket or the page can do is asked here.
"""

from __future__ import annotations

from ..policy.asks import Answer
from ..policy.decide import Decider, Policy
from ..policy.issuers import groups_of
from ..policy.operators import HOST, OF_AGENTS, ROOT, may
from ..policy.regions import acts
from ..policy.requests import NotAllowed
from ..policy.strict import suggest
from .peer import unix_name
from .waiting import By

MAX_KEPT = 4096
"""Answers at hand: a list asks about each of its rows, and a question costs about a millisecond."""

NOBODY = ""
"""In place of an agent that is not there, and that no policy names."""

Key = tuple[str, bool, tuple[str, ...], str, str | None, tuple[tuple[str, str | bool], ...]]


class NoSuchAgent(Exception):
    """There is none of that name, as far as whoever asks may know."""


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
        return self._insist(by, action, agent, "" if agent is None else agent, doing, context)

    def insist_by_name(
        self, by: By, action: str, agent: str, doing: str, *, left: bool = False, **context: str | bool
    ) -> tuple[str, ...]:
        """As `insist`, of an agent that they have named themselves. Raises NotAllowed, NoSuchAgent.

        One that they may neither look at nor do this to is answered as one that is not there. `left`: something is there of it,
        though the configuration has no such agent any more.
        """
        is_there = left or agent in self._decider.policy.document.agents
        is_shown = is_there and (self.ask(by, action, agent, **context).allowed or self._knows(by, agent))
        policies = self._insist(by, action, agent if is_shown else NOBODY, agent, doing, context)
        if not is_shown:
            raise NoSuchAgent(f'there is no agent "{agent}"{suggest(agent, self.known_to(by))}')
        return policies

    def known_to(self, by: By) -> list[str]:
        """The agents of the configuration whose names they may be told. A question to policy for each of them."""
        return sorted(agent for agent in self._decider.policy.document.agents if self._knows(by, agent))

    def _knows(self, by: By, agent: str) -> bool:
        """Whether they may look at anything of the agent's."""
        return agent in self._decider.policy.document.agents and any(self.sees(by, agent, what) for what in sorted(OF_AGENTS))

    def _insist(
        self, by: By, action: str, agent: str | None, called: str, doing: str, context: dict[str, str | bool]
    ) -> tuple[str, ...]:
        """`called`: the agent's name in the sentence."""
        if not by.user and by.uid != 0:
            raise NotAllowed(f"UNIX user {unix_name(by.uid)} is no user of hostguard, so it can't {doing}.")
        answer = self.ask(by, action, agent, **context)
        if answer.allowed:
            return answer.policies
        where = f'Host::"{HOST}"' if agent is None else f'Agent::"{called}"'
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

    def sees_all(self, by: By, what: str) -> bool:
        """Whether they may look at this of every agent of the configuration."""
        return all(self.sees(by, agent, what) for agent in self._decider.policy.document.agents)


def named(by: By) -> str:
    """The user as policies and people know them; uid 0 that no user is mapped to is root."""
    return by.user or "root"
