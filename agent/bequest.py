"""Workers with their flows, as one supervisor leaves them to the next."""

from __future__ import annotations

import msgspec

from . import messages
from .channel import Halfway
from .flows import FlowLeft
from .sandbox.cage import Applied


class BerthLeft(msgspec.Struct, frozen=True, kw_only=True):
    """A worker as one supervisor leaves it to the next; its flows and its journal are told beside it."""

    name: str
    pid: int
    pidfd: int
    journal: int
    channel: Halfway
    max_message_bytes: int
    ready: bool
    applied: Applied | None
    report: messages.Report | None
    silent: int
    epoch: int
    pinged: int
    since: float
    """Since when it is one of an earlier supervisor's, wall time; 0 while it is not."""


class CrewLeft(msgspec.Struct, frozen=True, kw_only=True):
    """All workers as one supervisor leaves them to the next."""

    berths: list[BerthLeft]
    flows: list[FlowLeft]
    tally: tuple[int, int, int]
    """Operations allowed, denied, held, of workers that have ended."""
    added: tuple[int, ...]
    added_ns: int
    died: int
    deaths: list[tuple[float, str]]
