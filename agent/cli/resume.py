"""``hostguard resume``: lift a stop."""

from __future__ import annotations

from pathlib import Path

import click

from ..client import Client
from .options import config_option, json_option, places
from .output import out, print_json
from .stop import named


@click.command("resume")
@click.argument("agent", required=False)
@click.option("--all", "everything", is_flag=True, help="Lift the stop of all agents; one stopped by name stays so.")
@click.option("--reason", default="", help="Why; it goes on record.")
@json_option
@config_option
def command(config: Path, as_json: bool, agent: str | None, everything: bool, reason: str) -> None:
    """Let a stopped agent go on: it may connect again. It takes the action `operate` in the policies, as a stop does."""
    answer = Client(places(config).control).post("/v1/resume", {"agent": named(agent, everything), "reason": reason})
    if as_json:
        print_json(answer)
        return
    out.print(f"no longer: {answer['says']}", markup=False)
    for still in answer["still"]:
        out.print(f"[red]still[/]: {still}")
