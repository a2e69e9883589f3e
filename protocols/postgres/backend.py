"""The server's direction: each message matched with what it answers, masked where the plan says so, passed on.

The first slot of the pipeline tells which messages may come: `REPLIES` maps (kind of slot, stage) to the steps of the legal tags,
and whatever is in neither that table, `_ANY_TIME` nor `_STARTING` is the server's fault and ends the flow. A step answers None to
let its frame pass, or the bytes that take its place (empty: nothing). Bytes that pass untouched are not cut up: the walk
remembers where the run of them began and lets it go as one slice when something else has to go out in between.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...reassembly.frames import HEADER_SIZE, FrameBuffer
from ..events import CancelKey, Ready
from . import messages, refuse, rows
from .frontend import MAX_STREAMED_BYTES
from .link import FAILED, IDLE, IN_TRANSACTION, Link, PeerFault, Phase
from .messages import BACKEND
from .pipeline import Kind, Slot, Stage

_DATA_ROW, _COPY_DATA, _ERROR = ord("D"), ord("d"), ord("E")
_ABSORBED = b""
_STATUSES = frozenset((IDLE, IN_TRANSACTION, FAILED))
# Below this a look ahead by the native walker costs more than it saves.
_RUN_BYTES = 256
# A row or CopyData that is longer and not here in whole passes by pieces, if it passes at all.
_PIECE_BYTES = 64 * 1024
# Requests that a PasswordMessage answers: cleartext, MD5, GSS, GSS continue, SSPI, SASL, SASL continue.
_WANTS_PASSWORD = frozenset((3, 5, 7, 8, 9, 10, 11))
_AUTHENTICATED, _SASL_FINAL = 0, 12


class Backend:
    """Reads what the server sends."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.buffer = FrameBuffer()
        self.streaming = 0
        """Bytes of a row or CopyData that is passing by pieces."""
        self.held_ready = b""
        """The first ReadyForQuery, until the owner lets it go."""
        self._run: int | None = None
        """Where in ``buffer.data`` the bytes begin that have passed and are not in the outbox yet."""

    def pump(self) -> None:
        """Walk as far as possible. Raises PeerFault, FrameFault, Malformed; what passed before the fault is in the outbox."""
        try:
            self._walk()
        finally:
            self._let_go()
            self._run = None

    def _walk(self) -> None:
        link = self._link
        buffer = self.buffer
        slots = link.pipeline.slots
        while link.phase is not Phase.CLOSED:
            if self.streaming and not self._stream():
                return
            head = buffer.head()
            if head is None:
                return
            tag, size = head
            slot = link.pipeline.head() if slots else None
            step = self._step(tag, slot)
            if size > link.limits.max_message_bytes or not buffer.want(size):
                if not self._may_stream(tag, size, slot):
                    return
                continue
            start = buffer.pos
            if self._run is None:
                # Not before `want`: joining late bytes moves what is left to the front.
                self._run = start
            answer = step(self, slot, size)
            if answer is not None:
                after = buffer.pos
                buffer.pos = start
                self._let_go()
                buffer.pos = self._run = after if after > start else start + size
                if answer:
                    link.out.to_client(answer)
            elif buffer.pos == start:
                buffer.pos = start + size

    def _step(self, tag: int, slot: Slot | None) -> _Step:
        link = self._link
        step: _Step | None = _ANY_TIME.get(tag)
        if step is None:
            if slot is not None:
                step = REPLIES[slot.kind][slot.stage].get(tag)
                if slot.poison and slot.stage is not Stage.ENDED:
                    step = None
            else:
                step = _STARTING.get((link.phase, tag))
        if step is None:
            name = BACKEND.get(tag, f"message of unknown type {tag}")
            place = "while nothing is in flight" if slot is None else f"in reply to {slot.kind.name}, {slot.stage.name}"
            raise PeerFault("server", f"the server sent a {name} {place}")
        return step

    def _let_go(self) -> None:
        """Put what has passed, up to ``buffer.pos``, into the outbox."""
        run = self._run
        if run is not None and self.buffer.pos > run:
            self._link.out.to_client(self.buffer.data[run : self.buffer.pos])
            self._run = self.buffer.pos

    def _may_stream(self, tag: int, size: int, slot: Slot | None) -> bool:
        """A message that is not here in whole: begin to pass it by pieces, or False to wait for the rest."""
        too_long = size > self._link.limits.max_message_bytes
        if not too_long and size <= _PIECE_BYTES:
            return False
        passes = slot is not None and (tag == _COPY_DATA or (tag == _DATA_ROW and self._passes(slot)))
        if not passes or size > MAX_STREAMED_BYTES:
            if too_long:
                raise PeerFault("server", f"the server sent a {BACKEND[tag]} of {size} bytes, longer than hostguard reads")
            return False
        assert slot is not None
        if tag == _DATA_ROW:
            slot.rows += 1
        slot.payload += size - HEADER_SIZE
        self._let_go()
        self._run = None
        self.streaming = size
        return True

    def _stream(self) -> bool:
        piece = self.buffer.take_some(self.streaming)
        if piece:
            self._link.out.to_client(piece)
            self.streaming -= len(piece)
        return not self.streaming

    def _body(self, size: int) -> bytes:
        start = self.buffer.pos
        return self.buffer.data[start + HEADER_SIZE : start + size]

    # Start-up

    def _authentication(self, slot: Slot | None, size: int) -> bytes | None:
        link = self._link
        request = int.from_bytes(self._body(size)[:4], "big")
        if size < HEADER_SIZE + 4:
            raise messages.Malformed("an authentication request without its code")
        if request == _AUTHENTICATED:
            link.phase = Phase.SETTLING
            link.password_due = False
        elif request in _WANTS_PASSWORD:
            link.password_due = True
        elif request != _SASL_FINAL:
            raise PeerFault("server", f"the server asks for authentication method {request}, which hostguard does not know")
        return None

    def _negotiate(self, slot: Slot | None, size: int) -> bytes | None:
        return None

    def _cancel_key(self, slot: Slot | None, size: int) -> bytes | None:
        key = self._body(size)
        if not 8 <= len(key) <= 4 + 256:
            raise messages.Malformed("a cancel key of impossible length")
        self._link.out.add(CancelKey(key))
        return None

    def _first_ready(self, slot: Slot | None, size: int) -> bytes | None:
        link = self._link
        link.status = self._status(size)
        start = self.buffer.pos
        self.held_ready = self.buffer.data[start : start + size]
        self._let_go()
        link.phase = Phase.HELD
        link.out.add(Ready(link.session))
        return _ABSORBED

    # Any time

    def _parameter_status(self, slot: Slot | None, size: int) -> bytes | None:
        if self._link.phase < Phase.SETTLING:
            raise PeerFault("server", "the server told a parameter before authentication")
        self._link.learn(*messages.parameter_status(self._body(size)))
        return None

    def _notification(self, slot: Slot | None, size: int) -> bytes | None:
        if self._link.phase < Phase.HELD:
            raise PeerFault("server", "the server sent a notification during start-up")
        return None

    def _notice(self, slot: Slot | None, size: int) -> bytes | None:
        fields = messages.fields(self._body(size))
        if slot is None:
            return None
        if slot.kind is Kind.PROBE:
            return _ABSORBED
        return refuse.scrubbed(b"N", fields) if _is_scrubbed(slot) else None

    def _error(self, slot: Slot | None, size: int) -> bytes | None:
        link = self._link
        fields = dict(messages.fields(self._body(size)))
        # V is S without translation, since 9.6.
        is_fatal = fields.get(ord("V"), fields.get(ord("S"))) in (b"FATAL", b"PANIC")
        code = fields.get(ord("C"), b"").decode("ascii", "replace")
        if slot is None:
            if link.phase > Phase.SETTLING and not is_fatal:
                raise PeerFault("server", "the server sent an error while nothing is in flight")
            return None
        if slot.kind is Kind.PROBE:
            if is_fatal:
                return None
            assert link.probe is not None
            link.probe.error = f"{code}: {fields.get(ord('M'), b'').decode('utf-8', 'replace')}"
            return _ABSORBED
        answer = None
        if slot.poison == code.encode() and slot.refusal is not None:
            answer = refuse.error(slot.refusal, link.codec)
        elif _is_scrubbed(slot):
            answer = refuse.scrubbed(b"E", list(fields.items()))
        self._fail(slot, code)
        return answer

    def _fail(self, slot: Slot, code: str) -> None:
        """An error ended the slot's work: what the server does now (PostgreSQL 18 docs §54.2.3, "extended query")."""
        pipeline = self._link.pipeline
        pipeline.copying = False
        if slot.kind is Kind.HIDDEN_DESCRIBE:
            # Our own message drew the error that the Execute right behind it would have drawn.
            pipeline.pop()
            slot.settle(done=False)
            self._forget_describing(slot)
            slot = pipeline.slots[0]
        slot.status = "error"
        slot.tag = code
        if slot.kind in (Kind.QUERY, Kind.FUNCTION_CALL, Kind.SYNC):
            slot.stage = Stage.ENDED
            return
        if slot.kind is Kind.PARSE and slot.statement_change is not None and not slot.statement_change.name:
            # exec_parse_message drops the old unnamed statement before it looks at the new text.
            self._link.statements.current.pop(b"", None)
        slot.settle(done=False)
        self._forget_describing(slot)
        pipeline.pop()
        pipeline.replied(slot)
        pipeline.fail_section()

    def _forget_describing(self, slot: Slot) -> None:
        if slot.portal is not None and slot.kind in (Kind.DESCRIBE_PORTAL, Kind.HIDDEN_DESCRIBE):
            slot.portal.describing = False

    # Replies

    def _done(self, slot: Slot, size: int) -> bytes | None:
        """ParseComplete, BindComplete, CloseComplete, NoData of a statement."""
        if slot.statement_change is not None or slot.portal_change is not None:
            slot.settle(done=True)
        self._link.pipeline.pop()
        self._link.pipeline.replied(slot)
        return None

    def _parameters_described(self, slot: Slot, size: int) -> bytes | None:
        slot.stage = Stage.DESCRIBED
        return None

    def _portal_described(self, slot: Slot, size: int) -> bytes | None:
        if slot.portal is not None:
            # Empty for NoData.
            slot.portal.described = self._body(size)
            slot.portal.describing = False
        self._link.pipeline.pop()
        return _ABSORBED if slot.kind is Kind.HIDDEN_DESCRIBE else None

    def _query_described(self, slot: Slot, size: int) -> bytes | None:
        slot.description = self._body(size)
        self._begin_rows(slot)
        return None

    def _first_row(self, slot: Slot, size: int) -> bytes | None:
        """Of an Execute: what its rows look like was told for its portal."""
        slot.description = slot.portal.described if slot.portal is not None else None
        self._begin_rows(slot)
        return self._row(slot, size)

    def _begin_rows(self, slot: Slot) -> None:
        link = self._link
        slot.stage = Stage.ROWS
        slot.row_plan = None
        description = slot.description
        if description:
            slot.columns = link.shapes.names(description)
        if slot.plan is None:
            return
        if not description:
            raise PeerFault("server", "the server sent rows that it did not describe")
        slot.row_plan = link.shapes.plan(description, slot.plan, link.codec)
        if slot.row_plan is not None:
            slot.masked = tuple(dict.fromkeys(slot.masked + slot.row_plan.masked))

    def _row(self, slot: Slot, size: int) -> bytes | None:
        buffer = self.buffer
        data = buffer.data
        limit = self._link.limits.max_message_bytes - 1
        if slot.row_plan is not None:
            run = rows.mask(data, buffer.pos, limit, slot.row_plan)
            buffer.pos += run.used
            slot.rows += run.rows
            slot.payload += run.payload
            return run.data
        slot.rows += 1
        slot.payload += size - HEADER_SIZE
        self._pass_run(slot, size, _DATA_ROW)
        return None

    def _copy_data(self, slot: Slot, size: int) -> bytes | None:
        slot.payload += size - HEADER_SIZE
        self._pass_run(slot, size, _COPY_DATA)
        return None

    def _pass_run(self, slot: Slot, size: int, tag: int) -> None:
        """Move over this frame and over those of its type that follow."""
        buffer = self.buffer
        data = buffer.data
        buffer.pos = after = buffer.pos + size
        if len(data) - after >= _RUN_BYTES and data[after] == tag:
            run = rows.count(data, after, tag, self._link.limits.max_message_bytes - 1)
            buffer.pos = after + run.used
            slot.payload += run.payload
            if tag == _DATA_ROW:
                slot.rows += run.rows

    def _passes(self, slot: Slot) -> bool:
        """Do this slot's rows pass untouched?"""
        if slot.stage is Stage.FIRST and slot.kind is Kind.EXECUTE:
            slot.description = slot.portal.described if slot.portal is not None else None
            self._begin_rows(slot)
        return slot.stage is Stage.ROWS and slot.row_plan is None

    def _execute_complete(self, slot: Slot, size: int) -> bytes | None:
        if not slot.columns and slot.portal is not None and slot.portal.described:
            slot.columns = self._link.shapes.names(slot.portal.described)
        slot.tag = messages.only_string(self._body(size)).decode("ascii", "replace")
        return self._done(slot, size)

    def _execute_empty(self, slot: Slot, size: int) -> bytes | None:
        return self._done(slot, size)

    def _execute_suspended(self, slot: Slot, size: int) -> bytes | None:
        slot.status = "suspended"
        return self._done(slot, size)

    def _query_part_complete(self, slot: Slot, size: int) -> bytes | None:
        """One statement of a Query; more may follow."""
        slot.tag = messages.only_string(self._body(size)).decode("ascii", "replace")
        slot.stage = Stage.FIRST
        return None

    def _query_part_empty(self, slot: Slot, size: int) -> bytes | None:
        return None

    def _copy_in(self, slot: Slot, size: int) -> bytes | None:
        slot.stage = Stage.COPY_IN
        if self._link.pipeline.enter_copy_in() and slot.kind is Kind.EXECUTE:
            self._link.section_open = True
        return None

    def _copy_out(self, slot: Slot, size: int) -> bytes | None:
        if slot.plan is not None and (slot.plan.computed is not None or slot.plan.masks):
            raise PeerFault("unsafe", "COPY would send rows of masked columns", b"42501")
        slot.stage = Stage.COPY_OUT
        return None

    def _copy_out_done(self, slot: Slot, size: int) -> bytes | None:
        slot.stage = Stage.COPIED
        return None

    def _copy_in_complete(self, slot: Slot, size: int) -> bytes | None:
        self._link.pipeline.copying = False
        return self._query_part_complete(slot, size) if slot.kind is Kind.QUERY else self._execute_complete(slot, size)

    def _function_result(self, slot: Slot, size: int) -> bytes | None:
        if slot.plan is not None and slot.plan.computed is not None:
            raise PeerFault("unsafe", "a function call would send a value that has no origin", b"42501")
        slot.payload += size - HEADER_SIZE
        slot.stage = Stage.ENDED
        return None

    def _status(self, size: int) -> int:
        if size != HEADER_SIZE + 1 or self.buffer.data[self.buffer.pos + HEADER_SIZE] not in _STATUSES:
            raise messages.Malformed("a ReadyForQuery without a known transaction status")
        return self.buffer.data[self.buffer.pos + HEADER_SIZE]

    def _ready(self, slot: Slot, size: int) -> bytes | None:
        link = self._link
        status = self._status(size)
        slot.settle(done=True)
        link.pipeline.pop()
        link.pipeline.replied(slot)
        link.ready(slot, status)
        link.start_probe()
        return None

    # Probes

    def _probe_row(self, slot: Slot, size: int) -> bytes | None:
        probe = self._link.probe
        assert probe is not None
        probe.size += size
        if probe.size > self._link.limits.max_probe_bytes:
            probe.error = "too many rows"
        else:
            probe.rows.append(messages.data_row(self._body(size)))
        return _ABSORBED

    def _probe_step(self, slot: Slot, size: int) -> bytes | None:
        return _ABSORBED

    def _probe_ready(self, slot: Slot, size: int) -> bytes | None:
        link = self._link
        probe = link.probe
        assert probe is not None
        self._status(size)
        probe.ends += 1
        if probe.ends == 2:
            link.pipeline.pop()
            link.end_probe()
            link.start_probe()
        return _ABSORBED


