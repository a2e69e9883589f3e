"""The supervisor's side of the verifier: its process, what it is asked."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Callable
from pathlib import Path

from ...policy.document import Document
from ..awaited import Awaited, Away
from ..failures import Failure
from ..faults import Faults
from ..kept import Kept
from ..sandbox.asking import asking
from ..sandbox.cage import Cage
from . import messages

FILES = 4096
VERIFY_S = 25.0
"""An issuer's documents are two, of ten seconds at most each."""
MAX_TAKEN = 256
"""Agents that present a token at one time."""

Take = Callable[[str, messages.Verdict], str]
"""Takes an issuer's name, with what is to be said of a presented token; returns what to tell the agent, nothing for yes."""


class VerifierAway(Exception):
    """There is no verifier at the moment; a sentence."""


class Keeper(Kept):
    """Keeps one verifier running."""

    NAME = "the verifier"
    MISSED = "no token was verified"
    MODULE = "hostguard.agent.verifier.process"
    HUNG_S = 20.0
    TAKES_SOCKETS = False
    MAX_MESSAGE_BYTES = messages.MAX_MESSAGE_BYTES

    def __init__(self, document: Document, user: tuple[int, int], faults: Faults) -> None:
        """`user`: the ids that the process takes. Raises Failure."""
        super().__init__(faults)
        self._begin = messages.Begin(_sites(document))
        self._user = user
        self.published: dict[str, messages.Published] = {}
        """By issuer, as it told last."""
        self.on_keys: Callable[[messages.Published, float], None] = lambda _told, _now: None
        self._numbers = itertools.count(1)
        self._awaited: Awaited[int] = Awaited()
        self._taken: dict[int, Take] = {}

    @property
    def needed(self) -> bool:
        """Whether there is anything to verify."""
        return bool(self._begin.sites)

    # -- its process ------------------------------------------------------------------------------------------------------------

    def _descriptors(self) -> list[int]:
        return []

    def _arguments(self) -> list[str]:
        return []

    def _greet(self) -> None:
        self._say(asking("hostguard-veri", self._user, FILES))
        self._say(self._begin)

    def _ping(self) -> None:
        self._say(messages.Ping(0))

    def _away(self) -> None:
        """Who waits for a verdict gets none; agents that wait hear nothing, and their connections have ended."""
        self._taken.clear()
        self._awaited.let_go()

    # -- what it is asked -------------------------------------------------------------------------------------------------------

    async def verify(self, issuer: str, token: bytes) -> messages.Verdict:
        """What is to be said of a token. Raises VerifierAway."""
        if not self.ready.is_set():
            raise VerifierAway("hostguard's verifier is not running")
        number = next(self._numbers)
        ask = messages.Verify(number, issuer, token)
        try:
            verdict: messages.Verdict = await self._awaited.answer(number, lambda: self._say(ask), VERIFY_S)
        except TimeoutError:
            raise VerifierAway("hostguard's verifier does not answer") from None
        except Away:
            raise VerifierAway("hostguard's verifier is being started again") from None
        return verdict

    def take(self, issuers: tuple[str, ...], sock: socket.socket, then: Take) -> str:
        """Have a token read from this connection, which is the verifier's from here on. Why it can't be; empty when it can."""
        if not self.ready.is_set() or self._channel is None:
            return "hostguard's verifier is not running"
        if len(self._taken) >= MAX_TAKEN:
            return "too many tokens are being presented"
        number = next(self._numbers)
        self._taken[number] = then
        self._channel.send(messages.encode(messages.Take(number, issuers)), sock)
        return ""

    def _say(self, message: messages.ToVerifier | Cage) -> None:
        if self._channel is not None:
            self._channel.send(messages.encode(message))

    # -- what it says -----------------------------------------------------------------------------------------------------------

    def _take(self, data: bytes, sock: socket.socket | None) -> None:
        match messages.from_verifier(data):
            case messages.Ready(applied):
                self.applied = applied
                self.ready.set()
            case messages.Answered(number, verdict):
                self._awaited.resolve(number, verdict)
            case messages.Presented(number, issuer, verdict):
                then = self._taken.pop(number, None)
                if then is not None:
                    self._say(messages.Settled(number, then(issuer, verdict)))
            case messages.Left(number):
                self._taken.pop(number, None)
            case messages.Keys(published) if published.issuer not in self._begin.sites:
                self._kill(f"it told of an issuer that it was not asked about: {published.issuer!r}")
            case messages.Keys(published):
                self.published[published.issuer] = published
                self.on_keys(published, time.time())
            case messages.Pong():
                pass


def needed_issuers(document: Document) -> list[str]:
    """Those who vouch for agents, by name."""
    return sorted({issuer for agent in document.agents.values() for issuer in agent.identity})


def _sites(document: Document) -> dict[str, messages.Site]:
    """The issuers that agents need. Raises Failure."""
    found = {}
    for name in needed_issuers(document):
        issuer = document.issuers[name]
        ca = _pem(document, name, "ca", issuer.ca)
        found[name] = messages.Site(issuer, ca, _pem(document, name, "certificates", issuer.certificates))
    return found


def _pem(document: Document, name: str, key: str, path: str) -> bytes:
    """The certificates in a file; nothing for none. Raises Failure."""
    try:
        pem = Path(path).read_bytes() if path else b""
        if pem:
            from cryptography import x509  # dear to import, and most configurations name no file

            x509.load_pem_x509_certificates(pem)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no certificates in PEM"
        raise Failure(f"{document.file}: issuers.{name}.{key}: {path}: {why}") from None
    return pem
