"""Which flows or operations somebody wants to see."""

from __future__ import annotations

from dataclasses import dataclass

from .entry import Approval, Decision, NameAsked, Reply, Session
from .stored import Stored


@dataclass(frozen=True, slots=True)
class Filters:
    """Which flows to list; None matches all. Those about operations match a flow that has at least one such operation each."""

    agent: str | None = None
    user: str | None = None
    """The database's user, or a user who answered a request for approval."""
    resource: str | None = None
    table: str | None = None
    """``orders``, ``public.orders`` or the end of a path: ``shop/public/orders``."""
    verdict: str | None = None
    """``allow``, ``deny``, ``hold``, ``would-deny``, ``would-hold`` (`label`): at least one decision of the flow is that.
    ``refused``: the connection was."""
    tag: str | None = None
    """Values with this tag, or one below it (``pii`` has ``pii.email``), were masked in a reply, or would have been."""
    since_ns: int | None = None
    """Wall time; the flow was still open then, or began later."""
    until_ns: int | None = None
    """Wall time; the flow began before."""
    limit: int | None = None
    """The newest so many."""

    @property
    def about_operations(self) -> bool:
        """Whether it takes more than a flow's first entry to tell that the flow matches."""
        return any(wanted is not None for wanted in (self.user, self.table, self.verdict, self.tag, self.since_ns))


def label(entry: Decision | NameAsked) -> str:
    """What was decided, as filters and lists have it: the verdict, or ``would-deny``, ``would-hold`` for what only passed because
    its workload was observed."""
    return entry.verdict if entry.would in ("", entry.verdict) else f"would-{entry.would}"


def table_matches(path: str, wanted: str) -> bool:
    """Whether the object of an access is the table that somebody named."""
    parts = wanted.replace(".", "/").split("/")
    return path.split("/")[-len(parts) :] == parts


def tag_matches(tag: str, wanted: str) -> bool:
    """Tags are hierarchical by dots."""
    return tag == wanted or tag.startswith(wanted + ".")


def user_of(entry: Session | Approval) -> str:
    """The user that the entry names; empty for none."""
    return "" if isinstance(entry.user, Stored) else entry.user


def touches(entry: Decision, table: str) -> bool:
    """Whether the operation decided on has an access to the table."""
    return not isinstance(entry.accesses, Stored) and any(table_matches(path, table) for _, path in entry.accesses)


def masked(entry: Reply, tag: str) -> bool:
    """Whether the reply had values of the tag masked."""
    return not isinstance(entry.tags, Stored) and any(tag_matches(each, tag) for each in entry.tags)
