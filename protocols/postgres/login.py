"""hostguard as the client of one login to a PostgreSQL server.

Each Authentication message of the server (PostgreSQL 18 docs §54.7) goes through `Login.answer`, up to AuthenticationOk. It runs
where the credential's secret is; who passes the bytes need not have it. What may be said is a table of states and requests:
AuthenticationOk in the midst of SCRAM, a second request, a method that was not allowed are each refused, so a server is never
taken for logged in to before it has shown what the method has it show.
"""

from __future__ import annotations

import enum
import hashlib
import struct
from collections.abc import Callable
from typing import Final

import msgspec

from . import messages, scram
from .scram import ITERATIONS, ScramFault
from .scram_client import Derive, ScramClient

METHODS: Final = frozenset(("scram-sha-256", "md5", "password", "none"))
"""Ways to log in, in the words of libpq's ``require_auth``."""
DEFAULT_METHODS: Final = METHODS - {"password"}
"""A password as it is must only go through a TLS session whose server was verified; who has one says so."""
_OK, _CLEARTEXT, _MD5, _SASL, _SASL_CONTINUE, _SASL_FINAL = 0, 3, 5, 10, 11, 12
_NAMES: Final = {2: "Kerberos V5", 6: "SCM credentials", 7: "GSSAPI", 8: "GSSAPI", 9: "SSPI"}


class LoginRefused(Exception):
    """The login must end. The text holds nothing secret.

    ``fault``: ``server`` when it broke the protocol or asks for what it may not have, ``credential`` when ours does not do.
    """

    def __init__(self, fault: str, text: str) -> None:
        super().__init__(text)
        self.fault = fault


class Answer(msgspec.Struct, frozen=True):
    """What follows from a request of the server."""

    say: bytes
    """Whole messages to send to the server; may be empty."""
    done: bool
    """AuthenticationOk may come now, and need not be brought here."""


class Password:
    """The secret of a credential, as the computations see it."""

    __slots__ = ("_secret", "derive")

    def __init__(self, secret: bytes | None, derive: Derive | None = None) -> None:
        """`secret`: None where there is none. `derive`: a cache of `scram.derive` for this secret."""
        self._secret = secret
        self.derive: Derive = derive or self._derive

    def __repr__(self) -> str:
        return "Password()"

    def _derive(self, salt: bytes, iterations: int) -> bytes:
        return scram.derive(self.reveal(), salt, iterations)

    def reveal(self) -> bytes:
        """The secret itself. Raises LoginRefused where there is none that could be sent."""
        if not self._secret:
            raise LoginRefused("credential", "the server asks for a password, and the credential has none")
        if 0 in self._secret:
            raise LoginRefused("credential", "the credential's password holds a NUL byte, which PostgreSQL can't take")
        return self._secret


class _State(enum.Enum):
    FRESH = "fresh"
    SCRAM_FIRST = "scram-first"
    """client-first-message is out."""
    SCRAM_FINAL = "scram-final"
    """client-final-message is out."""
    ANSWERED = "answered"
    """All that the method asks for is said and shown."""


