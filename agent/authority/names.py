"""The names by which agents know resources, as certificates write them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from ...policy.addresses import UNIX_SCHEME, parse_address
from ...policy.credentials import is_certified, is_loopback
from ...policy.document import Document
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


def names_of_web(document: Document) -> Names:
    """The page's, where no certificate is configured for it."""
    web = document.web
    host = urlsplit(web.public_url).hostname if web.listen and not web.certificate else None
    if host is None:
        return of_texts(())
    return of_texts({host, *LOOPBACK} if is_loopback(host) else {host})


def names_of_all(document: Document) -> Names:
    """What the authority may vouch for: these names, nothing else."""
    found = names_of_web(document)
    for resource in filter(is_certified, document.resources.values()):
        found += names_of(resource)
    return found
