"""The addresses of a resource, as the configuration writes them."""

from __future__ import annotations

import ipaddress
import os
import re

UNIX_SCHEME = "unix:"
"""How the address of a UNIX socket begins; ``/path`` or ``@name`` follows."""
MAX_UNIX_BYTES = 107
"""Of a path in ``struct sockaddr_un``, with room for the NUL behind it (unix(7))."""

_HOSTNAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?\Z")


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of ``127.0.0.1:5432``, ``[::1]:5432`` or ``db.example:5432``; addresses in their canonical form.

    A host name is kept as it stands: resolving it is not policy's business. ``unix:/path`` and ``unix:@name`` (an abstract one)
    are a host as they stand, with port 0. Raises ValueError with a sentence.
    """
    if text.startswith(UNIX_SCHEME):
        return _unix(text), 0
    host, colon, port = text.rpartition(":")
    if not colon or not host:
        raise ValueError(f'"{text}" has no port; expected host:port or [IPv6]:port')
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise ValueError(f'"{text}": the port is a number from 1 to 65535')
    return _host(host, text), int(port)


def _unix(text: str) -> str:
    """Exactly what a process will pass: two spellings are two addresses to the kernel's program."""
    where = text.removeprefix(UNIX_SCHEME)
    if not where.startswith(("/", "@")) or len(where) < 2:
        raise ValueError(f'"{text}": expected unix:/ and a path, or unix:@ and an abstract name')
    if "\0" in where or len(os.fsencode(where)) > MAX_UNIX_BYTES:
        raise ValueError(f'"{text}": the address of a UNIX socket has at most {MAX_UNIX_BYTES} bytes, none of them zero')
    return text


def _host(host: str, text: str) -> str:
    if host.startswith("[") and host.endswith("]"):
        try:
            return str(ipaddress.IPv6Address(host[1:-1]))
        except ValueError:
            raise ValueError(f'"{text}": {host[1:-1]} is not an IPv6 address') from None
    if ":" in host:
        raise ValueError(f'"{text}": an IPv6 address is written in brackets, [IPv6]:port')
    # All digits and dots is meant as IPv4: never a host name, or 127.0.0.01 would be looked up.
    if re.fullmatch(r"[0-9.]+", host):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise ValueError(f'"{text}": {host} is not an IPv4 address') from None
    if len(host) > 253 or not _HOSTNAME.match(host):
        raise ValueError(f'"{text}": {host} is not a host name')
    return host.lower()
