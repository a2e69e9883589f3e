"""The one place where a server is dialled."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from ..kernel.errors import KernelError
from .flows import OpenFlow

DIAL_TIMEOUT_S = 10.0


class Dialler:
    """Dials from the network namespace that a flow came from."""

    def __init__(self, stream_socket: Callable[[int, socket.AddressFamily], socket.socket | None]) -> None:
        """stream_socket: a socket in the namespace with this cookie; None for the daemon's own (`Namespaces.stream_socket`)."""
        self._stream_socket = stream_socket

    async def dial(self, flow: OpenFlow) -> socket.socket:
        """A connection to where the flow's agent wanted to go, and nowhere else. Raises OSError with a sentence for the agent."""
        origin = flow.origin
        if flow.barred and not flow.observed:
            raise OSError(_sentence(flow, flow.barred))
        try:
            sock = self._socket(flow)
        except (KernelError, OSError) as error:
            raise OSError(_sentence(flow, getattr(error, "strerror", None) or str(error))) from None
        try:
            sock.setblocking(False)
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

    def _socket(self, flow: OpenFlow) -> socket.socket:
        family = socket.AF_INET6 if ":" in flow.origin.host else socket.AF_INET
        return self._stream_socket(flow.origin.netns_cookie, family) or socket.socket(family, socket.SOCK_STREAM)


def _sentence(flow: OpenFlow, why: str) -> str:
    return f"hostguard could not connect to {flow.destination} for you: {why}"
