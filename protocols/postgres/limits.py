"""How much one PostgreSQL conversation may hold, with the reason of each bound."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """Bounds of one conversation. Beyond each the flow ends closed, with an error in the protocol's words."""

    max_message_bytes: int = 16 * 1024 * 1024
    """One message that has to be read whole (everything but CopyData and unmasked rows). PostgreSQL itself takes 1 GiB;
    statements and rows of more than a few MiB are rare, and each flow may hold one of these in each direction."""
    max_startup_bytes: int = 10_000
    """PostgreSQL's own MAX_STARTUP_PACKET_LENGTH."""
    max_auth_bytes: int = 65_535
    """PostgreSQL's own PG_MAX_AUTH_TOKEN_LENGTH."""
    max_backlog_bytes: int = 32 * 1024 * 1024
    """Client bytes that wait inside. The owner stops reading far below this; here it is the net under the owner."""
    max_statements: int = 4096
    """Named prepared statements; drivers cache some hundreds."""
    max_portals: int = 1024
    """Open portals; drivers hold a handful."""
    max_held_bytes: int = 64 * 1024 * 1024
    """Texts of prepared statements plus bound parameters of open portals, all together."""
    max_in_flight: int = 8192
    """Messages whose replies are outstanding. More wait in the client's backlog; PostgreSQL answers at the latest when its 8 KiB
    output buffer fills, that is after some 1,700 replies of five bytes, so waiting here can't wait for ever."""
    capture_bytes: int = 0
    """Of each reply that are kept and told with `Replied`; 0 for none, which costs nothing."""
    max_probe_bytes: int = 64 * 1024 * 1024
    """Rows of one probe of our own: the catalog of some hundred thousand columns."""
