"""Which messages may answer what was forwarded, each with what is done about it.

Each function is a step of `backend`: it answers None to let its frame pass, or the bytes that take the frame's place (empty:
nothing). The table `REPLIES` at the end is the state machine.
"""

# ruff: noqa: ARG001 (steps share one signature)

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ...reassembly.frames import HEADER_SIZE
from ..disclosure import ReplyPlan
from . import messages, rows
from .copying import CopyMasks
from .detecting import Net
from .link import PeerFault
from .pipeline import COPIED, COPY_IN, COPY_OUT, DESCRIBED, ENDED, EXECUTE, FIRST, HIDDEN_DESCRIBE, QUERY, ROWS, Kind, Slot, Stage

if TYPE_CHECKING:
    from .backend import Backend

Step = Callable[["Backend", Slot, int], bytes | None]

_ROW_DESCRIPTION: Final = b"T"
_DATA_ROW: Final = ord("D")
_COPY_DATA: Final = ord("d")
_ABSORBED: Final = b""
_NO_COLUMNS: Final = ("*",)
# Below this a look ahead by the native walker costs more than it saves.
_RUN_BYTES: Final = 256


def passes(_backend: Backend, _slot: Slot | None, _size: int) -> bytes | None:
    """A message that changes nothing."""
    return None


def absorbed(_backend: Backend, _slot: Slot, _size: int) -> bytes | None:
    """A part of the answer to a probe."""
    return _ABSORBED


def done(backend: Backend, slot: Slot, size: int) -> bytes | None:
    """ParseComplete, BindComplete, CloseComplete, NoData of a statement."""
    if slot.statement_change is not None or slot.portal_change is not None:
        slot.settle(done=True)
    backend.link.pipeline.pop()
    backend.link.pipeline.replied(slot)
    return None


def parameters_described(backend: Backend, slot: Slot, size: int) -> bytes | None:
    slot.stage = DESCRIBED
    return None


def portal_described(backend: Backend, slot: Slot, size: int) -> bytes | None:
    if slot.portal is not None:
        # Empty for NoData.
        slot.portal.described = backend.body(size)
        slot.portal.describing = False
    backend.link.pipeline.pop()
    return _ABSORBED if slot.kind is HIDDEN_DESCRIBE else None


def query_described(backend: Backend, slot: Slot, size: int) -> bytes | None:
    slot.description = backend.body(size)
    begin_rows(backend, slot)
    return None


def first_row(backend: Backend, slot: Slot, size: int) -> bytes | None:
    """Of an Execute: what its rows look like was told for its portal."""
    slot.description = slot.portal.described if slot.portal is not None else None
    begin_rows(backend, slot)
    return row(backend, slot, size)


def begin_rows(backend: Backend, slot: Slot) -> None:
    link = backend.link
    slot.stage = ROWS
    slot.row_plan = None
    description = slot.description
    if description:
        slot.columns = link.shapes.names(description)
        if slot.capture is not None:
            slot.capture.frame(messages.frame(_ROW_DESCRIPTION, description))
    if slot.plan is None:
        return
    if slot.observed:
        note_masks(backend, slot, slot.plan)
        return
    if not description:
        raise PeerFault("server", "the server sent rows that it did not describe")
    slot.row_plan = link.shapes.plan(description, slot.plan, link.codec)
    if slot.row_plan is not None:
        slot.masked = tuple(dict.fromkeys(slot.masked + slot.row_plan.masked))
        slot.tags = tuple(dict.fromkeys(slot.tags + slot.row_plan.tags))


def note_masks(backend: Backend, slot: Slot, plan: ReplyPlan) -> None:
    """What would have been masked in these rows, which pass as they are."""
    if slot.description:
        would = backend.link.shapes.plan(slot.description, plan, backend.link.codec)
        if would is not None:
            slot.would_mask = tuple(dict.fromkeys(slot.would_mask + would.masked))
            slot.tags = tuple(dict.fromkeys(slot.tags + would.tags))


def note_found(slot: Slot, plan: rows.RowPlan) -> None:
    """Where something was found in columns that would have passed."""
    names, tags = plan.take_found()
    slot.masked = tuple(dict.fromkeys(slot.masked + names))
    slot.tags = tuple(dict.fromkeys(slot.tags + tags))


def row(backend: Backend, slot: Slot, size: int) -> bytes | None:
    buffer = backend.buffer
    data = buffer.data
    limit = backend.link.limits.max_message_bytes - 1
    if slot.row_plan is not None:
        run = rows.mask(data, buffer.pos, limit, slot.row_plan)
        buffer.pos += run.used
        slot.rows += run.rows
        slot.payload += run.payload
        if slot.row_plan.found:
            note_found(slot, slot.row_plan)
        if slot.capture is not None:
            slot.capture.values(run.data)
        return run.data
    slot.rows += 1
    slot.payload += size - HEADER_SIZE
    pass_run(backend, slot, size, _DATA_ROW)
    return None


