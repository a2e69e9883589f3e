"""The two logins of a flow whose resource has a credential: the client's to hostguard, hostguard's to the server.

The first is over before `Started` is told, so who can't say the word never causes a connection to the server.
"""

from __future__ import annotations

import hashlib

from ..events import CredentialRefused, Session, Started
from . import messages, startup
from .backend import Backend
from .frontend import Frontend
from .link import RECEIVING, SETTLING, STARTED, Link, PeerFault
from .reception import Reception
from .scram import ScramFault
from .standin import Credential, Refused, StandIn

_LOGGED_IN = messages.frame(b"R", bytes(4))


class Logins:
    """Of one flow; without a credential it does nothing, and the client's login passes through."""

    def __init__(self, link: Link, credential: Credential | None, token: bytes) -> None:
        self._link = link
        self._credential = credential
        self._nonce = hashlib.blake2b(token, digest_size=18, person=b"nonce").digest()
        self.binding: bytes | None = None
        """``tls-server-end-point`` of the certificate that the client was shown."""
        self._reception: Reception | None = None
        self._started: Started | None = None
        if credential is not None:
            link.standin = StandIn(credential)

    @property
    def under_way(self) -> bool:
        """hostguard is not logged in yet: there is no session that the client could have, read or not."""
        return self._credential is not None and self._link.phase < SETTLING

    def begin(self, packet: bytes, started: Started) -> bytes:
        """The client's StartupMessage is here. Returns the one for the server."""
        credential = self._credential
        if credential is not None:
            # The name of the database, if the client gave none, is that of the user that it gave.
            session = Session(database=started.session.database, user=credential.user)
            packet = startup.under(packet, session.user, session.database)
            started = Started(session, started.parameters)
        self._started = started
        if credential is None or credential.verifier is None:
            self._tell()
        else:
            self._reception = Reception(credential.verifier, self._nonce, self.binding)
            self._link.phase = RECEIVING
            self._link.out.to_client(self._reception.invite())
        return packet

    def receive(self, frontend: Frontend) -> None:
        """Hear the client's answers, as far as they are here. Raises PeerFault."""
        reception = self._reception
        assert reception is not None
        while not reception.done:
            answer = frontend.answer()
            if answer is None:
                return
            try:
                said = reception.hear(answer)
            except ScramFault as fault:
                raise PeerFault("client", f"login to hostguard: {fault}", fault.code) from None
            self._link.out.to_client(said)
        self._reception = None
        self._tell()

    def _tell(self) -> None:
        assert self._started is not None
        self._link.session = self._started.session
        self._link.phase = STARTED
        self._link.out.add(self._started)
        self._started = None

    def authenticated(self, backend: Backend, say: bytes, *, done: bool) -> None:
        """Say what answers the server's request: whole messages, or nothing."""
        link = self._link
        assert link.standin is not None
        assert link.asking
        # In one piece: the walk remembers where in it what passes begins.
        backend.buffer.want(len(backend.buffer))
        if say:
            link.out.to_server(say)
        if link.standin.answered(link, done=done):
            link.phase = SETTLING
            link.out.to_client(_LOGGED_IN)

    def refused(self, backend: Backend, refused: Refused) -> None:
        """Have the secret read again, once: it may just have been changed. Raises PeerFault when that is no use."""
        link = self._link
        assert link.standin is not None
        code = refused.code.encode()
        again = link.standin.asked and not link.standin.refused
        link.out.add(CredentialRefused(str(refused), code, refused.words, again))
        if not again:
            raise PeerFault("server", str(refused), code)
        link.standin.again()
        backend.buffer.clear()
        link.phase = STARTED
