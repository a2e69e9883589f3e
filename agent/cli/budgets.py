"""Budgets as ``hostguard status`` shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.markup import escape

from .output import ago, out

WORDS = ("operations", "rows", "bytes")
CLOSE = 0.8
"""Part of a limit from which on it is yellow."""


def show_budgets(budgets: Sequence[dict[str, Any]]) -> None:
    """One line for each budget of each agent; what workers were lent counts as used."""
    heading = "budgets"
    for budget in budgets:
        told = ", ".join(_part(word, budget[word]) for word in WORDS if budget[word]["limit"] is not None)
        over = ", then held" if budget["over"] == "hold" else ""
        of = f"[dim]{escape(budget['budget'])}[/]"
        out.print(f"{heading:<10} {escape(budget['agent'])}: {told} in {ago(budget['window_s'])}{over}  {of}")
        heading = ""


def _part(word: str, amount: dict[str, int]) -> str:
    used, limit = amount["used"], amount["limit"]
    colour = "red" if used >= limit else "yellow" if used >= CLOSE * limit else "green"
    return f"[{colour}]{used} of {limit}[/] {word}"
