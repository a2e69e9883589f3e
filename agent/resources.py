"""Which resource an address belongs to."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Mapping

from ..policy.sections import Resource


class AddressTaken(Exception):
    """Two resources have the same address, or one's name can't be resolved; the message names them."""


class Resources:
    """(address, port) to resource name, fixed for one configuration."""

    def __init__(self, by_address: Mapping[tuple[str, int], str]) -> None:
        self._by_address = dict(by_address)

    def at(self, host: str, port: int) -> str | None:
        """The resource at this numeric address, None when there is none."""
        return self._by_address.get((host, port))

    @classmethod
    async def resolve(cls, resources: Mapping[str, Resource]) -> Resources:
        """Look up every configured address, host names by the system's resolver. Raises AddressTaken."""
        found: dict[tuple[str, int], str] = {}
        for name, resource in resources.items():
            for address in resource.addresses:
                for place in await _numeric(name, address):
                    other = found.setdefault(place, name)
                    if other != name:
                        raise AddressTaken(f"resources.{name}.addresses: {place[0]}:{place[1]} is already resources.{other}'s")
        return cls(found)


async def _numeric(name: str, address: str) -> list[tuple[str, int]]:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        return [(str(ipaddress.ip_address(host)), int(port))]
    except ValueError:
        pass
    try:
        answers = await asyncio.get_running_loop().getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except OSError as error:
        raise AddressTaken(f"resources.{name}.addresses: can't look up {host}: {error.strerror or error}") from None
    return [(str(answer[4][0]), int(port)) for answer in answers]
