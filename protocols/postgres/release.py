"""An operation with its decision: forwarded, or poisoned in its place.

Also here: what forwarding it makes uncertain. A decision comes once and is final, so this is the last look at an operation before
the server sees it.
"""

# ruff: noqa: ARG001 (the ways of release share one signature)

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from ..events import Decision, Operation, Verdict
from . import hidden, messages, refuse
from .capture import Capture
from .link import Link
from .names import Portal, Statement, forget_hidden
from .pipeline import EXECUTE, FUNCTION_CALL, HIDDEN_DESCRIBE, PARSE, QUERY, Kind, Slot

_ALLOW: Final = Verdict.ALLOW
# A function called by number may be set_config; it can't be PREPARE or DECLARE, which are no functions.
_CALL_CHANGES = hidden.Hidden(facts=True)


class Asked(msgspec.Struct, gc=False):
    """The operation that waits for its decision."""

    operation: Operation
    kind: Kind
    frame: bytes
    statement: Statement | None = None
    name: bytes = b""
    """PREPARE: the statement's name as sent. EXECUTE: the portal's."""
    portal: Portal | None = None


def release(link: Link, asked: Asked, decision: Decision) -> None:
    """Forward the operation that was asked about, or the poison in its place."""
    slot = Slot(asked.kind, link.epoch)
    slot.operation = asked.operation
    if decision.verdict is _ALLOW:
        slot.plan = decision.plan
        slot.observed = decision.observed
        # What masks would have hidden must not come to lie on a disk, so nothing of an observed reply does.
        if link.limits.capture_bytes and asked.kind is not PARSE and not decision.observed:
            slot.capture = Capture(link.limits.capture_bytes)
        frame = asked.frame
        if asked.kind is not PARSE and not link.pipeline.skipping:
            _note_effects(link, slot, asked, decision)
    else:
        slot.refusal = refuse.refusal(decision)
        poison = _poison(link, asked, slot.refusal)
        slot.poison = poison.code
        frame = poison.message
    _RELEASE[asked.kind](link, slot, asked, frame)


def forward(link: Link, slot: Slot, frame: bytes) -> None:
    """A message of the extended protocol goes out; its reply is expected as `slot` says."""
    link.out.to_server(frame)
    link.section_open = True
    link.pipeline.add(slot)


def end_epoch(link: Link) -> None:
    """A message that begets a ReadyForQuery went out."""
    link.epoch += 1
    link.section_open = False


def _poison(link: Link, asked: Asked, told: refuse.Refusal) -> refuse.Poison:
    if asked.kind is QUERY:
        return refuse.query(told)
    if asked.kind is PARSE:
        return refuse.parse(asked.name, told)
    if asked.kind is EXECUTE:
        return refuse.execute(link.poison_portal)
    return refuse.FUNCTION_CALL


def _may_change(asked: Asked) -> hidden.Hidden:
    if asked.kind is QUERY:
        return hidden.of(asked.operation.text)
    if asked.kind is EXECUTE:
        return asked.statement.hidden if asked.statement is not None else hidden.EVERYTHING
    return _CALL_CHANGES


def _note_effects(link: Link, slot: Slot, asked: Asked, decision: Decision) -> None:
    """The operation will run: what it may change beside its reply."""
    may = _may_change(asked)
    if may is not hidden.NOTHING:
        forget_hidden(asked.operation.text, may, link.statements, link.portals)
        if may.facts:
            link.doubt_in_transaction = True
    if link.doubt_in_transaction:
        link.doubt_epoch = link.epoch
    if decision.ends_portals:
        link.portals.forget()
    if decision.ends_portals or decision.checks_deferred:
        slot.scrub_section = link.scrubbing
    if slot.plan is not None and slot.plan.scrub_errors and not slot.observed:
        link.scrubbing = True


def _query(link: Link, slot: Slot, asked: Asked, frame: bytes) -> None:
    # A simple Query destroys the unnamed statement and portal, whatever comes of it.
    if link.statements.knows(b""):
        slot.statement_change = link.statements.change(b"", None, link.epoch)
    if link.portals.knows(b""):
        slot.portal_change = link.portals.change(b"", None, link.epoch)
    forward(link, slot, frame)
    end_epoch(link)


def _parse(link: Link, slot: Slot, asked: Asked, frame: bytes) -> None:
    slot.statement_change = link.statements.change(asked.name, asked.statement, link.epoch)
    forward(link, slot, frame)


def _execute(link: Link, slot: Slot, asked: Asked, frame: bytes) -> None:
    slot.portal = asked.portal
    if slot.plan is not None or slot.capture is not None:
        portal = slot.portal = asked.portal or Portal(None, (), (), link.epoch, 0)
        if portal.described is None and not portal.describing:
            # No row passes before its columns are known, and what was told of the statement at another time may be stale:
            # ask for this very portal.
            ours = Slot(HIDDEN_DESCRIBE, link.epoch)
            ours.portal = portal
            portal.describing = True
            forward(link, ours, messages.describe_portal(asked.name))
    forward(link, slot, frame)


def _function_call(link: Link, slot: Slot, asked: Asked, frame: bytes) -> None:
    forward(link, slot, frame)
    end_epoch(link)


_RELEASE: Final[dict[Kind, Callable[[Link, Slot, Asked, bytes], None]]] = {
    QUERY: _query,
    PARSE: _parse,
    EXECUTE: _execute,
    FUNCTION_CALL: _function_call,
}
