"""The one place where a server is dialled."""

from __future__ import annotations

import asyncio
import socket

from .flows import OpenFlow

DIAL_TIMEOUT_S = 10.0


async def dial(flow: OpenFlow) -> socket.socket:
    """A connection to where the flow's agent wanted to go, and nowhere else. Raises OSError with a sentence for the agent."""
    origin = flow.origin
    if flow.barred and not flow.observed:
        raise OSError(_sentence(flow, flow.barred))
    sock = socket.socket(socket.AF_INET6 if ":" in origin.host else socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with asyncio.timeout(DIAL_TIMEOUT_S):
            await asyncio.get_running_loop().sock_connect(sock, (origin.host, origin.port))
    except TimeoutError:
        sock.close()
        raise OSError(_sentence(flow, f"no answer within {DIAL_TIMEOUT_S:.0f} s")) from None
    except OSError as error:
        sock.close()
        raise OSError(_sentence(flow, error.strerror or str(error))) from None
    except BaseException:
        sock.close()
        raise
    return sock


def _sentence(flow: OpenFlow, why: str) -> str:
    return f"hostguard could not connect to {flow.destination} for you: {why}"
