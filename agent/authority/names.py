"""The names by which agents know resources, as certificates write them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from ...policy.addresses import UNIX_SCHEME, parse_address
from ...policy.credentials import is_loopback
from ...policy.sections import Resource

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Whoever is on this host may be called by any of them."""


@dataclass(frozen=True, slots=True)
class Names:
    """Host names in lower case, addresses in their canonical text; each sorted, without repetition."""

    dns: tuple[str, ...]
    ips: tuple[str, ...]

    def __add__(self, other: Names) -> Names:
        return of_texts((*self.dns, *self.ips, *other.dns, *other.ips))


def of_texts(texts: Iterable[str]) -> Names:
    """The names, told apart from the addresses."""
    dns, ips = set(), set()
    for text in texts:
        try:
            ips.add(str(ipaddress.ip_address(text)))
        except ValueError:
            dns.add(text.rstrip(".").lower())
    return Names(tuple(sorted(dns)), tuple(sorted(ips)))


def names_of(resource: Resource) -> Names:
    """All by which a client may ask for it: hosts of its addresses, and the name in its server's own certificate."""
    hosts = {parse_address(address)[0] for address in resource.addresses}
    if resource.server_name:
        hosts.add(resource.server_name)
    if any(map(is_loopback, hosts)):
        hosts.update(LOOPBACK)
    return of_texts(host for host in hosts if not host.startswith(UNIX_SCHEME))


def names_of_all(resources: Iterable[Resource]) -> Names:
    """What the authority may vouch for: these names, nothing else."""
    found = Names((), ())
    for resource in resources:
        found += names_of(resource)
    return found
