"""Certificates as they go from the broker to the workers."""

from __future__ import annotations

from typing import Annotated

import msgspec

WEB = "[web]"
"""In the place of a resource's name, which can't be this: the page where users sign in."""


class Leaf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """hostguard's certificate for a resource, or for its own page, with its key."""

    resource: Annotated[str, msgspec.Meta(max_length=64)]
    chain: Annotated[bytes, msgspec.Meta(max_length=1 << 20)]
    """PEM: the certificate, then the authority that signed it."""
    key: Annotated[bytes, msgspec.Meta(max_length=8192)]
    """PEM, PKCS #8."""
    until: float
    """Seconds since 1970."""


class Roots(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who may vouch for the servers of these resources."""

    resources: tuple[str, ...]
    pem: str
