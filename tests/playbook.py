"""A dialogue with a conversation, played whole and cut, compared as text.

A dialogue is a list of steps made by `client`, `server` (bytes in) and `act` (a call of the owner), each with what must come of
it: lines such as ``ask 1 query SELECT 1`` or ``replied 1 ok SELECT 1 rows=1`` for effects, `to_server` and `to_client` for bytes.
On a mismatch the assertion shows both dialogues line by line.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import NamedTuple

from cuts import Pieces, ways

from hostguard.protocols.events import (
    Ask,
    Authenticate,
    CancelKey,
    CancelRequested,
    Close,
    CredentialRefused,
    Decision,
    Effect,
    Encrypt,
    Opaque,
    Probed,
    Reach,
    Ready,
    Replied,
    Settled,
    Started,
    ToClient,
    ToServer,
    Verdict,
    Withdrawn,
)
from hostguard.protocols.postgres.conversation import PostgresConversation

Action = Callable[[PostgresConversation], list[Effect]]


class Step(NamedTuple):
    title: str
    data: bytes
    action: Action | None
    expected: list[str]


def client(*messages: bytes, gives: Sequence[str] = ()) -> Step:
    return Step("client", b"".join(messages), None, list(gives))


def server(*messages: bytes, gives: Sequence[str] = ()) -> Step:
    return Step("server", b"".join(messages), None, list(gives))


def act(title: str, action: Action, gives: Sequence[str] = ()) -> Step:
    return Step(title, b"", action, list(gives))


def decide(operation_id: int, decision: Decision, gives: Sequence[str] = ()) -> Step:
    title = f"{decision.verdict.value} {operation_id}"
    return act(title, lambda conversation: conversation.resume(operation_id, decision), gives)


def allow(operation_id: int, gives: Sequence[str] = ()) -> Step:
    return decide(operation_id, Decision(Verdict.ALLOW), gives)


def deny(operation_id: int, gives: Sequence[str] = (), reason: str = "policy says no", hint: str = "") -> Step:
    return decide(operation_id, Decision(Verdict.DENY, reason, hint), gives)


def to_server(*messages: bytes) -> str:
    return f"to server {b''.join(messages)!r}"


def to_client(*messages: bytes) -> str:
    return f"to client {b''.join(messages)!r}"


def play(make: Callable[[], PostgresConversation], steps: Sequence[Step], cut: bool = True) -> None:
    """Play the dialogue on fresh conversations: whole, cut once at every position of every stream, and byte by byte."""
    streams = [step.data for step in steps if step.action is None]
    for way in ways(streams):
        _play_once(make(), steps, way)
        if not cut:
            return


def _play_once(conversation: PostgresConversation, steps: Sequence[Step], way: list[Pieces]) -> None:
    said: list[str] = []
    wanted: list[str] = []
    streams = iter(way)
    for step in steps:
        effects: list[Effect] = []
        if step.action is not None:
            effects += step.action(conversation)
        else:
            feed = conversation.from_client if step.title == "client" else conversation.from_server
            for piece in next(streams):
                effects += feed(piece)
        title = f"{step.title} › {step.data!r}"
        said += [title, *_lines(effects)]
        wanted += [title, *_in_order(step.expected)]
    if said != wanted:
        raise AssertionError("\n".join(difflib.ndiff(wanted, said)))


def _lines(effects: Sequence[Effect]) -> list[str]:
    """Effects as text. Cut input cuts output, so bytes of one direction are joined; what is told beside them keeps its order."""
    to_server_bytes = b"".join(effect.data for effect in effects if isinstance(effect, ToServer))
    to_client_bytes = b"".join(effect.data for effect in effects if isinstance(effect, ToClient))
    to_client_bytes, fatal = _split_fatal(to_client_bytes)
    told = [line(effect) for effect in effects if not isinstance(effect, ToServer | ToClient)]
    lines = [to_server(to_server_bytes)] if to_server_bytes else []
    lines += [to_client(to_client_bytes)] if to_client_bytes else []
    lines += [f"fatal {fatal}"] if fatal else []
    return _in_order(lines + told)


def _split_fatal(data: bytes) -> tuple[bytes, str]:
    """A FATAL error at the end is told by its code alone: its text is for people."""
    mark = b"SFATAL\0VFATAL\0C"
    at = data.find(mark)
    if at < 0:
        return data, ""
    return data[: at - 5], data[at + len(mark) :][:5].decode()


def _in_order(lines: Sequence[str]) -> list[str]:
    """Bytes first, then asks, then the rest, since where a read ends decides how these interleave."""
    rank = ("to server", "to client", "fatal", "ask", "")
    return sorted(lines, key=lambda text: next(index for index, start in enumerate(rank) if text.startswith(start)))


def line(effect: Effect) -> str:
    """One effect as a line of a dialogue."""
    match effect:
        case ToServer(data=data):
            return to_server(data)
        case ToClient(data=data):
            return to_client(data)
        case Ask(operation=operation):
            return f"ask {operation.id} {operation.kind.value} {operation.text}"
        case Replied(operation_id=number, summary=summary):
            masked = f" masked={','.join(summary.masked)}" if summary.masked else ""
            tags = f" tags={','.join(summary.tags)}" if summary.tags else ""
            return f"replied {number} {summary.status} {summary.tag} rows={summary.rows}{masked}{tags}"
        case Withdrawn(operation_id=number):
            return f"withdrawn {number}"
        case Started(session=session):
            return f"started {session.user}@{session.database}"
        case Ready():
            return "ready"
        case Probed(name=name, rows=rows, error=error):
            return f"probed {name} {rows} {error}".rstrip()
        case CancelKey(key=key):
            return f"cancel key {key!r}"
        case CancelRequested(key=key, request=request):
            return f"cancel requested {key!r} {request!r}"
        case Authenticate(request=request):
            return f"authenticate {request!r}"
        case CredentialRefused(code=code, again=again):
            return f"credential refused {code.decode()}{' for good' * (not again)}"
        case Encrypt():
            return f"encrypt {effect.answer!r} {effect.data!r}"
        case Reach():
            return "reach"
        case Opaque(reason=reason, fault=fault, to_server=to_server_, to_client=to_client_):
            return f"opaque {fault} {reason!r} {to_server_!r} {to_client_!r}"
        case Settled(to_server=to_server_, to_client=to_client_):
            return f"settled {to_server_!r} {to_client_!r}"
        case Close(fault=fault):
            return f"close {fault}".rstrip()
