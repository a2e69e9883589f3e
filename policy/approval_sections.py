"""The section of approvals."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from .section import Section


class Approvals(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[approvals]``: how a held operation waits, and for how long."""

    mode: Literal["wait", "ticket"] = "wait"
    """``wait``: the statement waits; ``ticket``: it is refused with a request's id, and goes through once that is approved.

    A policy's ``@hold("…")`` wins. Default ``wait``."""
    timeout_s: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 300
    """Seconds that a held operation waits for a user's yes or no, from its filing and anew from each yes. Default 300."""
    ticket_s: Annotated[int, msgspec.Meta(ge=1, le=31_536_000)] = 86_400
    """Seconds that a ticket waits for it. Default 86400."""
    use_s: Annotated[int, msgspec.Meta(ge=1, le=31_536_000)] = 3600
    """Seconds from its approval on in which a ticket's operation can be run, once. Default 3600."""
    escalate_s: tuple[Annotated[int, msgspec.Meta(ge=1, le=31_536_000)], ...] = ()
    """Seconds after its filing at which a request that is still open escalates, once for each. Default none."""
    max_grants: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 10_000
    """Grants, with tickets, that may be open at one time. Default 10000."""
