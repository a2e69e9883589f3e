"""Why a secret can't be had."""

from __future__ import annotations


class Unreadable(Exception):
    """A secret can't be read; a sentence that does not hold it."""
