"""Which user a UNIX user id stands for.

A control socket tells the uid of its peer (SO_PEERCRED), which the kernel vouches for. Who that is, hostguard takes from its own
configuration rather than from the host's name service: an approval must not become somebody else's by an edit of /etc/passwd.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class UserMistake(ValueError):
    """The configured users contradict each other; `problems` has a sentence for each mistake."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class UserRule:
    """One configured user, with the UNIX accounts that are theirs on this host."""

    name: str
    uids: tuple[int, ...]


class Users:
    """The configured users."""

    def __init__(self, rules: Iterable[UserRule]) -> None:
        """Raises UserMistake when two users share a uid, a user comes twice, or a uid is negative."""
        rules = tuple(rules)
        problems = tuple(_mistakes(rules))
        if problems:
            raise UserMistake(problems)
        self._names = {uid: rule.name for rule in rules for uid in rule.uids}

    def user_of(self, uid: int) -> str | None:
        """The user's name; None for an account that is nobody's, root included: it may see and decide nothing."""
        return self._names.get(uid)


def _mistakes(rules: tuple[UserRule, ...]) -> Iterable[str]:
    names: set[str] = set()
    owners: dict[int, str] = {}
    for rule in rules:
        if rule.name in names:
            yield f"user {rule.name} is configured twice"
        names.add(rule.name)
        for uid in rule.uids:
            if uid < 0:
                yield f"user {rule.name}: {uid} is no uid"
            elif owners.setdefault(uid, rule.name) != rule.name:
                yield f"users {owners[uid]} and {rule.name} have the same uid {uid}"
