"""The grant that a user's yes to a request comes with, when it is for more than this once."""

from __future__ import annotations

from collections.abc import Sequence

from ..policy.grants import Grant
from ..policy.requests import NotAllowed, Request
from ..recorder.parameters import render
from .granting import Granting
from .waiting import By


def offered(granting: Granting, request: Request, needs: Sequence[str], by: By, uses: int, until: float) -> Grant:
    """Of a request that waits it is for the uses that are left after this one. Raises NotAllowed, BookFull, LedgerUnavailable.

    `request`: whole. `needs`: the actions that need the approval. `until`: wall time, seconds.
    """
    if request.mode != "ticket" and uses < 2:
        raise NotAllowed(f"{request.id} runs at once: until a time takes more than that one use (--uses).")
    if not until:
        raise NotAllowed("More than one use takes a time until which (--until).")
    shown = render(request.parameters, request.formats, request.types)
    return granting.offer(request, needs, by, uses - (request.mode != "ticket"), until, shown)
