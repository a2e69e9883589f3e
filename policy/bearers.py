"""What an agent's verified tokens add to what the configuration says of it."""

from __future__ import annotations

import msgspec


class Bearer(msgspec.Struct, frozen=True):
    """Verified claims, as policies see them; empty for an agent that nobody vouches for."""

    roles: tuple[str, ...] = ()
    """Beside those of the configuration, sorted."""
    issuer: str = ""
    subject: str = ""


UNVERIFIED = Bearer()
