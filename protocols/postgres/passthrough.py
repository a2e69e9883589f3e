"""A client's own SCRAM login through two TLS sessions: which of its messages can pass.

Channel binding exists to find out what hostguard is: somebody between client and server, at whom both of their TLS sessions end.
What binds is therefore not passed on, and the client is told why in a sentence, not by the server's riddle. A login without
binding passes, unless the client saw no TLS but the server does: then the server's offer to bind would be an error to the client
("server offered SCRAM-SHA-256-PLUS authentication over a non-SSL connection", ``fe-auth.c``), so it is taken out. With TLS on the
client's side alone nothing is in the way: the server offers no binding, so the client's ``y`` is true.
"""

from __future__ import annotations

from typing import Final

from . import messages, scram
from .link import Link, PeerFault

_SASL: Final = (10).to_bytes(4, "big")
_REASON: Final = (
    "this login is bound to its TLS session (SCRAM-SHA-256-PLUS), which ends at hostguard, so it can't pass to the server: "
    "connect with channel_binding=disable, or have hostguard log in (credential, in its configuration of this resource)"
)


def offer(link: Link, request: bytes) -> bytes | None:
    """The Authentication message that takes the place of the one with this body; None: it passes as it is."""
    link.sasl_due = request[:4] == _SASL
    if not link.sasl_due or not link.server_encrypted or link.client_encrypted:
        return None
    names = request[4:].split(b"\0")
    return messages.frame(b"R", _SASL + b"\0".join(name for name in names if name != scram.PLUS))


def check(link: Link, body: bytes) -> None:
    """A PasswordMessage of the client. Raises PeerFault if it is the beginning of a login that can't pass."""
    begins, link.sasl_due = link.sasl_due, False
    if begins and link.client_encrypted and body.partition(b"\0")[0] == scram.PLUS:
        raise PeerFault("client", _REASON, b"28000")
