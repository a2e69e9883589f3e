"""``hostguard policy duties``: the matrix of who could do what."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.markup import escape

from ...policy.decide import Policy
from ...policy.holders import Holding, Matrix, Part
from ..client import Client
from .output import clock, config_option, configured, json_option, out, places, print_json, table, tell_left_out


@click.command("duties")
@click.option("--history", is_flag=True, help="Who has exercised which duty on what, instead; asks the daemon.")
@json_option
@config_option
def duties(config: Path, as_json: bool, history: bool) -> None:
    """Draw who could exercise which duty by the policies, and who could exercise two that must be apart.

    Nobody who could is left out. Where a condition decides that can't be evaluated in advance, the cell says "unsure". Exit code
    1 when somebody could exercise both duties of an exclusion that is always in force.
    """
    if history:
        client = Client(places(config).control)
        rows = client.get("/v1/duties")
        tell_left_out(client.left_out)
        print_json(rows) if as_json else _show_history(rows)
        return
    from ...policy.holders import matrix

    document = configured(config)
    found = matrix(Policy(document))
    if as_json:
        print_json({"duties": list(document.duties), **msgspec.to_builtins(found)})
    else:
        _show(found, list(document.duties), document.agents, document.users)
    sys.exit(1 if found.conflicts else 0)


def _show(found: Matrix, names: Sequence[str], agents: Any, users: Any) -> None:
    if not names:
        out.print("The configuration has no \\[duties.NAME].")
        return
    clashing = {conflict.who for conflict in found.conflicts}
    shown = table("", "WHO", *(escape(name) for name in names))
    for agent, facts in agents.items():
        cells = [_held([h for h in found.holdings if (h.agent, h.duty) == (agent, name)]) for name in names]
        shown.add_row(_mark(f"agent {agent}", clashing), f"agent {escape(agent)} [dim]of {escape(facts.owner)}[/]", *cells)
    for user in users:
        cells = [_taken([p for p in found.parts if (p.user, p.holding.duty) == (user, name)]) for name in names]
        shown.add_row(_mark(f"user {user}", clashing), f"user {escape(user)}", *cells)
    out.print(shown)
    for conflict in found.conflicts:
        out.print("[red]✗[/] ", end="")
        out.print(str(conflict), markup=False)
    for conflict in found.separated:
        out.print(f"[dim]kept apart {conflict.apart} when they run:[/] ", end="")
        out.print(str(conflict), markup=False)
    if not found.conflicts:
        out.print("[green]✓[/] nobody could exercise two duties that must always be apart")


def _mark(who: str, clashing: set[str]) -> str:
    return "[red]✗[/]" if who in clashing else ""


def _held(holdings: Sequence[Holding]) -> str:
    """One cell: whether the agent may, and what it takes."""
    if not holdings:
        return "[dim]·[/]"
    (holding,) = holdings
    if not holding.certain:
        return "[yellow]unsure[/]"
    return f"[green]yes[/], {escape(holding.approval)} approves" if holding.approval else "[green]yes[/]"


def _taken(parts: Sequence[Part]) -> str:
    """One cell: in which ways the user takes part."""
    ways = []
    for part in sorted(parts, key=lambda part: part.approves):
        unsure = "" if part.holding.certain else " [yellow]unsure[/]"
        ways.append(f"{'approves for' if part.approves else 'owns'} {escape(part.holding.agent)}{unsure}")
    return ", ".join(ways) or "[dim]·[/]"


def _show_history(rows: Sequence[dict[str, Any]]) -> None:
    shown = table("WHO", "DUTY", "OBJECT", "LAST", "FOR AGENT", "FLOW", "OPERATION")
    for row in rows:
        who = row["subject"].replace(":", " ", 1)
        shown.add_row(
            *map(
                escape, (who, row["duty"], row["shown"], clock(row["at"]), row["agent"], str(row["flow"]), str(row["operation"]))
            )
        )
    out.print(shown)
