"""Fixtures that every room's tests may ask for."""

from __future__ import annotations

from servers import postgres15, postgres18

__all__ = ["postgres15", "postgres18"]
