"""Reads the token that an agent presents over its connection, which is hostile bytes.

What is said there: the issuer's name, a line feed, the token, then the end of what the agent sends (shutdown(2)). The name may be
left out where the agent needs but one issuer. The answer is one line of JSON: ``{"error": "…"}``, with an empty text for yes.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Sequence

from ...identity.verified import MAX_TOKEN_BYTES

LIMIT_S = 10.0
MAX_NAME_BYTES = 64
_MOST = MAX_NAME_BYTES + 1 + MAX_TOKEN_BYTES + 2


class Nothing(Exception):
    """What came is no token; a sentence for the agent."""


async def read(sock: socket.socket, issuers: Sequence[str]) -> tuple[str, bytes]:
    """The issuer's name, the token. Raises Nothing, OSError."""
    loop = asyncio.get_running_loop()
    data = bytearray()
    try:
        async with asyncio.timeout(LIMIT_S):
            while len(data) <= _MOST and (piece := await loop.sock_recv(sock, 16_384)):
                data += piece
    except TimeoutError:
        raise Nothing(f"the token did not come within {LIMIT_S:.0f} s; half-close the connection behind it") from None
    return parse(bytes(data), issuers)


def parse(data: bytes, issuers: Sequence[str]) -> tuple[str, bytes]:
    """What an agent has said as a whole. Raises Nothing."""
    name, line, token = data.partition(b"\n")
    if not line:
        raise Nothing("expected the issuer's name, a line feed, the token")
    if len(token) > MAX_TOKEN_BYTES:
        raise Nothing(f"the token is longer than {MAX_TOKEN_BYTES} bytes")
    if not name.strip() and len(issuers) == 1:
        return issuers[0], token
    known = {issuer.encode(): issuer for issuer in issuers}
    if name.strip() not in known:
        raise Nothing(f"this agent is vouched for by {' and '.join(issuers)}, and by nobody else")
    return known[name.strip()], token


async def answer(sock: socket.socket, error: str) -> None:
    """Say what came of it, and close."""
    try:
        async with asyncio.timeout(LIMIT_S):
            await asyncio.get_running_loop().sock_sendall(sock, json.dumps({"error": error}).encode() + b"\n")
    except (OSError, TimeoutError):
        pass  # the agent is gone, or does not listen: nobody to tell
    finally:
        sock.close()