def copy_data(backend: Backend, slot: Slot, size: int) -> bytes | None:
    slot.payload += size - HEADER_SIZE
    if slot.net is not None:
        return searched_copy(backend, slot, slot.net, size)
    if slot.copy is not None:
        return masked_copy(backend, slot, slot.copy, size)
    pass_run(backend, slot, size, _COPY_DATA)
    return None


def masked_copy(backend: Backend, slot: Slot, masks: CopyMasks, size: int) -> bytes:
    """Rows of a COPY with their masks: each in a message of its own, as the server sends them."""
    sent = b"".join([messages.frame(b"d", row) for row in masks.feed(backend.body(size))])
    names, tags = masks.take_found()
    if names:
        slot.masked = tuple(dict.fromkeys(slot.masked + names))
        slot.tags = tuple(dict.fromkeys(slot.tags + tags))
    if slot.capture is not None:
        slot.capture.values(sent)
    return sent


def searched_copy(backend: Backend, slot: Slot, net: Net, size: int) -> bytes:
    """A line of a COPY in text or CSV. What is looked for has no character that either would escape, nor have the masks."""
    start = backend.buffer.pos
    body = backend.body(size)
    fresh = net.line(body, backend.link.codec) if net.suspects(body) else body
    frame = messages.frame(b"d", fresh) if fresh is not body else backend.buffer.data[start : start + size]
    if net.kinds:
        slot.tags = tuple(dict.fromkeys(slot.tags + net.tags))
        slot.masked = _NO_COLUMNS
    if slot.capture is not None:
        slot.capture.values(frame)
    return frame


def pass_run(backend: Backend, slot: Slot, size: int, tag: int) -> None:
    """Move over this frame and over those of its type that follow."""
    buffer = backend.buffer
    data = buffer.data
    start = buffer.pos
    buffer.pos = after = start + size
    if len(data) - after >= _RUN_BYTES and data[after] == tag:
        run = rows.count(data, after, tag, backend.link.limits.max_message_bytes - 1)
        buffer.pos = after + run.used
        slot.payload += run.payload
        if tag == _DATA_ROW:
            slot.rows += run.rows
    if slot.capture is not None:
        slot.capture.values(data[start : buffer.pos])


def keep(backend: Backend, slot: Slot, size: int) -> None:
    """Capture this frame, one without values, if the reply is captured."""
    if slot.capture is not None:
        start = backend.buffer.pos
        slot.capture.frame(backend.buffer.data[start : start + size])


def rows_pass(backend: Backend, slot: Slot) -> bool:
    """Do this slot's rows pass untouched?"""
    if slot.stage is FIRST and slot.kind is EXECUTE:
        slot.description = slot.portal.described if slot.portal is not None else None
        begin_rows(backend, slot)
    return slot.stage is ROWS and slot.row_plan is None


def execute_complete(backend: Backend, slot: Slot, size: int) -> bytes | None:
    if not slot.columns and slot.portal is not None and slot.portal.described:
        slot.columns = backend.link.shapes.names(slot.portal.described)
    slot.tag = messages.only_string(backend.body(size)).decode("ascii", "replace")
    keep(backend, slot, size)
    return done(backend, slot, size)


def execute_suspended(backend: Backend, slot: Slot, size: int) -> bytes | None:
    slot.status = "suspended"
    return done(backend, slot, size)


def query_part_complete(backend: Backend, slot: Slot, size: int) -> bytes | None:
    """One statement of a Query; more may follow."""
    slot.tag = messages.only_string(backend.body(size)).decode("ascii", "replace")
    keep(backend, slot, size)
    slot.stage = FIRST
    return None


def copy_in(backend: Backend, slot: Slot, size: int) -> bytes | None:
    slot.stage = COPY_IN
    if backend.link.pipeline.enter_copy_in() and slot.kind is EXECUTE:
        backend.link.section_open = True
    return None


def copy_out(backend: Backend, slot: Slot, size: int) -> bytes | None:
    if slot.plan is not None and slot.plan.copy is not None:
        begin_copy(backend, slot, slot.plan, size)
    elif slot.plan is not None and (slot.plan.computed is not None or slot.plan.masks):
        if slot.observed:
            slot.would_mask = _NO_COLUMNS
        else:
            raise PeerFault("unsafe", "COPY would send rows of masked columns", b"42501")
    elif slot.plan is not None and slot.plan.detector is not None and not slot.observed:
        # Format 1: field by field, with the types left out.
        if backend.body(size)[:1] != b"\0":
            raise PeerFault("unsafe", "a binary COPY can't be looked through for values that are to be hidden", b"42501")
        slot.net = Net(slot.plan)
    slot.stage = COPY_OUT
    keep(backend, slot, size)
    return None


def begin_copy(backend: Backend, slot: Slot, plan: ReplyPlan, size: int) -> None:
    """The server says how many fields come, and whether in binary: as was worked out from the statement, or not at all."""
    masks = CopyMasks(plan, backend.link.codec, backend.link.limits.max_message_bytes)
    if slot.observed:
        slot.would_mask = masks.masked
        slot.tags = masks.tags
        return
    if messages.copy_response(backend.body(size)) != (masks.binary, masks.count):
        raise PeerFault("unsafe", "COPY would send other columns than those that are known", b"42501")
    if masks.unread:
        raise PeerFault(
            "unsafe", "a binary COPY of expressions can't be looked through for values that are to be hidden", b"42501"
        )
    slot.copy = masks
    slot.masked, slot.tags = masks.masked, masks.tags


