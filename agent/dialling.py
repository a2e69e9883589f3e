"""The one place where a server is dialled."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from ..kernel.errors import KernelError
from ..kernel.layouts import UNIX_SCHEME, unix_address
from ..kernel.reach import Elsewhere, dial_as
from ..kernel.stand_ins import peer_of
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
        if origin.unix:
            await _dial_unix(flow, sock)
            return sock
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
        origin = flow.origin
        family = socket.AF_UNIX if origin.unix else socket.AF_INET6 if origin.ipv6 else socket.AF_INET
        return self._stream_socket(origin.netns_cookie, family) or socket.socket(family, socket.SOCK_STREAM)


async def _dial_unix(flow: OpenFlow, sock: socket.socket) -> None:
    """As the agent's own user, to the very socket that its path leads to: the server sees who it is, modes of files count.

    Who is only observed gets where the path leads for him, be it another socket than on this host.
    """
    origin = flow.origin
    sock.setblocking(False)
    address = unix_address(origin.host.removeprefix(UNIX_SCHEME))
    who = origin.pid, origin.start_ticks, origin.uid, origin.gid
    try:
        await asyncio.to_thread(dial_as, sock, *who, address, wherever=flow.observed)
    except (Elsewhere, KernelError) as error:
        raise OSError(_sentence(flow, str(error))) from None
    except OSError as error:
        raise OSError(_sentence(flow, error.strerror or str(error))) from None
    uid, _ = peer_of(sock)
    if flow.shown is not None and uid != flow.shown[0] and not flow.observed:
        sock.close()
        raise OSError(_sentence(flow, f"its server runs as uid {uid}, and you were shown {flow.shown[0]}; try again"))


def _sentence(flow: OpenFlow, why: str) -> str:
    return f"hostguard could not connect to {flow.destination} for you: {why}"
