"""The client's direction: each message read, asked about where it is an operation, forwarded.

Theory of operation
-------------------
`pump` walks whole messages. A message needs no decision (it is forwarded at once), or is an operation: then `Ask` goes out, the
walk stops, and everything behind the message waits in the buffer until `resume`. A third way out is *stalling*: what the message
means depends on replies that are not here; it stays in the buffer, and the walk tries again when the server has spoken. Stalling
only ever waits for replies that the server will give without further help of the client: those up to a ReadyForQuery whose
cause was forwarded.

How a text is read depends on ``client_encoding`` and ``standard_conforming_strings``, and the server tells changes of those only
at ReadyForQuery, while the change counts for the very next Parse. So a forwarded text that may change them raises a *doubt* for
its epoch: texts of later epochs stall until the ReadyForQuery, texts of the same epoch can't wait (the Sync that would bring the
answer is behind them) and are asked about as unreadable (``text=None``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ...reassembly.frames import HEADER_SIZE, FrameBuffer
from ..events import Ask, Close, Decision, Operation, OperationKind
from . import encodings, messages, passthrough
from .link import AUTHENTICATING, CLOSED, OPEN, Link, PeerFault
from .messages import FRONTEND
from .names import STALL, Portal, Stall, Statement
from .pipeline import BIND, CLOSE, DESCRIBE_PORTAL, DESCRIBE_STATEMENT, EXECUTE, FUNCTION_CALL, PARSE, QUERY, SYNC, Kind, Slot
from .release import Asked, end_epoch, forward, release

_COPY_DATA: Final = ord("d")
_AS_QUERY: Final = OperationKind.QUERY
_AS_PREPARE: Final = OperationKind.PREPARE
_AS_EXECUTE: Final = OperationKind.EXECUTE
_AS_FUNCTION_CALL: Final = OperationKind.FUNCTION_CALL
_WHILE_COPYING: Final = frozenset(b"dcfSHX")
_COPY_TAGS: Final = frozenset(b"dcf")
# PostgreSQL's PQ_LARGE_MESSAGE_LIMIT: no message of either side is longer.
MAX_STREAMED_BYTES = 0x3FFFFFFF


class Frontend:
    """Reads what the client sends."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.buffer = FrameBuffer()
        self.asked: Asked | None = None
        self.waiting = False
        """The walk stopped before the end of what is here, for a reason that lies with us or the server."""
        self.streaming = 0
        """Bytes of a CopyData that is passing by pieces."""
        self._last_id = 0

    def pump(self) -> None:
        """Walk as far as possible. Raises PeerFault, FrameFault, Malformed."""
        link = self._link
        buffer = self.buffer
        limits = link.limits
        pipeline = link.pipeline
        self.waiting = True
        while self.asked is None and link.phase is OPEN:
            if self.streaming and not self._stream():
                break
            head = buffer.head()
            if head is None:
                break
            tag, size = head
            if (link.probe is not None or link.probes) and self._give_way(tag):
                return
            step = _STEPS.get(tag)
            if step is None:
                if tag != _COPY_DATA:
                    raise PeerFault("client", _illegal(tag))
                self._start_stream(size)
                continue
            if size > limits.max_message_bytes:
                raise PeerFault("client", f"a {FRONTEND[tag]} of {size} bytes is longer than hostguard reads", b"54000")
            start = buffer.pos
            if len(buffer.data) - start < size:
                if not buffer.want(size):
                    break
                start = buffer.pos
            if pipeline.copying and tag not in _WHILE_COPYING:
                raise PeerFault("client", f"{FRONTEND[tag]} inside of COPY data")
            if len(pipeline.slots) >= limits.max_in_flight:
                return
            end = start + size
            frame = buffer.data[start:end]
            if not step(self, frame, frame[HEADER_SIZE:]):
                return
            buffer.pos = end
        self.waiting = self.asked is not None or link.phase is not OPEN
        buffer.release()

    def authenticate(self) -> None:
        """Pass answers to the server's requests for authentication; nothing else is legal before ReadyForQuery."""
        link = self._link
        while link.phase is AUTHENTICATING:
            head = self.buffer.head()
            if head is None:
                return
            tag, size = head
            if FRONTEND.get(tag) != "PasswordMessage" or not link.password_due:
                raise PeerFault("client", f"{FRONTEND.get(tag, 'an unknown message')} during authentication")
            if size > link.limits.max_auth_bytes:
                raise PeerFault("client", "the authentication message is too long")
            if not self.buffer.want(size):
                return
            link.password_due = False
            message = self.buffer.take(size)
            passthrough.check(link, message[HEADER_SIZE:])
            link.out.to_server(message)

    def answer(self) -> bytes | None:
        """The body of the PasswordMessage with which the client answers hostguard; None while it is not here."""
        head = self.buffer.head()
        if head is None:
            return None
        tag, size = head
        if FRONTEND.get(tag) != "PasswordMessage":
            raise PeerFault("client", f"{FRONTEND.get(tag, 'an unknown message')} during authentication")
        if size > self._link.limits.max_auth_bytes:
            raise PeerFault("client", "the authentication message is too long")
        return self.buffer.take(size)[HEADER_SIZE:] if self.buffer.want(size) else None

    def _give_way(self, tag: int) -> bool:
        """A probe is due: is this message to wait for it?"""
        link = self._link
        if link.probe is not None or link.start_probe():
            return True
        # Not idle. If all that is in flight ends in a ReadyForQuery, idle may be near: hold the client's next message.
        # COPY data must pass, since the server waits for it.
        return bool(link.pipeline.slots) and not link.section_open and not link.pipeline.copying and tag not in _COPY_TAGS

    def _start_stream(self, size: int) -> None:
        """CopyData passes by pieces, however long: the server ignores it outside of COPY, and holds no operation."""
        if size > MAX_STREAMED_BYTES:
            raise PeerFault("client", "a CopyData is longer than PostgreSQL allows")
        self.streaming = size
        slot = self._link.pipeline.head()
        if slot is not None:
            slot.payload += size - HEADER_SIZE

    def _stream(self) -> bool:
        piece = self.buffer.take_some(self.streaming)
        if piece:
            self._link.out.to_server(piece)
            self.streaming -= len(piece)
        return not self.streaming

    # Steps: the frame and its body in, False to leave the message where it is (stalled).

    def _query(self, frame: bytes, body: bytes) -> bool:
        text = self._read(messages.only_string(body))
        if isinstance(text, Stall):
            return False
        self._ask(QUERY, frame, Operation(self._next_id(), _AS_QUERY, text, self._link.session))
        return True

    def _parse(self, frame: bytes, body: bytes) -> bool:
        link = self._link
        message = messages.parse(body)
        text = self._read(message.text)
        if isinstance(text, Stall):
            return False
        if not link.statements.knows(message.name) and len(link.statements) >= link.limits.max_statements:
            raise PeerFault("client", "too many prepared statements for hostguard", b"54000")
        self._check_held(len(body))
        statement = Statement(message.name, text, message.types, len(body))
        operation = Operation(self._next_id(), _AS_PREPARE, text, link.session, statement=statement.name, types=message.types)
        self._ask(PARSE, frame, operation, statement=statement, name=message.name)
        return True

    def _bind(self, frame: bytes, body: bytes) -> bool:
        link = self._link
        message = messages.bind(body)
        if message.portal == link.poison_portal:
            raise PeerFault("client", "the portal's name is reserved")
        statement = link.statements.find(message.statement, link.epoch)
        if isinstance(statement, Stall):
            return False
        if not link.portals.knows(message.portal) and len(link.portals) >= link.limits.max_portals:
            raise PeerFault("client", "too many open portals for hostguard", b"54000")
        self._check_held(len(body))
        slot = Slot(BIND, link.epoch)
        portal = Portal(statement, message.parameters, message.formats, link.epoch, len(body))
        slot.portal_change = link.portals.change(message.portal, portal, link.epoch)
        forward(self._link, slot, frame)
        return True

    def _describe(self, frame: bytes, body: bytes) -> bool:
        is_portal, name = messages.subject(body)
        if not is_portal:
            forward(self._link, Slot(DESCRIBE_STATEMENT, self._link.epoch), frame)
            return True
        portal = self._portal(name)
        if isinstance(portal, Stall):
            return False
        slot = Slot(DESCRIBE_PORTAL, self._link.epoch)
        if portal is not None:
            slot.portal = portal
            portal.describing = True
        forward(self._link, slot, frame)
        return True

    def _close(self, frame: bytes, body: bytes) -> bool:
        link = self._link
        is_portal, name = messages.subject(body)
        slot = Slot(CLOSE, link.epoch)
        if is_portal:
            slot.portal_change = link.portals.change(name, None, link.epoch)
        else:
            slot.statement_change = link.statements.change(name, None, link.epoch)
        forward(self._link, slot, frame)
        return True

    def _execute(self, frame: bytes, body: bytes) -> bool:
        name = messages.execute(body)
        portal = self._portal(name)
        if isinstance(portal, Stall):
            return False
        statement = portal.statement if portal is not None else None
        if portal is None or statement is None:
            operation = Operation(self._next_id(), _AS_EXECUTE, None, self._link.session)
        else:
            operation = Operation(
                self._next_id(), _AS_EXECUTE, statement.text, self._link.session,
                statement.name, portal.parameters, portal.formats, statement.types,
            )  # fmt: skip
        self._ask(EXECUTE, frame, operation, statement, name, portal)
        return True

    def _function_call(self, frame: bytes, body: bytes) -> bool:
        call = messages.function_call(body)
        operation = Operation(
            self._next_id(), _AS_FUNCTION_CALL, None, self._link.session,
            parameters=call.arguments, formats=call.formats, function=call.function,
        )  # fmt: skip
        self._ask(FUNCTION_CALL, frame, operation)
        return True

    def _sync(self, frame: bytes, body: bytes) -> bool:
        messages.nothing(body)
        link = self._link
        if link.pipeline.copying:
            # The server ignores it while it reads COPY data.
            link.out.to_server(frame)
            return True
        slot = Slot(SYNC, link.epoch)
        slot.scrub_section = link.scrubbing
        link.pipeline.add(slot)
        link.out.to_server(frame)
        end_epoch(link)
        return True

    def _flush(self, frame: bytes, body: bytes) -> bool:
        messages.nothing(body)
        self._link.out.to_server(frame)
        return True

    def _copy_done(self, frame: bytes, body: bytes) -> bool:
        messages.nothing(body)
        return self._end_copy(frame)

    def _copy_fail(self, frame: bytes, body: bytes) -> bool:
        messages.only_string(body)
        return self._end_copy(frame)

    def _end_copy(self, frame: bytes) -> bool:
        self._link.pipeline.end_copy_data()
        self._link.out.to_server(frame)
        return True

    def _terminate(self, frame: bytes, body: bytes) -> bool:
        messages.nothing(body)
        self._link.out.to_server(frame)
        self._link.out.close(Close("the client ended the session"))
        self._link.phase = CLOSED
        return True

    def resume(self, decision: Decision) -> None:
        """Carry out the decision on the operation that was asked about."""
        asked = self.asked
        assert asked is not None
        self.asked = None
        release(self._link, asked, decision)

    # Parts

    def _ask(
        self,
        kind: Kind,
        frame: bytes,
        operation: Operation,
        statement: Statement | None = None,
        name: bytes = b"",
        portal: Portal | None = None,
    ) -> None:
        self.asked = Asked(operation, kind, frame, statement, name, portal)
        self._link.out.add(Ask(operation))

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def _read(self, raw: bytes) -> str | Stall | None:
        """A statement's text as the server will read it; None when that can't be told; STALL when it can be told later."""
        link = self._link
        if link.doubt_epoch is not None:
            return None if link.doubt_epoch == link.epoch else STALL
        return encodings.decode(raw, link.codec)

    def _portal(self, name: bytes) -> Portal | Stall | None:
        """The portal that a message would meet now. One of an earlier epoch may die at a ReadyForQuery that is not here yet."""
        link = self._link
        portal = link.portals.find(name, link.epoch)
        if isinstance(portal, Portal) and portal.epoch != link.epoch and link.pipeline.ends:
            return STALL
        return portal

    def _check_held(self, size: int) -> None:
        link = self._link
        room = link.limits.max_held_bytes - size
        if any(link.statements.held_bytes(exact) + link.portals.held_bytes(exact) <= room for exact in (False, True)):
            return
        raise PeerFault("client", "prepared statements and portals hold more than hostguard keeps", b"54000")


def _illegal(tag: int) -> str:
    return f"a {FRONTEND[tag]} is not expected here" if tag in FRONTEND else f"invalid frontend message type {tag}"


_Step = Callable[[Frontend, bytes, bytes], bool]
_STEPS: Final[dict[int, _Step]] = {
    ord("Q"): Frontend._query,
    ord("P"): Frontend._parse,
    ord("B"): Frontend._bind,
    ord("D"): Frontend._describe,
    ord("C"): Frontend._close,
    ord("E"): Frontend._execute,
    ord("F"): Frontend._function_call,
    ord("S"): Frontend._sync,
    ord("H"): Frontend._flush,
    ord("c"): Frontend._copy_done,
    ord("f"): Frontend._copy_fail,
    ord("X"): Frontend._terminate,
}