def copy_out_done(backend: Backend, slot: Slot, size: int) -> bytes | None:
    if slot.copy is not None:
        slot.copy.end()
        slot.copy = None
    slot.stage = COPIED
    keep(backend, slot, size)
    return None


def copy_in_complete(backend: Backend, slot: Slot, size: int) -> bytes | None:
    backend.link.pipeline.copying = False
    return query_part_complete(backend, slot, size) if slot.kind is QUERY else execute_complete(backend, slot, size)


def function_result(backend: Backend, slot: Slot, size: int) -> bytes | None:
    if slot.plan is not None and slot.plan.computed is not None:
        if slot.observed:
            slot.would_mask = _NO_COLUMNS
        else:
            raise PeerFault("unsafe", "a function call would send a value that has no origin", b"42501")
    slot.payload += size - HEADER_SIZE
    slot.stage = ENDED
    if slot.capture is not None:
        start = backend.buffer.pos
        slot.capture.values(backend.buffer.data[start : start + size])
    return None


def ready(backend: Backend, slot: Slot, size: int) -> bytes | None:
    link = backend.link
    status = backend.status(size)
    slot.settle(done=True)
    link.pipeline.pop()
    link.pipeline.replied(slot)
    link.ready(slot, status)
    link.start_probe()
    return None


def probe_row(backend: Backend, slot: Slot, size: int) -> bytes | None:
    probe = backend.link.probe
    assert probe is not None
    probe.size += size
    if probe.size > backend.link.limits.max_probe_bytes:
        probe.error = "too many rows"
    else:
        probe.rows.append(messages.data_row(backend.body(size)))
    return _ABSORBED


def probe_ready(backend: Backend, slot: Slot, size: int) -> bytes | None:
    link = backend.link
    probe = link.probe
    assert probe is not None
    backend.status(size)
    probe.ends += 1
    if probe.ends == 2:
        link.pipeline.pop()
        link.end_probe()
        link.start_probe()
    return _ABSORBED


def _tags(**steps: Step) -> dict[int, Step]:
    """Tags as keyword names; digits can't begin one, so ``_1`` stands for ``1``."""
    return {ord(tag.removeprefix("_")): step for tag, step in steps.items()}


_READY = _tags(Z=ready)
_ROW_ENDS = _tags(D=row, C=execute_complete, s=execute_suspended)
REPLIES: Final[dict[Kind, dict[Stage, dict[int, Step]]]] = {
    Kind.PARSE: {Stage.FIRST: _tags(_1=done)},
    Kind.BIND: {Stage.FIRST: _tags(_2=done)},
    Kind.CLOSE: {Stage.FIRST: _tags(_3=done)},
    Kind.DESCRIBE_STATEMENT: {
        Stage.FIRST: _tags(t=parameters_described),
        Stage.DESCRIBED: _tags(T=done, n=done),
    },
    Kind.DESCRIBE_PORTAL: {Stage.FIRST: _tags(T=portal_described, n=portal_described)},
    Kind.HIDDEN_DESCRIBE: {Stage.FIRST: _tags(T=portal_described, n=portal_described)},
    Kind.EXECUTE: {
        Stage.FIRST: _tags(
            D=first_row,
            C=execute_complete,
            I=done,
            s=execute_suspended,
            G=copy_in,
            H=copy_out,
        ),
        Stage.ROWS: _ROW_ENDS,
        Stage.COPY_IN: _tags(C=copy_in_complete),
        Stage.COPY_OUT: _tags(d=copy_data, c=copy_out_done),
        Stage.COPIED: _tags(C=execute_complete),
    },
    Kind.QUERY: {
        Stage.FIRST: _tags(
            T=query_described,
            C=query_part_complete,
            I=passes,
            G=copy_in,
            H=copy_out,
            Z=ready,
        ),
        Stage.ROWS: _tags(D=row, C=query_part_complete),
        Stage.COPY_IN: _tags(C=copy_in_complete),
        Stage.COPY_OUT: _tags(d=copy_data, c=copy_out_done),
        Stage.COPIED: _tags(C=query_part_complete),
        Stage.ENDED: _READY,
    },
    Kind.FUNCTION_CALL: {Stage.FIRST: _tags(V=function_result), Stage.ENDED: _READY},
    Kind.SYNC: {Stage.FIRST: _READY, Stage.ENDED: _READY},
    Kind.PROBE: {
        Stage.FIRST: {
            **_tags(_1=absorbed, _2=absorbed, _3=absorbed, C=absorbed),
            **_tags(D=probe_row, Z=probe_ready),
        }
    },
}
"""Kind of the first slot in flight, stage of its reply: tag of a legal message, and what to do with it."""
