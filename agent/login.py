"""hostguard's own login on a flow, as the flow's worker carries it: what it can't answer it passes on.

What the server asks goes to the supervisor, which has it answered where the secret is; the answer goes to the conversation. An
answer that comes after the flow's end finds it closed and does nothing.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final

from ..policy.document import Document
from ..protocols.events import Authenticate, Close, CredentialRefused, Effect, Started
from ..protocols.postgres.scram import Verifier, verifier
from ..protocols.postgres.standin import Credential
from ..recorder import entry
from . import messages

if TYPE_CHECKING:
    from .flow import Flow
    from .relay import Relay

NOT_LOGGED_IN: Final = b"28000"
"""SQLSTATE invalid_authorization_specification."""
SALT_BYTES: Final = 16


class Words:
    """What agents are asked for, as a server keeps it: derived once, since that costs as much as a login is meant to."""

    def __init__(self) -> None:
        self._salt = os.urandom(SALT_BYTES)
        self._verifiers: dict[str, Verifier] = {}

    def credential(self, document: Document, new: messages.NewFlow) -> Credential | None:
        """Whose login the flow's server is to see; None: the agent's own."""
        if not new.credential:
            return None
        section = document.resources.get(new.resource)
        word = section.client_password if section is not None else ""
        return Credential(new.credential, new.user, self._verifier(word) if word else None, new.carried)

    def _verifier(self, word: str) -> Verifier:
        known = self._verifiers.get(word)
        if known is None:
            known = self._verifiers[word] = verifier(word.encode(), self._salt)
        return known


def started(relay: Relay, effect: Started) -> list[Effect]:
    """A session begins, on record before its server hears of it."""
    flow, conversation = relay.flow, relay.conversation
    flow.database, flow.user = effect.session.database, effect.session.user
    refusal = relay.loop.gate.record(flow, _entry(flow, effect))
    if refusal is not None:
        return conversation.terminate(refusal.reason, refusal.refusal)
    if relay.server is not None:
        return conversation.start()
    relay.dial()
    return []


def _entry(flow: Flow, started: Started) -> entry.Session:
    session = started.session
    return entry.Session(
        database=session.database,
        user=session.user,
        parameters=tuple(started.parameters.items()),
        credential=flow.credential.name if flow.credential is not None else "",
    )


def ask(relay: Relay, effect: Authenticate) -> None:
    """The server asks for a login."""
    relay.loop.say(messages.Authenticate(relay.flow.id, effect.request, relay.server_binding))


def answered(relay: Relay, message: messages.Authenticated) -> None:
    """Say that to the server."""
    if not relay.closing:
        relay.do(lambda: relay.conversation.authenticated(message.say, done=message.done))


def failed(relay: Relay, message: messages.LoginFailed) -> None:
    """There is no answer that could be given; the flow ends."""
    _end(relay, message.reason, NOT_LOGGED_IN)


def refused(relay: Relay, effect: CredentialRefused) -> None:
    """The server did not take the login: on record with its words, and the secret is read again."""
    relay.loop.gate.note(relay.flow, entry.Fault(where="credential", error=f"{effect.reason}: {effect.words}"))
    if not effect.again:
        return
    relay.refusal = effect
    _let_server_go(relay)
    relay.loop.say(messages.CredentialRefused(relay.flow.id, effect.code.decode()))


def read_again(relay: Relay, message: messages.CredentialRead) -> None:
    """The secret was read again: log in once more if it is another one."""
    effect, relay.refusal = relay.refusal, None
    if effect is None or relay.closing:
        return
    if message.changed:
        relay.dial()
    else:
        _end(relay, effect.reason, effect.code)


def _let_server_go(relay: Relay) -> None:
    """Close the connection to the server and hear no more of it; the flow goes on without one, and may dial again."""
    server, relay.server = relay.server, None
    relay.dialling = False
    if server is not None:
        server.set_protocol(asyncio.Protocol())
        server.abort()


def _end(relay: Relay, reason: str, code: bytes) -> None:
    if not relay.closing:
        relay.loop.fault(relay.flow, Close(reason, "server"))
        relay.terminate(reason, code)
