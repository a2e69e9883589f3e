"""How commands print: results on stdout, talk on stderr, colours only where a person looks."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from rich.console import Console
from rich.table import Table

# Where nobody looks there is no width to keep to, and a folded path can't be searched for.
PIPE_WIDTH = 200

out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else PIPE_WIDTH)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def fail(message: str) -> None:
    """One line of what is wrong, on stderr."""
    err.print("[red]error:[/] ", end="")
    err.print(message, markup=False)


def tell_left_out(count: int, what: str = "look at") -> None:
    """Say on stderr how much of an answer the daemon left out."""
    if count:
        err.print(f"{count} more {'is' if count == 1 else 'are'} left out, of agents that you may not {what}", style="yellow")


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False, default=str)
    sys.stdout.write("\n")


def table(*columns: str) -> Table:
    """A table without frames: it survives narrow terminals and copying."""
    made = Table(box=None, pad_edge=False, header_style="dim", show_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def ago(seconds: float) -> str:
    """A duration as a person says it."""
    for limit, unit, size in ((90, "s", 1), (5400, "min", 60), (129600, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


def clock(wall_s: float) -> str:
    """Local time of day with the date."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(wall_s))
