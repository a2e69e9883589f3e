"""What a verification of the log takes as given, with what it finds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from .checkpoint import Checkpoint


@dataclass(frozen=True, slots=True)
class Head:
    """A head that somebody else has of this log."""

    whose: str
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it must be."""

    place: str
    """``entry 12``, or a path in the log's folder."""
    problem: str
    expected: str = ""
    found: str = ""


@dataclass(slots=True)
class Report:
    """What a verification found."""

    origin: str
    entries: int = 0
    """All that the log holds, with those removed by retention and those not sealed yet."""
    sealed: int = 0
    """So many are under the published head."""
    root: bytes = b""
    """The head's."""
    begun_at: int = 0
    """Entries before this one were not read: a remembered head vouches for them."""
    removed: int = 0
    """Entries before this one were removed by retention: only their hashes were checked."""
    carried: int = 0
    """So many of them are kept all the same, because later ones need them: they are what was sealed."""
    keys: tuple[str, ...] = ()
    """Verifier keys that signed the log, oldest first; each was introduced under the one before."""
    handed_over: tuple[int, ...] = ()
    """The entries that introduced them, from the second key on."""
    torn: int = 0
    """Bytes behind the last whole entry: one that is being written, or that a crash tore (the next daemon cuts it, on record)."""
    payloads: int = 0
    """Payloads whose files are byte for byte those that the entries name."""
    encrypted: int = 0
    """So many of them are encrypted."""
    opened: int = 0
    """And so many of those were opened with a key: their values are those that the entries have the hashes of."""
    payloads_removed: int = 0
    """Payloads that retention has removed, by its record."""
    findings: list[Finding] = field(default_factory=list)


class Fault(Protocol):
    """Takes a finding: where, what is wrong, what was expected, what was found."""

    def __call__(self, place: str, problem: str, expected: str = "", found: str = "") -> None: ...
