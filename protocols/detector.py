"""What a detector is to those who look through replies with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Detector(Protocol):
    """What tells sensitive values by their form."""

    def suspects(self, data: bytes) -> bool:
        """Whether `find` may find anything in a text that lies within these bytes."""

    def find(self, text: str) -> Sequence[tuple[int, int, str]]:
        """(start, end, kind of value) of what is in a text, in order, without overlaps; in characters."""
