"""The messages that were forwarded but not answered yet, in order.

Each forwarded message that begets a reply is a `Slot`; the server answers strictly in order, so its next message belongs to the
first slot. After an error in the extended protocol the server discards messages up to the next Sync: their slots are skipped,
those that are here at once, those that come later as they come (`skipping`).

COPY FROM STDIN bends the order: while it reads data the server ignores Sync and Flush (``copyfromparse.c: CopyGetData``), so a
Sync that was sent behind the Execute, before the client knew of the COPY, never gets its ReadyForQuery. `enter_copy_in` takes
such slots out, up to the end of the data, whose place a COPY_END slot marks.
"""

from __future__ import annotations

import enum
from collections import deque
from typing import Final

from ..disclosure import ReplyPlan
from ..events import Operation, Replied, ReplySummary
from .capture import Capture
from .copying import CopyMasks
from .detecting import Net
from .names import Change, Portal, Statement
from .outbox import Outbox
from .refuse import Refusal
from .rows import RowPlan


class Kind(enum.IntEnum):
    """What was forwarded, and so which replies may come."""

    PARSE = 1
    BIND = 2
    CLOSE = 3
    DESCRIBE_STATEMENT = 4
    DESCRIBE_PORTAL = 5
    HIDDEN_DESCRIBE = 6
    """A Describe of our own, to learn what a portal's rows are before they come."""
    EXECUTE = 7
    QUERY = 8
    FUNCTION_CALL = 9
    SYNC = 10
    COPY_END = 11
    """CopyDone or CopyFail: begets nothing, marks a place."""
    PROBE = 12


# Under names of their own, because Python 3.11 finds a member of an enum twenty times slower than a global; Final, because
# compiled code finds such a global without a look-up.
PARSE: Final = Kind.PARSE
BIND: Final = Kind.BIND
CLOSE: Final = Kind.CLOSE
DESCRIBE_STATEMENT: Final = Kind.DESCRIBE_STATEMENT
DESCRIBE_PORTAL: Final = Kind.DESCRIBE_PORTAL
HIDDEN_DESCRIBE: Final = Kind.HIDDEN_DESCRIBE
EXECUTE: Final = Kind.EXECUTE
QUERY: Final = Kind.QUERY
FUNCTION_CALL: Final = Kind.FUNCTION_CALL
SYNC: Final = Kind.SYNC
COPY_END: Final = Kind.COPY_END
PROBE: Final = Kind.PROBE
_ENDS_SECTION: Final = frozenset({SYNC, QUERY, FUNCTION_CALL})


class Stage(enum.IntEnum):
    """How far the reply of one slot has come."""

    FIRST = 1
    ROWS = 2
    """After a row description (Query) or a row."""
    COPY_IN = 3
    COPY_OUT = 4
    COPIED = 5
    """After the end of the server's COPY data."""
    DESCRIBED = 6
    """After a parameter description."""
    ENDED = 7
    """After an error or a function's result: only ReadyForQuery is left."""


FIRST: Final = Stage.FIRST
ROWS: Final = Stage.ROWS
COPY_IN: Final = Stage.COPY_IN
COPY_OUT: Final = Stage.COPY_OUT
COPIED: Final = Stage.COPIED
DESCRIBED: Final = Stage.DESCRIBED
ENDED: Final = Stage.ENDED


