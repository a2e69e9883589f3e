"""The options by which ``recordings`` commands choose flows or operations."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import click

from ...recorder.filters import Filters

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
TIME_LAYOUTS = ("%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S")

VERDICTS = ("allow", "deny", "hold", "would-deny", "would-hold", "refused")
"""The two with would passed, because their workload was only observed."""

_OPTIONS = (
    click.option("--agent", default=None, help="Only this agent's."),
    click.option("--user", default=None, help="Only with this database user, or with an answer to a request by this user."),
    click.option("--resource", default=None, help="Only this resource's."),
    click.option("--table", default=None, help="Only what touches it: orders, public.orders or shop/shop/public/orders."),
    click.option("--verdict", type=click.Choice(VERDICTS), default=None, help="With at least one of these."),
    click.option("--tag", default=None, help="Only where values with this tag were, or would be, masked; pii has pii.email."),
    click.option("--since", default=None, help="Since then: 90m, 12h, 7d, 2026-11-23T08:00, or @SECONDS since 1970."),
    click.option("--until", default=None, help="Before then."),
)


def filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--agent`` … ``--until``, the same for all commands that choose."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def filters_of(wanted: dict[str, Any], limit: int | None = None) -> Filters:
    """What the options ask for."""
    given = {name: value for name, value in wanted.items() if name not in ("since", "until")}
    return Filters(**given, since_ns=wall_ns(wanted["since"]), until_ns=wall_ns(wanted["until"]), limit=limit)


def asked_for(wanted: dict[str, Any], limit: int) -> dict[str, str]:
    """What the options ask for, in the words of the control API; times as seconds, since the daemon may be in another zone."""
    given = {name: str(value) for name, value in wanted.items() if value is not None}
    for name in ("since", "until"):
        if (moment := wall_ns(wanted[name])) is not None:
            given[name] = f"@{moment // 10**9}"
    return {**given, "limit": str(limit)}


def wall_ns(text: str | None) -> int | None:
    """``90m`` (ago), a local time ``2026-11-23T08:00``, or ``@SECONDS`` since 1970, to wall nanoseconds."""
    if text is None:
        return None
    if found := re.fullmatch(r"@(\d{1,10})", text):
        return int(found[1]) * 10**9
    if found := re.fullmatch(r"(\d+)([smhd])", text):
        return int((time.time() - int(found[1]) * UNITS_S[found[2]]) * 1e9)
    for layout in TIME_LAYOUTS:
        try:
            return int(time.mktime(time.strptime(text, layout)) * 1e9)
        except ValueError:
            continue
    raise click.UsageError(f"{text!r} is no time: give 90m, 12h, 7d, 2026-11-23, 2026-11-23T08:00 or @SECONDS")