def _is_scrubbed(slot: Slot) -> bool:
    return slot.scrub_section or (slot.plan is not None and slot.plan.scrub_errors)


# Steps of `REPLIES` get the slot that the table found them for; the others get the first slot, if there is one.
_Step = Callable[[Backend, Any, int], bytes | None]


def _tags(**steps: _Step) -> dict[int, _Step]:
    """Tags as keyword names; digits can't begin one, so ``_1`` stands for ``1``."""
    return {ord(tag.removeprefix("_")): step for tag, step in steps.items()}


_READY = _tags(Z=Backend._ready)
_ROW_ENDS = _tags(D=Backend._row, C=Backend._execute_complete, s=Backend._execute_suspended)
REPLIES: dict[Kind, dict[Stage, dict[int, _Step]]] = {
    Kind.PARSE: {Stage.FIRST: _tags(_1=Backend._done)},
    Kind.BIND: {Stage.FIRST: _tags(_2=Backend._done)},
    Kind.CLOSE: {Stage.FIRST: _tags(_3=Backend._done)},
    Kind.DESCRIBE_STATEMENT: {
        Stage.FIRST: _tags(t=Backend._parameters_described),
        Stage.DESCRIBED: _tags(T=Backend._done, n=Backend._done),
    },
    Kind.DESCRIBE_PORTAL: {Stage.FIRST: _tags(T=Backend._portal_described, n=Backend._portal_described)},
    Kind.HIDDEN_DESCRIBE: {Stage.FIRST: _tags(T=Backend._portal_described, n=Backend._portal_described)},
    Kind.EXECUTE: {
        Stage.FIRST: _tags(
            D=Backend._first_row,
            C=Backend._execute_complete,
            I=Backend._execute_empty,
            s=Backend._execute_suspended,
            G=Backend._copy_in,
            H=Backend._copy_out,
        ),
        Stage.ROWS: _ROW_ENDS,
        Stage.COPY_IN: _tags(C=Backend._copy_in_complete),
        Stage.COPY_OUT: _tags(d=Backend._copy_data, c=Backend._copy_out_done),
        Stage.COPIED: _tags(C=Backend._execute_complete),
    },
    Kind.QUERY: {
        Stage.FIRST: _tags(
            T=Backend._query_described,
            C=Backend._query_part_complete,
            I=Backend._query_part_empty,
            G=Backend._copy_in,
            H=Backend._copy_out,
            Z=Backend._ready,
        ),
        Stage.ROWS: _tags(D=Backend._row, C=Backend._query_part_complete),
        Stage.COPY_IN: _tags(C=Backend._copy_in_complete),
        Stage.COPY_OUT: _tags(d=Backend._copy_data, c=Backend._copy_out_done),
        Stage.COPIED: _tags(C=Backend._query_part_complete),
        Stage.ENDED: _READY,
    },
    Kind.FUNCTION_CALL: {Stage.FIRST: _tags(V=Backend._function_result), Stage.ENDED: _READY},
    Kind.SYNC: {Stage.FIRST: _READY, Stage.ENDED: _READY},
    Kind.PROBE: {
        Stage.FIRST: {
            **_tags(_1=Backend._probe_step, _2=Backend._probe_step, _3=Backend._probe_step, C=Backend._probe_step),
            **_tags(D=Backend._probe_row, Z=Backend._probe_ready),
        }
    },
}
"""Kind of the first slot in flight, stage of its reply: tag of a legal message, and what to do with it."""

_ANY_TIME: dict[int, _Step] = {
    ord("N"): Backend._notice,
    ord("S"): Backend._parameter_status,
    ord("A"): Backend._notification,
    ord("E"): Backend._error,
}
_STARTING: dict[tuple[Phase, int], _Step] = {
    (Phase.AUTHENTICATING, ord("R")): Backend._authentication,
    (Phase.AUTHENTICATING, ord("v")): Backend._negotiate,
    (Phase.SETTLING, ord("K")): Backend._cancel_key,
    (Phase.SETTLING, ord("Z")): Backend._first_ready,
}