class Slot:
    """One message in flight. Defaults live on the class: most slots set few of these."""

    stage: Stage = FIRST
    operation: Operation | None = None
    plan: ReplyPlan | None = None
    statement_change: Change[Statement] | None = None
    portal_change: Change[Portal] | None = None
    portal: Portal | None = None
    poison = b""
    """SQLSTATE that the server must raise here; empty for a message that was allowed."""
    refusal: Refusal | None = None
    scrub_section = False
    """Of a Sync or COMMIT: an operation before it asked for scrubbed errors."""
    description: bytes | None = None
    row_plan: RowPlan | None = None
    net: Net | None = None
    """Looks through the data of a COPY whose fields can't be told apart."""
    copy: CopyMasks | None = None
    """Masks the fields of a COPY."""
    rows = 0
    payload = 0
    tag = ""
    status = "ok"
    masked: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    observed = False
    """`plan` tells what would be masked, and nothing is."""
    would_mask: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    capture: Capture | None = None
    """What the client got, where that is to be kept."""

    def __init__(self, kind: Kind, epoch: int) -> None:
        self.kind = kind
        self.epoch = epoch

    def settle(self, done: bool) -> None:
        """The server made the changes of names that this message asks for, or did not."""
        if self.statement_change is not None:
            self.statement_change.settle(done)
            self.statement_change = None
        if self.portal_change is not None:
            self.portal_change.settle(done)
            self.portal_change = None


class Pipeline:
    """The slots in flight, and what happens to all of them at once."""

    def __init__(self, out: Outbox) -> None:
        self._out = out
        self.slots: deque[Slot] = deque()
        self.ends = 0
        """How many of the slots end with ReadyForQuery."""
        self.skipping = False
        """The server discards what it reads up to the next Sync."""
        self.copying = False
        """The first slot reads COPY data, and the client has not ended it yet."""

    def add(self, slot: Slot) -> None:
        """A message was forwarded."""
        if slot.kind is SYNC:
            self.skipping = False
        elif self.skipping:
            self._skip(slot)
            return
        self.slots.append(slot)
        if slot.kind in _ENDS_SECTION:
            self.ends += 1

    def head(self) -> Slot | None:
        """The slot that the server's next reply belongs to."""
        slots = self.slots
        while slots:
            slot = slots[0]
            if slot.kind is not COPY_END:
                return slot
            slots.popleft()
        return None

    def pop(self) -> None:
        """The first slot's reply is complete."""
        slot = self.slots.popleft()
        if slot.kind in _ENDS_SECTION:
            self.ends -= 1

    def replied(self, slot: Slot) -> None:
        """Tell what came back for the slot's operation, if it is one."""
        if slot.operation is None:
            return
        summary = ReplySummary(
            slot.status, slot.tag, slot.rows, slot.payload, slot.columns, slot.masked, slot.tags, slot.would_mask
        )
        capture = slot.capture
        if capture is None:
            self._out.replied(Replied(slot.operation.id, summary))
        else:
            captured = capture.take()
            self._out.replied(Replied(slot.operation.id, summary, captured, capture.left_out))
            slot.capture = None
        slot.operation = None

    def fail_section(self) -> None:
        """An error in the extended protocol: what follows is skipped up to Sync."""
        slots = self.slots
        while slots and slots[0].kind is not SYNC:
            slot = slots[0]
            self.pop()
            self._skip(slot)
        self.skipping = not slots

    def end_copy_data(self) -> None:
        """The client forwarded CopyDone or CopyFail."""
        self.copying = False
        if self.slots and self.slots[-1].kind is not COPY_END:
            self.slots.append(Slot(COPY_END, self.slots[-1].epoch))

    def enter_copy_in(self) -> bool:
        """The first slot began to read COPY data. True when it swallows a Sync that is in flight."""
        first = self.slots.popleft()
        swallowed = False
        while self.slots and self.slots[0].kind is SYNC:
            self.pop()
            swallowed = True
        self.copying = not self.slots
        self.slots.appendleft(first)
        return swallowed

    def lose_all(self) -> None:
        """The connection ended: nothing that is in flight will be answered."""
        for slot in self.slots:
            slot.status = "lost"
            self.replied(slot)
        self.slots.clear()
        self.ends = 0

    def _skip(self, slot: Slot) -> None:
        slot.status = "skipped"
        slot.settle(done=False)
        if slot.portal is not None:
            slot.portal.describing = False
        self.replied(slot)
