"""The questions that are put to Cedar: who may do what to which object, in which context."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from .paths import split

Uid = tuple[str, str]
"""Type and id of a Cedar entity: ``("Table", "shop/shop/public/orders")``."""

_CHAIN = ("Resource", "Database", "Schema")
"""What a path's first parts are; Table and Function come below Schema, Column below Table."""


class Ask(msgspec.Struct, frozen=True, order=True):
    """One access: an action on one object. Everything about the principal comes from elsewhere."""

    action: str
    type: str
    """Entity type of the object: ``Table``, ``Function``, ``Schema``, ``Database`` or ``Column``."""
    id: str
    """Path of the object; see `paths`."""
    facts: tuple[tuple[str, str | tuple[str, ...]], ...] = ()
    """What the action's context holds beside flags and approval: ``(("setting", "timezone"),)``; a tuple is a set."""
    groups: tuple[Uid, ...] = ()
    """What the object is in beside what its path says: its tags, its function class."""

    def __str__(self) -> str:
        detail = next((value for name, value in self.facts if name in ("setting", "detail", "sni") and value), "")
        return f"{self.action} on {self.id}" + (f" ({detail})" if detail else "")


class Approval(msgspec.Struct, frozen=True):
    """The users who said yes to one operation."""

    by: frozenset[str]
    count: int | None = None
    """How many they count for: all of them, unless a hypothetical approval counts fewer."""

    def context(self) -> dict[str, Any]:
        count = len(self.by) if self.count is None else self.count
        return {"by": [reference("User", user) for user in sorted(self.by)], "count": count}


class Answer(msgspec.Struct, frozen=True):
    """What Cedar said to one `Ask`."""

    allowed: bool
    policies: tuple[str, ...] = ()
    """Ids of the policies that determined it: the permits, or the forbids; none when nothing permits."""
    error: str = ""
    """Why a policy could not be evaluated; the answer is no then."""


def reference(kind: str, name: str) -> dict[str, Any]:
    """A reference to an entity, in Cedar's JSON form for values."""
    return {"__entity": {"type": kind, "id": name}}


def entity(uid: Uid, parents: Iterable[Uid] = (), **attributes: Any) -> dict[str, Any]:
    """An entity in Cedar's JSON form."""
    return {
        "uid": {"type": uid[0], "id": uid[1]},
        "attrs": attributes,
        "parents": [{"type": kind, "id": name} for kind, name in parents],
    }


def entities_of(asks: Iterable[Ask], known: frozenset[Uid], tags: Any) -> Iterator[dict[str, Any]]:
    """The entities that `asks` are about, without those in `known`. `tags` maps a table's path to its columns' tags."""
    seen: set[Uid] = set(known)
    for ask in asks:
        yield from _object(ask, seen, tags)


def _object(ask: Ask, seen: set[Uid], tags: Any) -> Iterator[dict[str, Any]]:
    uid = (ask.type, ask.id)
    if uid in seen:
        return
    seen.add(uid)
    above = _above(ask.type, ask.id)
    parents = [above, *ask.groups] if above else list(ask.groups)
    if ask.type == "Table":
        yield entity(uid, parents, tags=[reference("Tag", tag) for tag in tags.get(ask.id, ())])
    elif ask.type != "Resource":
        yield entity(uid, parents)
    for group in ask.groups:
        if group not in seen:
            seen.add(group)
            yield entity(group)
    if above:
        yield from _object(Ask("", *above), seen, tags)


def _above(kind: str, path: str) -> Uid | None:
    """What the object is in, by its path."""
    head = path.rpartition("/")[0]
    match kind:
        case "Column":
            return "Table", head
        case "Table" | "Function":
            return "Schema", head
        case "Database" | "Schema":
            return _CHAIN[len(split(path)) - 2], head
        case _:
            return None
