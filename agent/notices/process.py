"""The messenger's process: started by the supervisor, it POSTs what it is given, able to do little else.

``python -I -m hostguard.agent.notices.process CHANNEL``. What answers is somebody else's, so it is read here, in a cage: another
user, no capabilities, no new programs, no files but those that a library reads to look up a name or to verify a server. No
secret comes here but the addresses themselves; what is signed was signed before. It ends when its supervisor does.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys

import aiohttp
import dns.asyncresolver
import dns.exception
from aiohttp.abc import AbstractResolver, ResolveResult

from ..caged import Caged, enclose, ignore_signals
from ..names.hosts import own_addresses
from ..sandbox import cage
from ..wording import cut
from . import messages

CONNECTIONS = 16
"""POSTs under way at one time; others wait."""
LOOK_UP_S = 5.0
MAX_ANSWER_BYTES = 64 * 1024


def main() -> None:
    """Run until the supervisor is gone."""
    ignore_signals()
    channel = socket.socket(fileno=int(sys.argv[1]))
    # What is read from files that people change is read before there are none.
    trust, names = ssl.create_default_context(), dns.asyncresolver.Resolver()
    enclose("the messenger", channel, lambda applied: Messenger(channel, trust, names, applied))


class Messenger(Caged):
    """POSTs what it is given."""

    TAKES_SOCKETS = False
    MAX_MESSAGE_BYTES = MAX_QUEUED_BYTES = 4 << 20

    def __init__(
        self, sock: socket.socket, trust: ssl.SSLContext, names: dns.asyncresolver.Resolver, applied: cage.Applied
    ) -> None:
        super().__init__(sock, applied)
        connector = aiohttp.TCPConnector(ssl=trust, resolver=Names(names), limit=CONNECTIONS, force_close=True)
        self._session = aiohttp.ClientSession(connector=connector)

    def _take(self, data: bytes, sock: socket.socket | None) -> None:
        match message := messages.to_messenger(data):
            case messages.Begin():
                self._say(messages.Ready(self.applied))
            case messages.Ping(number):
                self._say(messages.Pong(number))
            case messages.Post():
                self._work(self._post(message))

    async def _post(self, post: messages.Post) -> None:
        status, failure = await posted(self._session, post)
        self._say(messages.Posted(post.number, status, cut(failure)))

    def _say(self, message: messages.FromMessenger) -> None:
        self._channel.send(messages.encode(message))


async def posted(session: aiohttp.ClientSession, post: messages.Post) -> tuple[int, str]:
    """POST it; the answer's status, or 0 with the reason why there is none. A redirect is an answer as any other."""
    timeout = aiohttp.ClientTimeout(total=post.timeout_s)
    try:
        async with session.post(
            post.url, data=post.body, headers=dict(post.headers), timeout=timeout, allow_redirects=False
        ) as response:
            await response.content.read(MAX_ANSWER_BYTES)
            return min(response.status, 999), response.reason or ""
    except TimeoutError:
        return 0, f"it took longer than {post.timeout_s:g} s"
    except (OSError, ValueError, aiohttp.ClientError) as error:
        return 0, str(error) or type(error).__name__


class Names(AbstractResolver):
    """Looks names up without threads, which there are none of in the cage: in the host's own file, then by the name servers."""

    def __init__(self, resolver: dns.asyncresolver.Resolver) -> None:
        self._resolver = resolver

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        """As aiohttp asks. Raises OSError."""
        found = list(own_addresses(host)) or await self._asked(host)
        if not found:
            raise OSError(None, f"no name server knows {host}")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in found
        ]

    async def _asked(self, host: str) -> list[str]:
        found: list[str] = []
        for kind in ("A", "AAAA"):
            with contextlib.suppress(dns.exception.DNSException):
                found += [record.to_text() for record in await self._resolver.resolve(host, kind, lifetime=LOOK_UP_S)]
        return found

    async def close(self) -> None:
        """Nothing is kept open."""


if __name__ == "__main__":
    main()
