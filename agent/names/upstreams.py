"""Which name servers there are to ask, as far as it can be said without reading a message of theirs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

DNS_PORT = 53
RESOLV_CONF = Path("/etc/resolv.conf")

Server = tuple[str, int]


class NoAnswer(Exception):
    """No name server answered; the message tells of each what it did."""


def system_servers(text: str) -> tuple[Server, ...]:
    """The name servers of a resolv.conf (resolv.conf(5)); the local host where it names none."""
    lines = (line.split() for line in text.splitlines())
    hosts = [words[1].partition("%")[0] for words in lines if len(words) > 1 and words[0] == "nameserver"]
    return tuple((host, DNS_PORT) for host in hosts) or (("127.0.0.1", DNS_PORT),)


def servers_of(upstreams: Sequence[str]) -> tuple[Server, ...]:
    """Those that the configuration names, else the host's own."""
    if upstreams:
        return tuple((host.strip("[]"), int(port)) for host, _, port in (text.rpartition(":") for text in upstreams))
    try:
        return system_servers(RESOLV_CONF.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return system_servers("")
