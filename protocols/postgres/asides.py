"""What the server says outside of replies: start-up, parameters, notices, errors.

Each function is a step of `backend`: it answers None to let its frame pass, or the bytes that take the frame's place.
"""

# ruff: noqa: ARG001 (steps share one signature)

from __future__ import annotations

from typing import TYPE_CHECKING

from ...reassembly.frames import HEADER_SIZE
from ..events import CancelKey, Ready
from . import messages, passthrough, refuse
from .link import AUTHENTICATING, HELD, SETTLING, PeerFault
from .pipeline import DESCRIBE_PORTAL, ENDED, FUNCTION_CALL, HIDDEN_DESCRIBE, PARSE, PROBE, QUERY, SYNC, Slot

if TYPE_CHECKING:
    from .backend import Backend

_ABSORBED = b""
# Requests that a PasswordMessage answers: cleartext, MD5, GSS, GSS continue, SSPI, SASL, SASL continue.
_WANTS_PASSWORD = frozenset((3, 5, 7, 8, 9, 10, 11))
_AUTHENTICATED, _SASL_FINAL = 0, 12


def authentication(backend: Backend, slot: Slot | None, size: int) -> bytes | None:
    link = backend.link
    body = backend.body(size)
    standin = link.standin
    if standin is not None:
        if standin.accepts(body):
            link.phase = SETTLING
            return None
        backend.let_go()
        standin.ask(link, body)
        return _ABSORBED
    request = int.from_bytes(body[:4], "big")
    if size < HEADER_SIZE + 4:
        raise messages.Malformed("an authentication request without its code")
    if request == _AUTHENTICATED:
        link.phase = SETTLING
        link.password_due = False
    elif request in _WANTS_PASSWORD:
        link.password_due = True
    elif request != _SASL_FINAL:
        raise PeerFault("server", f"the server asks for authentication method {request}, which hostguard does not know")
    return passthrough.offer(link, body)


def negotiated(backend: Backend, slot: Slot | None, size: int) -> bytes | None:
    """NegotiateProtocolVersion: the client has it once, however often hostguard logs in for it."""
    link = backend.link
    known, link.negotiated = link.negotiated, True
    return _ABSORBED if known else None


def cancel_key(backend: Backend, slot: Slot | None, size: int) -> bytes | None:
    key = backend.body(size)
    if not 8 <= len(key) <= 4 + 256:
        raise messages.Malformed("a cancel key of impossible length")
    backend.link.out.add(CancelKey(key))
    return None


def first_ready(backend: Backend, slot: Slot | None, size: int) -> bytes | None:
    link = backend.link
    link.status = backend.status(size)
    start = backend.buffer.pos
    backend.held_ready = backend.buffer.data[start : start + size]
    backend.let_go()
    link.phase = HELD
    link.out.add(Ready(link.session))
    return _ABSORBED


def parameter_status(backend: Backend, slot: Slot | None, size: int) -> bytes | None:
    if backend.link.phase < SETTLING:
        raise PeerFault("server", "the server told a parameter before authentication")
    backend.link.learn(*messages.parameter_status(backend.body(size)))
    return None


def notification(backend: Backend, slot: Slot | None, size: int) -> bytes | None:
    if backend.link.phase < HELD:
        raise PeerFault("server", "the server sent a notification during start-up")
    return None


def notice(backend: Backend, slot: Slot | None, size: int) -> bytes | None:
    fields = messages.fields(backend.body(size))
    if slot is None:
        return None
    if slot.kind is PROBE:
        return _ABSORBED
    return refuse.scrubbed(b"N", fields) if is_scrubbed(slot) else None


def error(backend: Backend, slot: Slot | None, size: int) -> bytes | None:
    link = backend.link
    fields = dict(messages.fields(backend.body(size)))
    # V is S without translation, since 9.6.
    is_fatal = fields.get(ord("V"), fields.get(ord("S"))) in (b"FATAL", b"PANIC")
    code = fields.get(ord("C"), b"").decode("ascii", "replace")
    if slot is None:
        if link.standin is not None and link.phase is AUTHENTICATING:
            link.standin.check(code, fields.get(ord("M"), b"").decode("utf-8", "replace"))
        if link.phase > SETTLING and not is_fatal:
            raise PeerFault("server", "the server sent an error while nothing is in flight")
        return None
    if slot.kind is PROBE:
        if is_fatal:
            return None
        assert link.probe is not None
        link.probe.error = f"{code}: {fields.get(ord('M'), b'').decode('utf-8', 'replace')}"
        return _ABSORBED
    answer = None
    if slot.poison == code.encode() and slot.refusal is not None:
        answer = refuse.error(slot.refusal, link.codec, fields)
    elif is_scrubbed(slot) and not refuse.is_of_text(fields):
        answer = refuse.scrubbed(b"E", list(fields.items()))
    fail(backend, slot, code)
    return answer


def fail(backend: Backend, slot: Slot, code: str) -> None:
    """An error ended the slot's work: what the server does now (PostgreSQL 18 docs §54.2.3, "extended query")."""
    pipeline = backend.link.pipeline
    pipeline.copying = False
    if slot.kind is HIDDEN_DESCRIBE:
        # Our own message drew the error that the Execute right behind it would have drawn.
        pipeline.pop()
        slot.settle(done=False)
        forget_describing(slot)
        slot = pipeline.slots[0]
    slot.status = "error"
    slot.tag = code
    if slot.kind in (QUERY, FUNCTION_CALL, SYNC):
        slot.stage = ENDED
        return
    if slot.kind is PARSE and slot.statement_change is not None and not slot.statement_change.name:
        # exec_parse_message drops the old unnamed statement before it looks at the new text.
        backend.link.statements.current.pop(b"", None)
    slot.settle(done=False)
    forget_describing(slot)
    pipeline.pop()
    pipeline.replied(slot)
    pipeline.fail_section()


def forget_describing(slot: Slot) -> None:
    if slot.portal is not None and slot.kind in (DESCRIBE_PORTAL, HIDDEN_DESCRIBE):
        slot.portal.describing = False


def is_scrubbed(slot: Slot) -> bool:
    """Are errors and notices that answer this slot to be stripped of what may carry values?"""
    return slot.scrub_section or (slot.plan is not None and slot.plan.scrub_errors and not slot.observed)
