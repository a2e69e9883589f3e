"""Where a statement could put a hidden value so that it can be read back later."""

from __future__ import annotations

from .sql.analysis import Analysis

WRITES = frozenset(
    [
        "insert",
        "update",
        "merge",
        "create",
        "alter",
        "refresh",
        "copy_in",
        "notify",
        "set",
        "alter_system",
        "comment",
        "do",
        "security_label",
    ]
)
"""Effects that keep what they are given."""
KEEPS_NOTHING = frozenset(["pure", "reads_catalog", "reads_settings", "reads_activity", "sleeps"])
"""Classes of functions that don't; see `sql.functions`."""


def keeps_values(analysis: Analysis) -> str:
    """What of the statement could keep a value that it reads: an effect, a function; empty when nothing could."""
    kept = sorted(WRITES & set(analysis.effects))
    if kept:
        return kept[0]
    return next((f"{name}()" for name, kind in analysis.functions if kind not in KEEPS_NOTHING), "")
