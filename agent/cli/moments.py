"""Times as people write them on a command line."""

from __future__ import annotations

import datetime
import re
import time
from typing import Any

import click

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class Moment(click.ParamType[float]):
    """A time of day, or so long from now; as seconds since 1970."""

    name = "WHEN"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        if found := re.fullmatch(r"([0-9]{1,9})([smhdw])", value):
            return time.time() + int(found[1]) * _UNITS[found[2]]
        try:
            # Without a zone it is this host's time.
            return datetime.datetime.fromisoformat(value).timestamp()
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is neither a duration (90s, 30m, 8h, 7d) nor a time (2026-03-01T18:00)", param, ctx)


MOMENT = Moment()
