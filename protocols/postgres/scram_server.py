"""The server's side of one SCRAM-SHA-256 exchange.

`first`, then `final`, each once; a client for which `final` returned has proved that it knows the password. The rules on channel
binding are those of RFC 5802 §6, in the words of PostgreSQL's server (``auth-scram.c``).
"""

from __future__ import annotations

import hmac

from . import scram
from .scram import ScramFault, Verifier

_NEGOTIATION = b"28000"
_UNSUPPORTED = b"0A000"


class ScramServer:
    """One exchange. `binding` is the ``tls-server-end-point`` of our own certificate, None where there is none to bind to."""

    def __init__(self, verifier: Verifier, nonce: bytes, binding: bytes | None) -> None:
        """`nonce`: random bytes that were never used before."""
        self._verifier = verifier
        self._own_nonce = scram.encode(nonce)
        self._binding = binding
        self._header = b""
        self._client_first_bare = b""
        self._server_first = b""
        self._nonce = b""

    @property
    def mechanisms(self) -> tuple[bytes, ...]:
        """What to offer, the better one first."""
        return (scram.PLUS, scram.PLAIN) if self._binding is not None else (scram.PLAIN,)

    def first(self, mechanism: bytes, client_first: bytes) -> bytes:
        """server-first-message, upon the client's first. Raises ScramFault."""
        assert not self._server_first
        if mechanism not in self.mechanisms:
            raise ScramFault("client selected an invalid SASL authentication mechanism")
        flag, _, rest = client_first.partition(b",")
        identity, comma, bare = rest.partition(b",")
        if not comma:
            raise ScramFault("malformed SCRAM message: no header")
        self._check_flag(mechanism, flag)
        if identity:
            raise ScramFault("client uses authorization identity, but it is not supported", _UNSUPPORTED)
        if bare.startswith(b"m="):
            raise ScramFault("client requires an unsupported SCRAM extension", _UNSUPPORTED)
        client_nonce = scram.printable(scram.attributes(bare, b"nr")[1], "the nonce")
        self._header = flag + b",,"
        self._client_first_bare = bare
        self._nonce = client_nonce + self._own_nonce
        salt, count = scram.encode(self._verifier.salt), self._verifier.iterations
        self._server_first = b"r=%b,s=%b,i=%d" % (self._nonce, salt, count)
        return self._server_first

    def final(self, client_final: bytes) -> bytes:
        """server-final-message, upon a proof that holds. Raises ScramFault, with code 28P01 for a wrong password."""
        assert self._server_first
        without_proof, mark, proof = client_final.rpartition(b",p=")
        if not mark:
            raise ScramFault('malformed SCRAM message: attribute "p" expected')
        bound, nonce, *_ = scram.attributes(without_proof, b"cr")
        header = self._header + (self._binding or b"" if self._header.startswith(b"p") else b"")
        if not hmac.compare_digest(scram.decode(bound, "the channel binding"), header):
            raise ScramFault("SCRAM channel binding check failed", _NEGOTIATION)
        if nonce != self._nonce:
            raise ScramFault("invalid SCRAM response: the nonce does not match")
        messages = self._client_first_bare, self._server_first, without_proof
        self._check_proof(scram.decode(proof, "the proof"), messages)
        return b"v=" + scram.encode(scram.signature(self._verifier.server_key, messages))

    def _check_flag(self, mechanism: bytes, flag: bytes) -> None:
        """Is the client's word on channel binding one that this mechanism may come with?"""
        if flag[:2] == b"p=":
            if mechanism != scram.PLUS:
                raise ScramFault("client selected SCRAM-SHA-256 without channel binding, but binds the channel", _NEGOTIATION)
            if flag[2:] != scram.BINDING_TYPE:
                raise ScramFault(f'unsupported SCRAM channel binding type "{scram.shown(flag[2:])}"', _NEGOTIATION)
        elif flag not in (b"n", b"y"):
            raise ScramFault("malformed SCRAM message: unexpected channel binding flag")
        elif mechanism == scram.PLUS:
            raise ScramFault("client selected SCRAM-SHA-256-PLUS, but does not bind the channel", _NEGOTIATION)
        elif flag == b"y" and self._binding is not None:
            # It could have bound the channel and was told that we don't: somebody between us took the offer out.
            raise ScramFault("SCRAM channel binding negotiation error: this server does support it", _NEGOTIATION)

    def _check_proof(self, proof: bytes, messages: tuple[bytes, bytes, bytes]) -> None:
        if len(proof) != scram.KEY_BYTES:
            raise ScramFault("malformed SCRAM message: the proof is not 32 bytes")
        key = scram.xor(proof, scram.signature(self._verifier.stored_key, messages))
        if not hmac.compare_digest(scram.stored_key(key), self._verifier.stored_key):
            raise ScramFault("password authentication failed", b"28P01")
