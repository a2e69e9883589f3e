"""What a worker tells the supervisor about held operations, with the answers; the rest is in `messages`."""

from __future__ import annotations

from typing import Annotated

import msgspec

from ..policy.asks import Ask
from ..protocols.events import Operation, Verdict
from .clearance_messages import Duties
from .wording import MAX_ITEMS, Message, Text, Texts

# Supervisor to worker.


class Filed(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The answer to `Hold`: users can see the request, or it was refused."""

    flow: int
    operation: int
    request: str = ""
    digest: bytes = b""
    expires_ns: int = 0
    refusal: str = ""
    """Why there is none; also of a ticket (`request` is set then), whose operation does not wait."""
    hint: str = ""


class Granted(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The other answer: a grant covers it, one use of which is counted. Judge with its issuers' approval and carry that out."""

    flow: int
    operation: int
    grant: str
    by: tuple[str, ...]


class Judge(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """Judge the held operation with these users' approval, and say what came of it (`Judged`); carry nothing out."""

    flow: int
    operation: int
    by: tuple[str, ...]


class Approved(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """Users said yes, and it suffices: judge with their approval and carry that out."""

    flow: int
    operation: int
    request: str
    by: tuple[str, ...]


class Refuse(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """Refuse the held operation: a user said no, or nobody said anything in time."""

    flow: int
    operation: int
    request: str
    reason: str
    hint: str
    code: bytes


# Worker to supervisor.


class Hold(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """Open a request for approval of an operation."""

    flow: int
    operation: Operation
    accesses: Annotated[tuple[tuple[Text, Text], ...], msgspec.Meta(max_length=MAX_ITEMS)]
    flags: Texts
    policies: Texts
    helped_by: Texts
    needs: Texts
    summary: Text
    depends: tuple[str, ...]
    asks: Annotated[tuple[Ask, ...], msgspec.Meta(max_length=MAX_ITEMS)] = ()
    """What policy was asked; `accesses` in a form that can be asked again."""
    form: Text = ""
    """Its shape (`policy.sql.shape`), where the judgement is the same for every text of it; else empty."""
    duties: Duties = ()
    """What it exercises if it runs."""


class Withdraw(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The flow no longer waits for its held operation."""

    flow: int
    operation: int
    reason: Text


class Touched(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """How many rows the held operation would touch, as its server says."""

    flow: int
    operation: int
    rows: Annotated[int, msgspec.Meta(ge=0)]
    counted: bool
    """False: the server's estimate."""


class Judged(Message, frozen=True, forbid_unknown_fields=True, tag=True):
    """The answer to `Judge`."""

    flow: int
    operation: int
    verdict: Verdict
    reason: Text
    policies: Texts
    helped_by: Texts
