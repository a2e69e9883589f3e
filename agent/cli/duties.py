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
from ...policy.duty_table import Table, Way
from ...policy.duty_table import table as drawn
from ...policy.holders import matrix
from ..client import Client
from .options import config_option, configured, json_option, places
from .output import clock, out, print_json, table, tell_left_out


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
    document = configured(config)
    found = matrix(Policy(document))
    if as_json:
        print_json({"duties": list(document.duties), **msgspec.to_builtins(found)})
    else:
        _show(drawn(document, found))
    sys.exit(1 if found.conflicts else 0)


def _show(found: Table) -> None:
    if not found.duties:
        out.print("The configuration has no \\[duties.NAME].")
        return
    shown = table("", "WHO", *map(escape, found.duties))
    for row in found.rows:
        owner = f" [dim]of {escape(row.owner)}[/]" if row.kind == "agent" else ""
        mark = "[red]✗[/]" if row.clashes else ""
        shown.add_row(mark, f"{row.kind} {escape(row.name)}{owner}", *map(_cell, row.cells))
    out.print(shown)
    for conflict in found.conflicts:
        out.print("[red]✗[/] ", end="")
        out.print(conflict, markup=False)
    for each in found.apart:
        out.print(f"[dim]kept apart {each.how} when they run:[/] ", end="")
        out.print(each.words, markup=False)
    if not found.conflicts:
        out.print("[green]✓[/] nobody could exercise two duties that must always be apart")


def _cell(ways: Sequence[Way]) -> str:
    return ", ".join(map(_way, ways)) or "[dim]·[/]"


def _way(way: Way) -> str:
    words = escape(way.words)
    if way.sure:
        return words.replace("yes", "[green]yes[/]", 1) if words.startswith("yes") else words
    return "[yellow]unsure[/]" if words == "unsure" else f"{words} [yellow]unsure[/]"


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
