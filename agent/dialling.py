"""The one place where a server is dialled."""

from __future__ import annotations

import asyncio
import socket

from ..kernel.errors import KernelError
from ..kernel.layouts import UNIX_SCHEME, unix_address
from ..kernel.reach import Elsewhere, dial_as
from ..kernel.stand_ins import peer_of
from .flows import OpenFlow

DIAL_TIMEOUT_S = 10.0


async def dial(flow: OpenFlow) -> socket.socket:
    """A connection to where the flow's agent wanted to go, and nowhere else. Raises OSError with a sentence for the agent."""
    origin = flow.origin
    if flow.barred:
        raise OSError(_sentence(flow, flow.barred))
    if origin.unix:
        return await _dial_unix(flow)
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


async def _dial_unix(flow: OpenFlow) -> socket.socket:
    """As the agent's own user, to the very socket that its path leads to: the server sees who it is, modes of files count."""
    origin = flow.origin
    address = unix_address(origin.host.removeprefix(UNIX_SCHEME))
    work = asyncio.to_thread(dial_as, origin.pid, origin.start_ticks, origin.uid, origin.gid, address)
    try:
        sock = await work
    except (Elsewhere, KernelError) as error:
        raise OSError(_sentence(flow, str(error))) from None
    except OSError as error:
        raise OSError(_sentence(flow, error.strerror or str(error))) from None
    uid, _ = peer_of(sock)
    if flow.shown is not None and uid != flow.shown[0]:
        sock.close()
        raise OSError(_sentence(flow, f"its server runs as uid {uid}, and you were shown {flow.shown[0]}; try again"))
    return sock


def _sentence(flow: OpenFlow, why: str) -> str:
    return f"hostguard could not connect to {flow.destination} for you: {why}"
