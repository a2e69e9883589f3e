"""A login that hostguard makes in the client's place, as far as the conversation follows it.

What the server asks goes out as `Authenticate`; the bytes that answer it come from where the secret is (`login.Login`, in another
process). Here is only how far that has come: the server's bytes wait while an answer is outstanding, and AuthenticationOk counts
only once the answer said that the login is complete.
"""

from __future__ import annotations

from typing import Final

import msgspec

from ..events import Authenticate
from .link import Link, PeerFault
from .messages import Malformed
from .scram import Verifier

_AUTHENTICATED = 0
_WORDS = 1000
"""Characters of the server's own that are kept."""
# Invalid authorization specification: 28000, 28P01.
_REFUSALS: Final = frozenset(("28000", "28P01"))


class Credential(msgspec.Struct, frozen=True):
    """Whose login takes the place of the client's."""

    name: str
    """What configuration calls it, for texts."""
    user: str
    """The server's user."""
    verifier: Verifier | None = None
    """Of the word that the client is asked for; None: it is asked for none."""
    carried: bool = False
    """The secret goes into TLS or right behind it, out of our sight: a server that asked for nothing may have seen it."""


class Refused(Exception):
    """The server did not take the credential. ``code`` is its SQLSTATE, ``words`` are its own."""

    def __init__(self, credential: str, code: str, words: str) -> None:
        super().__init__(f'the server refused the credential "{credential}", with which hostguard logs in for you ({code})')
        self.code = code
        self.words = words


class StandIn:
    """One flow's logins: a second one follows only upon a refusal."""

    def __init__(self, credential: Credential) -> None:
        self.credential = credential
        self.asked = credential.carried
        """The server has asked for a login, or may have. One that refuses without (``reject`` in its pg_hba.conf) has not seen a
        secret."""
        self.refused = False
        """The server has refused once."""
        self._request = -1
        """Code of the request that is being answered."""
        self._done = False

    def accepts(self, request: bytes) -> bool:
        """Whether this body of an Authentication message is the end of a login that is complete."""
        return self._done and request == bytes(4)

    def ask(self, link: Link, request: bytes) -> None:
        """Have the body of an Authentication message answered. Raises PeerFault, Malformed."""
        if len(request) < 4:
            raise Malformed("an authentication request without its code")
        if self._done:
            raise PeerFault("server", "the server asks for another login after the one that is complete")
        self.asked = True
        self._request = int.from_bytes(request[:4], "big")
        link.asking = True
        link.out.add(Authenticate(request))

    def answered(self, link: Link, *, done: bool) -> bool:
        """The answer is here; returns whether it was AuthenticationOk that was asked about, and holds."""
        link.asking = False
        self._done = done
        return done and self._request == _AUTHENTICATED

    def check(self, code: str, words: str) -> None:
        """An error of the server during the login. Raises Refused if it is about the credential."""
        if code in _REFUSALS:
            raise Refused(self.credential.name, code, words[:_WORDS])

    def again(self) -> None:
        """Begin from the start, over another connection."""
        self.refused = True
        self._done = False
