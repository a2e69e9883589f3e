"""A journal that is open, as the log writer has it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from .admission import Flows
from .inheritance import LivingJournal
from .ringfile import ControlPage, RingFile

GO, FAILED, ENDED = 0, 1, 2
"""What a worker may be told: go on; the log can't be written; this journal was ended."""


@dataclass(slots=True)
class Handle:
    """What a worker is given."""

    number: int
    """The journal's number: the index of its ``journal.open``."""
    fds: tuple[int, int, int, int]
    """For `Journal`, in the order that it takes them."""

    def close_fds(self) -> None:
        """The worker has them: close our copies, so that the ring's lock ends with the worker."""
        for descriptor in self.fds:
            os.close(descriptor)


@dataclass(slots=True)
class OpenJournal:
    """One journal, and how far it is taken."""

    file: RingFile
    size: int
    """Bytes of the ring."""
    control: ControlPage
    doorbell: int
    synced: int
    """The end of a pipe that wakes the worker. A pipe and not an eventfd, because the other end's flags are then not ours: a
    worker that takes O_NONBLOCK away would hang us."""
    flows: Flows = field(default_factory=Flows)
    read: int = 0
    durable: int = 0
    """What is before this position was told to be synced."""
    logged: int = 0
    """Entries that the log held when `read` was reached."""
    failure: str = ""
    """Why it could not be taken into the log."""
    told: int = GO
    """What the worker knows."""
    ending: tuple[str, str] | None = None
    """Reason and fault."""
    rejected: bytes | None = None
    """The first bytes of what was not believed; nothing more is taken then."""

    @classmethod
    def left(cls, folder: Path, living: LivingJournal) -> OpenJournal:
        """One that another drain left. Raises OSError."""
        return cls(
            file=RingFile(folder, living.number),
            size=living.size,
            control=ControlPage(living.control),
            doorbell=living.doorbell,
            synced=living.synced,
            flows=Flows.of(living.open, living.ended),
            read=living.read,
            durable=living.durable,
            logged=living.logged,
            told=living.told,
            ending=living.ending,
            rejected=living.rejected,
        )

    def living(self, number: int) -> LivingJournal:
        """What another drain needs to go on with it."""
        return LivingJournal(
            number=number,
            size=self.size,
            control=self.control.descriptor,
            doorbell=self.doorbell,
            synced=self.synced,
            open=self.flows.open,
            ended=self.flows.ended,
            read=self.read,
            durable=self.durable,
            logged=self.logged,
            told=self.told,
            ending=self.ending,
            rejected=self.rejected,
        )
