"""The addresses that this host's own file gives to names, hosts(5)."""

from __future__ import annotations

import ipaddress
from pathlib import Path

HOSTS = Path("/etc/hosts")


def addresses_in(text: str, name: str) -> list[str]:
    """The addresses of `name` in the text of such a file; lines that can't be read say nothing, as to libc."""
    found = []
    for line in text.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        if name in (known.lower().rstrip(".") for known in names) and _is_address(address):
            found.append(address)
    return found


def own_addresses(name: str) -> list[str]:
    """The addresses of `name` on this host; none when the file can't be read."""
    try:
        return addresses_in(HOSTS.read_text(encoding="utf-8", errors="replace"), name)
    except OSError:
        return []


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
