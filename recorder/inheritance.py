"""A journal whose worker lives on while the log writer changes.

What it takes to go on with the journal in a program that has the same descriptors: after an execve(2), or in another process
that was sent them. The ring's file is opened anew by its number.
"""

from __future__ import annotations

import msgspec

from .entry import DaemonStart
from .stored import Stored

TAKEN_OVER = "flows taken over"
"""Name of the detail of a `DaemonStart` after which the open flows of the daemon before go on: how many there are."""


def is_successor(start: DaemonStart) -> bool:
    """Whether the daemon took over the flows of the one before, rather than finding them ended."""
    return not isinstance(start.details, Stored) and any(name == TAKEN_OVER for name, _ in start.details)


class LivingJournal(msgspec.Struct, frozen=True, kw_only=True):
    """One journal as a drain left it."""

    number: int
    size: int
    """Bytes of the ring."""
    control: int
    """Descriptor of the control page."""
    doorbell: int
    """The end that the worker rings."""
    synced: int
    """The end that wakes the worker."""
    open: dict[int, int]
    """The worker's open flows, each with its last number."""
    ended: tuple[int, ...]
    read: int
    """What is before this position of the journal is in the log."""
    durable: int
    """What is before this was told to be synced."""
    logged: int
    """Entries that the log held when `read` was reached."""
    told: int
    """Which state the worker was told."""
    ending: tuple[str, str] | None = None
    """Why it is to end (reason, fault), if it is."""
    rejected: bytes | None = None
    """The first bytes of what was not believed, if something was not."""

    @property
    def descriptors(self) -> tuple[int, int, int]:
        """Those that have to stay open across the change."""
        return self.control, self.doorbell, self.synced