class Login:
    """One login of `user` over one connection."""

    def __init__(
        self,
        user: str,
        password: Password,
        nonce: bytes,
        *,
        binding: bytes | None = None,
        require_binding: bool = False,
        methods: frozenset[str] = DEFAULT_METHODS,
        iterations: range = ITERATIONS,
    ) -> None:
        """`nonce`: 18 or more random bytes of its own. `binding`: `binding.end_point` of the server's certificate, None without
        TLS. `require_binding`: end the login unless SCRAM bound the channel. `methods`: some of `METHODS`."""
        assert methods <= METHODS
        self._user = user
        self._password = password
        self._nonce = nonce
        self._binding = binding
        self._require_binding = require_binding
        self._methods = methods
        self._iterations = iterations
        self._state = _State.FRESH
        self._scram: ScramClient | None = None

    def answer(self, request: bytes) -> Answer:
        """What to do about the body of an Authentication message: code in four bytes, then what belongs to it.

        Takes as long as PBKDF2 does when it is SCRAM's second. Raises LoginRefused.
        """
        if len(request) < 4:
            raise LoginRefused("server", "the server's authentication request is too short")
        code = int.from_bytes(request[:4], "big")
        step = _STEPS.get((self._state, code))
        if step is None:
            raise LoginRefused("server", self._unexpected(code))
        try:
            return step(self, request[4:])
        except ScramFault as fault:
            raise LoginRefused("server", str(fault)) from None

    def _unexpected(self, code: int) -> str:
        if self._state is _State.FRESH:
            return f"the server asks for {_NAMES.get(code, f'authentication method {code}')}, which hostguard can't answer"
        if code == _OK:
            return "the server says that the login is done in the midst of SCRAM, without having shown that it knows the password"
        return f"the server sent authentication request {code} out of order"

    def _allow(self, method: str) -> None:
        if method not in self._methods:
            allowed = ", ".join(sorted(self._methods)) or "nothing"
            raise LoginRefused("server", f'the server asks for the login "{method}", allowed is {allowed}')
        if self._require_binding and not (self._scram is not None and self._scram.bound):
            raise LoginRefused("server", "channel binding is required, and the server does not offer it")

    # The steps of `_STEPS`: what each request is answered with.

    def _trusted(self, rest: bytes) -> Answer:
        _empty(rest)
        self._allow("none")
        self._state = _State.ANSWERED
        return Answer(b"", done=True)

    def _cleartext(self, rest: bytes) -> Answer:
        _empty(rest)
        self._allow("password")
        self._state = _State.ANSWERED
        return Answer(_password_message(self._password.reveal() + b"\0"), done=True)

    def _md5(self, salt: bytes) -> Answer:
        if len(salt) != 4:
            raise LoginRefused("server", "the server's MD5 salt is not four bytes")
        self._allow("md5")
        self._state = _State.ANSWERED
        inner = _md5_hex(self._password.reveal() + self._user.encode("utf-8"))
        return Answer(_password_message(b"md5" + _md5_hex(inner + salt) + b"\0"), done=True)

    def _sasl(self, rest: bytes) -> Answer:
        offered = _names(rest)
        if scram.PLAIN not in offered and not (scram.PLUS in offered and self._binding is not None):
            names = ", ".join(scram.shown(name) for name in offered)
            raise LoginRefused("server", f"the server offers the SASL mechanisms {names or 'none'}, of which hostguard has none")
        plus = scram.PLUS in offered
        self._scram = ScramClient(self._password.derive, self._nonce, self._binding, plus=plus, iterations=self._iterations)
        self._allow("scram-sha-256")
        self._password.reveal()
        self._state = _State.SCRAM_FIRST
        first = self._scram.first()
        body = self._scram.mechanism + b"\0" + struct.pack(">i", len(first)) + first
        return Answer(_password_message(body), done=False)

    def _sasl_continue(self, server_first: bytes) -> Answer:
        assert self._scram is not None
        final = self._scram.final(server_first)
        self._state = _State.SCRAM_FINAL
        return Answer(_password_message(final), done=False)

    def _sasl_final(self, server_final: bytes) -> Answer:
        assert self._scram is not None
        self._scram.verify(server_final)
        self._state = _State.ANSWERED
        return Answer(b"", done=True)

    def _ok(self, rest: bytes) -> Answer:
        _empty(rest)
        return Answer(b"", done=True)


_STEPS: Final[dict[tuple[_State, int], Callable[[Login, bytes], Answer]]] = {
    (_State.FRESH, _OK): Login._trusted,
    (_State.FRESH, _CLEARTEXT): Login._cleartext,
    (_State.FRESH, _MD5): Login._md5,
    (_State.FRESH, _SASL): Login._sasl,
    (_State.SCRAM_FIRST, _SASL_CONTINUE): Login._sasl_continue,
    (_State.SCRAM_FINAL, _SASL_FINAL): Login._sasl_final,
    (_State.ANSWERED, _OK): Login._ok,
}


def _empty(rest: bytes) -> None:
    if rest:
        raise LoginRefused("server", "the server's authentication request has bytes behind its end")


def _names(rest: bytes) -> list[bytes]:
    """Mechanisms of AuthenticationSASL: strings that end in NUL, then another NUL."""
    if rest[-2:] != b"\0\0":
        raise LoginRefused("server", "the server's list of SASL mechanisms has no end")
    names = rest[:-2].split(b"\0")
    if b"" in names:
        raise LoginRefused("server", "the server's list of SASL mechanisms has bytes behind its end")
    return names


def _password_message(body: bytes) -> bytes:
    return messages.frame(b"p", body)


def _md5_hex(data: bytes) -> bytes:
    # Its weakness is PostgreSQL's own affair; a host in FIPS mode has it for nothing that counts as security.
    return hashlib.md5(data, usedforsecurity=False).hexdigest().encode()
