"""The server's direction: each message matched with what it answers, masked where the plan says so, passed on.

The first slot of the pipeline tells which messages may come: `REPLIES` maps (kind of slot, stage) to the steps of the legal tags,
and whatever is in neither that table, `_ANY_TIME` nor `_STARTING` is the server's fault and ends the flow. A step answers None to
let its frame pass, or the bytes that take its place (empty: nothing). Bytes that pass untouched are not cut up: the walk
remembers where the run of them began and lets it go as one slice when something else has to go out in between.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ...reassembly.frames import HEADER_SIZE, FrameBuffer
from . import asides, messages
from .frontend import MAX_STREAMED_BYTES
from .link import AUTHENTICATING, CLOSED, FAILED, IDLE, IN_TRANSACTION, SETTLING, Link, PeerFault, Phase
from .messages import BACKEND
from .pipeline import ENDED, Slot
from .replies import REPLIES, rows_pass

_DATA_ROW: Final = ord("D")
_COPY_DATA: Final = ord("d")
_STATUSES: Final = frozenset((IDLE, IN_TRANSACTION, FAILED))
# A row or CopyData that is longer and not here in whole passes by pieces, if it passes at all.
_PIECE_BYTES = 64 * 1024

# Steps get the first slot in flight; those of `REPLIES` always find one.
_Step = Callable[["Backend", Any, int], bytes | None]
_ANY_TIME: Final[dict[int, _Step]] = {
    ord("N"): asides.notice,
    ord("S"): asides.parameter_status,
    ord("A"): asides.notification,
    ord("E"): asides.error,
}
_STARTING: Final[dict[tuple[Phase, int], _Step]] = {
    (AUTHENTICATING, ord("R")): asides.authentication,
    (AUTHENTICATING, ord("v")): asides.negotiated,
    (SETTLING, ord("K")): asides.cancel_key,
    (SETTLING, ord("Z")): asides.first_ready,
}


class Backend:
    """Reads what the server sends."""

    def __init__(self, link: Link) -> None:
        self.link = link
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
            self.let_go()
            self._run = None
            self.buffer.release()

    def _walk(self) -> None:
        link = self.link
        buffer = self.buffer
        pipeline = link.pipeline
        slots = pipeline.slots
        longest = link.limits.max_message_bytes
        while link.phase is not CLOSED:
            if self.streaming and not self._stream():
                return
            head = buffer.head()
            if head is None:
                return
            tag, size = head
            slot = pipeline.head() if slots else None
            if slot is None and link.asking:
                return
            step: _Step | None = None
            if slot is not None and (not slot.poison or slot.stage is ENDED):
                step = REPLIES[slot.kind][slot.stage].get(tag)
            if step is None:
                step = self._aside(tag, slot)
            start = buffer.pos
            if size > longest or len(buffer.data) - start < size:
                if size > longest or not buffer.want(size):
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
                self.let_go()
                buffer.pos = self._run = after if after > start else start + size
                if answer:
                    link.out.to_client(answer)
            elif buffer.pos == start:
                buffer.pos = start + size

    def _aside(self, tag: int, slot: Slot | None) -> _Step:
        """The step of a message that is no reply to `slot`; raises PeerFault when there is none."""
        step = _ANY_TIME.get(tag)
        if step is None and slot is None:
            step = _STARTING.get((self.link.phase, tag))
        if step is None:
            name = BACKEND.get(tag, f"message of unknown type {tag}")
            place = "while nothing is in flight" if slot is None else f"in reply to {slot.kind.name}, {slot.stage.name}"
            raise PeerFault("server", f"the server sent a {name} {place}")
        return step

    def let_go(self) -> None:
        """Put what has passed, up to ``buffer.pos``, into the outbox."""
        run = self._run
        if run is not None and self.buffer.pos > run:
            self.link.out.to_client(self.buffer.data[run : self.buffer.pos])
            self._run = self.buffer.pos

    def _may_stream(self, tag: int, size: int, slot: Slot | None) -> bool:
        """A message that is not here in whole: begin to pass it by pieces, or False to wait for the rest."""
        too_long = size > self.link.limits.max_message_bytes
        if not too_long and size <= _PIECE_BYTES:
            return False
        copied = tag == _COPY_DATA and slot is not None and slot.net is None and slot.copy is None
        passes = slot is not None and (copied or (tag == _DATA_ROW and rows_pass(self, slot)))
        if not passes or size > MAX_STREAMED_BYTES:
            if too_long:
                raise PeerFault("server", f"the server sent a {BACKEND[tag]} of {size} bytes, longer than hostguard reads")
            return False
        assert slot is not None
        if tag == _DATA_ROW:
            slot.rows += 1
        slot.payload += size - HEADER_SIZE
        self.let_go()
        self._run = None
        self.streaming = size
        return True

    def _stream(self) -> bool:
        piece = self.buffer.take_some(self.streaming)
        if piece:
            self.link.out.to_client(piece)
            slot = self.link.pipeline.head()
            if slot is not None and slot.capture is not None:
                slot.capture.values(piece)
            self.streaming -= len(piece)
        return not self.streaming

    def body(self, size: int) -> bytes:
        """The body of the first frame, which has `size` bytes."""
        start = self.buffer.pos
        return self.buffer.data[start + HEADER_SIZE : start + size]

    def status(self, size: int) -> int:
        """The transaction status in the ReadyForQuery that comes first. Raises messages.Malformed."""
        if size != HEADER_SIZE + 1 or self.buffer.data[self.buffer.pos + HEADER_SIZE] not in _STATUSES:
            raise messages.Malformed("a ReadyForQuery without a known transaction status")
        return self.buffer.data[self.buffer.pos + HEADER_SIZE]
