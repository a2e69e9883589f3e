"""The sections of the configuration file that bound how much agents do."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from .section import Name, Section

Amount = Annotated[int, msgspec.Meta(ge=0, le=10**15)]


class Budget(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[budgets.NAME]``: how much each of some agents may do in a time."""

    agents: tuple[Name, ...] = ()
    """Names of the agents that have it, each for itself. Default all agents."""
    window_s: Annotated[int, msgspec.Meta(ge=1, le=366 * 86_400)]
    """Seconds in which no more than this may pass, whenever they begin. Required."""
    operations: Amount = 0
    """Operations that go on; 0 for no limit. Default 0."""
    rows: Amount = 0
    """Rows that servers answer with; 0 for no limit. Default 0."""
    bytes: Amount = 0
    """Bytes of these rows, of what passes unread all bytes; 0 for no limit. Default 0."""
    over: Literal["deny", "hold"] = "deny"
    """Beyond it: ``deny``; or ``hold`` each operation for the approval of a user who may `approve` it. Default ``deny``."""

    def concerns(self, agent: str) -> bool:
        """Whether the agent has it."""
        return not self.agents or agent in self.agents

    @property
    def limits(self) -> tuple[int | None, int | None, int | None]:
        """Operations, rows, bytes; None for no limit."""
        return self.operations or None, self.rows or None, self.bytes or None
