"""What the decider says of one operation, with all that is needed to understand it."""

from __future__ import annotations

import msgspec

from ..protocols.events import Decision, Verdict
from .asks import Ask
from .duties import Exercise
from .making import Making
from .sql.analysis import Analysis


class AccessVerdict(msgspec.Struct, frozen=True):
    """One access that the operation amounts to, and what became of it."""

    action: str
    object: str
    """Path of the object, with the detail that the action is about where it has one."""
    verdict: Verdict
    """HOLD: permitted once approved."""
    policies: tuple[str, ...] = ()
    """Ids of the policies that permit, would permit once approved, or forbid it."""


class Judgement(msgspec.Struct, frozen=True):
    """A decision with its reasons. Immutable, and shared by every flow that asks the same."""

    decision: Decision
    """What the conversation carries out."""
    analysis: Analysis | None
    """What the text amounts to; None for what has no text, or was refused before it was read."""
    accesses: tuple[tuple[str, str], ...]
    """What the operation amounts to: (action, path of the object), as the log takes it."""
    verdicts: tuple[AccessVerdict, ...]
    """The same one by one, with what became of it."""
    flags: tuple[str, ...]
    summary: str
    """What it would do, in plain language."""
    epoch: int = 0
    """Of the policy that decided; 0 when none was asked."""
    helped_by: tuple[str, ...] = ()
    """HOLD: whose approval suffices (``group dba``, ``user bob``, ``2 of group dba``)."""
    needs: tuple[str, ...] = ()
    """HOLD: the actions that need the approval."""
    depends: tuple[str, ...] = ()
    """Texts prepared earlier in the flow that this judgement rests on."""
    touches: bool = False
    """It may read columns that are hidden from the agent."""
    duties: tuple[Exercise, ...] = ()
    """Duties that it exercises if it runs, which may be kept apart from what others do."""
    asks: tuple[Ask, ...] = ()
    """HOLD: what the policies were asked, in the order of `accesses`."""
    shared: bool = False
    """Every text of this one's shape is judged like this."""
    moves_path: bool = False
    """It may change the schemas in which an unqualified name is looked for, by itself or by what was prepared before."""
    defines: bool = False
    """It makes or changes what later statements mean."""
    uncovers: bool = False
    """Relations may be gone after it, or have other names."""
    makes: Making | None = None
    """The relation that it makes with nothing hidden in it."""
    by_text: bool = False
    """It holds for this very text, not for others that differ in literals alone."""
