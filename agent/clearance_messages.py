"""What is said before an allowed operation goes on that the supervisor has a say in; the rest is in `messages`."""

from __future__ import annotations

from typing import Annotated

import msgspec

from .wording import Count, Message, Text, Texts

MAX_DUTIES = 1024
Duties = Annotated[tuple[tuple[Text, Text], ...], msgspec.Meta(max_length=MAX_DUTIES)]
"""(duty, object), as `policy.duties` names objects."""


class Clear(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """Worker to supervisor: may this operation, which policy allows, exercise these (duty, object) as well?

    `by`: users with whose approval it is allowed.
    """

    flow: int
    operation: int
    duties: Duties
    by: Texts


class Cleared(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The answer: that is kept, and the operation may go on; or why it may not."""

    flow: int
    operation: int
    refusal: str = ""
    hint: str = ""
    policies: tuple[str, ...] = ()


class Owed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a worker has let pass of a budget beyond what it was lent."""

    budget: Text
    operations: Count
    rows: Count
    bytes: Count


class Lease(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a worker may let pass of a budget for an agent; None for what the budget does not limit."""

    budget: str
    operations: int | None
    rows: int | None
    bytes: int | None
    expires_ns: int
    """On the monotonic clock, which all processes of a host share."""


class Draw(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """Worker to supervisor: lend more of all budgets of the flow's agent. `operation`: which waits for it; 0 for a reply."""

    flow: int
    operation: Count
    owed: Annotated[tuple[Owed, ...], msgspec.Meta(max_length=256)]


class Drawn(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The answer: what is lent, counted as used already; or why nothing is, and whether an approval would help."""

    flow: int
    operation: int
    leases: tuple[Lease, ...] = ()
    refusal: str = ""
    hint: str = ""
    policies: tuple[str, ...] = ()
    hold: bool = False


ClearanceAnswer = Cleared | Drawn
ClearanceQuestion = Clear | Draw
