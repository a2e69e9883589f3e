"""hostguard as the server of one client's login: SASL in PostgreSQL's messages.

The client is asked for the resource's ``client_password``, which is no secret: who it is, the kernel has said. It is asked
because drivers have demands of their own on a server (``require_auth``, ``channel_binding``), which this meets.
"""

from __future__ import annotations

import struct
from typing import Final

from . import messages
from .scram import ScramFault, Verifier
from .scram_server import ScramServer

_SASL, _SASL_CONTINUE, _SASL_FINAL = 10, 11, 12
_NONE_YET: Final = b"\xff\xff\xff\xff"


class Reception:
    """One login. First `invite`, then each PasswordMessage of the client through `hear` until `done`."""

    def __init__(self, verifier: Verifier, nonce: bytes, binding: bytes | None) -> None:
        """As of `ScramServer`."""
        self._scram = ScramServer(verifier, nonce, binding)
        self._heard_first = False
        self.done = False

    def invite(self) -> bytes:
        """AuthenticationSASL."""
        return _request(_SASL, b"".join(name + b"\0" for name in self._scram.mechanisms) + b"\0")

    def hear(self, body: bytes) -> bytes:
        """What answers the body of a PasswordMessage. Raises ScramFault."""
        assert not self.done
        if self._heard_first:
            self.done = True
            return _request(_SASL_FINAL, self._scram.final(body))
        self._heard_first = True
        mechanism, first = initial_response(body)
        return _request(_SASL_CONTINUE, self._scram.first(mechanism, first))


def initial_response(body: bytes) -> tuple[bytes, bytes]:
    """Mechanism and data of a SASLInitialResponse (PostgreSQL 18 docs §54.7). Raises ScramFault."""
    mechanism, end, rest = body.partition(b"\0")
    if not end or len(rest) < 4:
        raise ScramFault("the SASL response is too short")
    # PostgreSQL lets a client choose a mechanism and say nothing yet; with SCRAM the client speaks first.
    if rest[:4] == _NONE_YET or struct.unpack_from(">I", rest)[0] != len(rest) - 4:
        raise ScramFault("the length in the SASL response is not that of its data")
    return mechanism, rest[4:]


def _request(code: int, data: bytes) -> bytes:
    return messages.frame(b"R", struct.pack(">I", code) + data)
