"""The agent's side of presenting a token."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from ..failures import Failure

LIMIT_S = 60.0
MAX_ANSWER_BYTES = 65_536


def present(place: Path, issuer: str, token: bytes) -> str:
    """Present this process's token to the daemon. Why it was refused, or nothing. Raises Failure when nobody answers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(LIMIT_S)
        answer = b""
        try:
            sock.connect(str(place))
            sock.sendall(issuer.encode() + b"\n" + token)
            sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            # It may have been refused before it was read.
            if not isinstance(error, BrokenPipeError):
                raise Failure(f"nobody takes tokens on {place}: {error.strerror or error}") from None
        try:
            # To the end of the line: behind it may be a reset, if not all that was sent was read.
            while b"\n" not in answer and len(answer) < MAX_ANSWER_BYTES and (piece := sock.recv(4096)):
                answer += piece
            return str(json.loads(answer)["error"])
        except (OSError, ValueError, KeyError, TypeError):
            raise Failure(f"the daemon at {place} did not answer") from None
