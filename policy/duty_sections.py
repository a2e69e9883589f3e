"""The sections of the configuration file that keep duties apart."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from .section import Name, Section


class Duty(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[duties.NAME]``: accesses that amount to one task, such as making a payment."""

    actions: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, description="a list of at least one action")]
    """Actions or groups of actions: ``insert``, ``write``. Required."""
    objects: tuple[str, ...] = ()
    """Paths of what they are on, with all below: a resource, a database, a schema, a table, a function. Default none."""
    tags: tuple[str, ...] = ()
    """Tags: tables that have a column which carries one. Default none."""
    key: str = ""
    """Column whose value names the object, for exclusions within one object. Default none: the table is the object."""


class Exclusion(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[exclusions.NAME]``: two duties that must be apart."""

    duties: tuple[Name, ...]
    """Names of the two duties. Required."""
    scope: Literal["owner", "agent"] = "owner"
    """Who may not have both: an ``agent``; or the users behind agents, their ``owner`` and who approves. Default ``owner``."""
    within: Literal["always", "object", "window"] = "always"
    """``always``; ``object``: on the same object; ``window``: in `window_s` seconds. Default ``always``."""
    window_s: Annotated[int, msgspec.Meta(ge=0, le=366 * 86_400)] = 0
    """``window``: seconds after which the other duty is open again. Default 0."""
