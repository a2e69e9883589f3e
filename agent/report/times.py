"""Times in a report: UTC, so that reports of several hosts compare."""

from __future__ import annotations

import datetime


def utc(wall_ns: int) -> str:
    """``2026-11-23 08:00:00``."""
    return datetime.datetime.fromtimestamp(wall_ns / 1e9, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")
