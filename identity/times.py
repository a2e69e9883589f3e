"""Checks when a token is valid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .trust import Trust
from .verified import NotVerified

_FOREVER = 1e11
"""The year 5138: a time beyond it is none, nor is NaN, nor a number too long for a float."""


def numeric_date(claims: Mapping[str, Any], name: str) -> float | None:
    """A NumericDate (RFC 7519 2); None where there is none. Raises NotVerified (``malformed``)."""
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _FOREVER:
        raise NotVerified("malformed", f"{name} is no time")
    return float(value)


def check_times(expires_at: float, begins_at: float | None, issued_at: float | None, trust: Trust, now: float) -> None:
    """Raises NotVerified: ``expired``, ``early``, ``lifetime``."""
    if expires_at <= now:
        raise NotVerified("expired", f"it expired {_ago(now - expires_at)} ago")
    for time, words in ((begins_at, "is valid"), (issued_at, "was issued")):
        if time is not None and time > now + trust.skew_s:
            raise NotVerified("early", f"it {words} only in {_ago(time - now)}, by this host's clock")
    if expires_at - min(now, issued_at if issued_at is not None else now) > trust.max_lifetime_s:
        raise NotVerified("lifetime", f"it is valid for longer than {_ago(trust.max_lifetime_s)}")


def _ago(seconds: float) -> str:
    return f"{seconds:.0f} s"
