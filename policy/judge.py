"""From the accesses of an operation to its verdict, with the reasons."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from ..protocols.events import Verdict
from .asks import Answer, Approval, Ask, Uid
from .cedar import Rulebook, names_exactly

NAMED_IN_REASON = 3
"""Accesses that a reason names before it says how many more there are."""
MAX_ANSWERS = 4096
"""Answers that one asker keeps: some 300 bytes each."""
OPAQUE = ("FunctionClass", "unknown")
"""Functions of unknown body: a policy must name the very function to permit a call."""


class Finding(msgspec.Struct, frozen=True):
    """What became of the accesses, one by one and together."""

    verdict: Verdict
    answers: tuple[Answer, ...]
    """In the order of the accesses; for HOLD those with the approval."""
    held: frozenset[int]
    """Positions of the accesses that need the approval."""
    policies: tuple[str, ...] = ()
    reason: str = ""
    helped_by: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


class Help(msgspec.Struct, frozen=True):
    """An approval that would do, and how to say whose."""

    approval: Approval
    words: str


class Asker:
    """One agent asking the policies of one epoch."""

    def __init__(self, book: Rulebook, agent: str, roles: Iterable[str]) -> None:
        self._book = book
        self.agent = agent
        self._principal: Uid = ("Agent", agent)
        groups = [("Role", role) for role in roles]
        self.rules = book.concerning(self._principal, groups)
        """The policies that may decide for the agent."""
        self._slice = book.slice(self._principal, groups)
        # What no policy speaks of can't change a decision. (`context["appro\u{76}al"]` would be missed: a hold less, so closed.)
        self.heeds_approval = any("approval" in rule.text for rule in self.rules)
        # What Cedar reads beside the policies, the principal and the standing entities, all of which are of this asker's epoch:
        # the object with its groups and facts, the flags, the approval. Most of a new statement's cost was to ask the same again.
        self._answers: dict[tuple[Ask, frozenset[str], Approval | None], Answer] = {}

    @property
    def kept(self) -> int:
        """How many answers are kept, at most `MAX_ANSWERS` beyond those of one call."""
        return len(self._answers)

    def ask(self, asks: Sequence[Ask], flags: Iterable[str], approval: Approval | None = None) -> list[Answer]:
        """The policies' answers in order."""
        context = frozenset(flags)
        keys = [(ask, context, approval) for ask in asks]
        known = self._answers
        new = [key for key in dict.fromkeys(keys) if key not in known]
        if new:
            if len(known) + len(new) > MAX_ANSWERS:
                known = self._answers = {key: known[key] for key in keys if key in known}
            asked = [ask for ask, _, _ in new]
            answers = self._book.answer(self._slice, self._principal, asked, context, approval)
            known.update(zip(new, map(self._strict, asked, answers), strict=True))
        return [known[key] for key in keys]

    def _strict(self, ask: Ask, answer: Answer) -> Answer:
        """A function of unknown body may do anything, so a permit that merely includes it does not count."""
        if not answer.allowed or OPAQUE not in ask.groups:
            return answer
        naming = [name for name in answer.policies if names_exactly(self._book.rules[name], (ask.type, ask.id))]
        return Answer(bool(naming), tuple(naming))


Helps = Callable[[Iterable[str]], Sequence[Help]]
"""The approvals to try, given the actions that need one."""


def find(asker: Asker, asks: Sequence[Ask], flags: Iterable[str], approval: Approval | None, helps: Helps) -> Finding:
    """ALLOW when every access is permitted; HOLD when one of `helps` would make it so; else DENY."""
    answers = asker.ask(asks, flags, approval)
    denied = frozenset(number for number, answer in enumerate(answers) if not answer.allowed)
    if not denied:
        return Finding(Verdict.ALLOW, tuple(answers), denied, _policies(answers))
    if asker.heeds_approval:
        more = [h for h in helps({asks[number].action for number in denied}) if approval is None or h.approval.by > approval.by]
        with_help = [(help_, asker.ask(asks, flags, help_.approval)) for help_ in more]
        enough = [(help_, said) for help_, said in with_help if all(answer.allowed for answer in said)]
        if enough:
            return _held(asks, denied, enough)
    wanted = [answers[number] for number in sorted(denied)]
    return Finding(Verdict.DENY, tuple(answers), frozenset(), _policies(wanted), _why(asker.agent, asks, answers))


def _held(asks: Sequence[Ask], denied: frozenset[int], enough: list[tuple[Help, list[Answer]]]) -> Finding:
    answers = enough[0][1]
    policies = _policies([answers[number] for number in sorted(denied)])
    # The smallest count of each set of users: two of a group is no news where one suffices.
    words: dict[frozenset[str], str] = {}
    for help_, _ in enough:
        words.setdefault(help_.approval.by, help_.words)
    helped_by = tuple(words.values())
    needs = tuple(sorted({asks[number].action for number in denied}))
    reason = f"{quoted(policies)} permits it with the approval of {' or '.join(helped_by)}"
    return Finding(Verdict.HOLD, tuple(answers), denied, policies, reason, helped_by, needs)


def _policies(answers: Iterable[Answer]) -> tuple[str, ...]:
    return tuple(sorted({name for answer in answers for name in answer.policies}))


def _why(agent: str, asks: Sequence[Ask], answers: Sequence[Answer]) -> str:
    reasons: list[str] = []
    for ask, answer in zip(asks, answers, strict=True):
        if not answer.allowed:
            said = _why_not(agent, ask, answer)
            if said not in reasons:
                reasons.append(said)
    more = len(reasons) - NAMED_IN_REASON
    return "; ".join(reasons[:NAMED_IN_REASON]) + (f"; and {more} more" if more > 0 else "")


def _why_not(agent: str, ask: Ask, answer: Answer) -> str:
    if answer.error:
        return f"the policies can't be evaluated for {ask} for agent {agent}: {answer.error}"
    if answer.policies:
        return f"{quoted(answer.policies)} forbids {ask} for agent {agent}"
    if OPAQUE in ask.groups:
        return f"no policy names the function to permit {ask} for agent {agent}"
    return f"no policy permits {ask} for agent {agent}"


def quoted(names: Iterable[str]) -> str:
    """Policy ids for a sentence."""
    return ", ".join(f'"{name}"' for name in names)
