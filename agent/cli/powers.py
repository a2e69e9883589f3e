"""Guarded processes that could undo the guard, as ``hostguard status`` shows them."""

from __future__ import annotations

from typing import Any

from ...recorder.visible import visible
from .output import out

SHOWN = 5


def show_powers(powers: dict[str, Any]) -> None:
    """A line for each of the first, with what to do; nothing when there is none."""
    if powers["failure"]:
        out.print("powers     [red]not known[/]: ", end="")
        out.print(powers["failure"], markup=False)
    for process in powers["shown"][:SHOWN]:
        what = ", ".join(process["capabilities"]) or "is root"
        out.print("powers     [red]![/] " if process["capabilities"] else "powers     [yellow]![/] ", end="")
        out.print(visible(f"{process['workload']} pid {process['pid']} ({process['comm']}): {what}"), markup=False, end="")
        out.print(f"  [dim]→ {process['remedy']}[/]")
    if powers["count"] > SHOWN:
        out.print(f"           [dim]{powers['count'] - SHOWN} more could undo the guard; --json has the first of them[/]")
