"""An accepted connection to the process that opened it."""

from __future__ import annotations

import errno
import socket

from .layouts import STAND_IN_PREFIX, Origin, OriginKey, mapped_address, unix_text
from .loader import Redirect, netns_cookie

__all__ = ["Origin", "origin_of", "unix_origin_of"]

_COOKIE_BYTES = 8


def origin_of(sock: socket.socket, redirect: Redirect, peer: tuple[str, int] | None = None) -> Origin | None:
    """Who opened an accepted connection, and where it was going. None: nobody that we redirected; close it without a word.

    `peer`: the (host, port) that `accept` returned, if at hand: it is still known when the client has reset the connection. Call
    it once for each connection, at once after `accept`: the record is gone afterwards. Raises KernelError; OSError when `sock` is
    no socket.
    """
    if peer is None:
        try:
            peer = sock.getpeername()[:2]
        except OSError as error:
            if error.errno == errno.ENOTCONN:
                return None
            raise
    origin = redirect.take_origin(OriginKey(netns_cookie(sock), mapped_address(peer[0]), peer[1]))
    # A record that an earlier listener left behind names a source, but not this connection.
    if origin is None or origin.listener_port != sock.getsockname()[1]:
        return None
    return origin


def unix_origin_of(sock: socket.socket, redirect: Redirect, name: bytes, stands_for: bytes) -> Origin | None:
    """The same for a connection that a stand-in accepted: `name` is the stand-in's, `stands_for` the address that was meant.

    The kernel answers for the name of the accepted socket with the cookie of its peer. None also where that hook is missing.
    """
    answer = sock.getsockname()
    if not isinstance(answer, bytes) or len(answer) != 1 + _COOKIE_BYTES:
        return None
    origin = redirect.take_origin(OriginKey(netns_cookie(sock), answer[1:].ljust(16, b"\0"), 0))
    if origin is None or origin.host != unix_text(name.removeprefix(STAND_IN_PREFIX)):
        return None
    return origin._replace(host=unix_text(stands_for))
