"""Counts of what the decider did, by which tests hold it to its promises."""

from __future__ import annotations

import msgspec


class Stats(msgspec.Struct):
    """All counts are since the start."""

    parsed: int = 0
    """Texts that were read by PostgreSQL's grammar for their analysis."""
    decided: int = 0
    """Judgements that were made by asking Cedar."""
    shared: int = 0
    """Judgements found under another text of the same shape."""
    dropped: int = 0
    """Caches that were full and began anew."""
