"""The client's side of one SCRAM-SHA-256 exchange.

`first`, `final`, `verify`, in this order, each once. Only when `verify` has returned has the server shown that it knows the
password too.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable

from . import scram
from .scram import ScramFault

Derive = Callable[[bytes, int], bytes]
"""SaltedPassword of (salt, iterations): `scram.derive` with the password, or a cache of it."""
MIN_NONCE_BYTES = 18
"""PostgreSQL's SCRAM_RAW_NONCE_LEN."""


class ScramClient:
    """One exchange. `binding` is the server's ``tls-server-end-point``, None where there is none."""

    def __init__(self, derive: Derive, nonce: bytes, binding: bytes | None, *, plus: bool, iterations: range) -> None:
        """`plus`: the server offers channel binding. `nonce`: random bytes that were never used before."""
        assert len(nonce) >= MIN_NONCE_BYTES
        self._derive = derive
        self._iterations = iterations
        self._nonce = scram.encode(nonce)
        self.bound = plus and binding is not None
        """The exchange proves that no other TLS session ends between the two sides."""
        if self.bound:
            assert binding is not None
            self._flag, self._bound_to = b"p=" + scram.BINDING_TYPE, binding
        else:
            # y: we would have bound, but the server does not offer it. One that did will find the downgrade (RFC 5802 §6).
            self._flag, self._bound_to = (b"y" if binding is not None else b"n"), b""
        self._first_bare = b"n=,r=" + self._nonce
        self._server_signature = b""

    @property
    def mechanism(self) -> bytes:
        """The mechanism's name."""
        return scram.PLUS if self.bound else scram.PLAIN

    def first(self) -> bytes:
        """client-first-message."""
        return self._flag + b",," + self._first_bare

    def final(self, server_first: bytes) -> bytes:
        """client-final-message, upon the server's first. Raises ScramFault."""
        nonce, salt, iterations = self._read(server_first)
        without_proof = b"c=" + scram.encode(self._flag + b",," + self._bound_to) + b",r=" + nonce
        messages = self._first_bare, server_first, without_proof
        salted = self._derive(salt, iterations)
        client_key = scram.client_key(salted)
        proof = scram.xor(client_key, scram.signature(scram.stored_key(client_key), messages))
        self._server_signature = scram.signature(scram.server_key(salted), messages)
        return without_proof + b",p=" + scram.encode(proof)

    def verify(self, server_final: bytes) -> None:
        """Check the server's proof. Raises ScramFault."""
        assert self._server_signature
        if server_final.startswith(b"e="):
            raise ScramFault(f"the server ended the SCRAM exchange: {scram.shown(server_final[2:])}", b"28P01")
        (proof,) = _exactly(server_final, b"v")
        if not hmac.compare_digest(proof, scram.encode(self._server_signature)):
            raise ScramFault("the server does not know the password: its SCRAM signature is wrong", b"28P01")

    def _read(self, server_first: bytes) -> tuple[bytes, bytes, int]:
        """Nonce, salt, iteration count of server-first-message."""
        nonce, salt, count = _exactly(server_first, b"rsi")
        scram.printable(nonce, "the nonce")
        if not nonce.startswith(self._nonce) or nonce == self._nonce:
            raise ScramFault("the server's SCRAM nonce does not continue the one that was sent")
        salted_with = scram.decode(salt, "the salt")
        if not salted_with:
            raise ScramFault("malformed SCRAM message: the salt is empty")
        iterations = scram.count(count)
        if iterations not in self._iterations:
            bounds = f"{self._iterations.start} to {self._iterations.stop - 1}"
            raise ScramFault(f"the server wants {iterations} iterations of SCRAM; {bounds} are allowed", b"28000")
        return nonce, salted_with, iterations


def _exactly(message: bytes, wanted: bytes) -> list[bytes]:
    """`scram.attributes` with none behind them: PostgreSQL sends none, nothing could say what they mean."""
    values = scram.attributes(message, wanted)
    if len(values) != len(wanted):
        raise ScramFault("malformed SCRAM message: bytes behind its last attribute")
    return values
