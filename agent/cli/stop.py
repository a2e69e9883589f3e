"""``hostguard stop``: end what an agent does, let it begin nothing."""

from __future__ import annotations

from pathlib import Path

import click

from ..client import Client
from .options import config_option, json_option, places
from .output import out, print_json


def named(agent: str | None, everything: bool) -> str | None:
    """The one agent that is meant, None for all. Raises UsageError."""
    if everything == (agent is not None):
        raise click.UsageError("name one AGENT, or say --all")
    return agent


@click.command("stop")
@click.argument("agent", required=False)
@click.option("--all", "everything", is_flag=True, help="All agents of this host, also those that are configured later.")
@click.option("--reason", default="", help="Why; it goes on record, and the agent is told.")
@json_option
@config_option
def command(config: Path, as_json: bool, agent: str | None, everything: bool, reason: str) -> None:
    """Stop an agent at once: end its connections, refuse new ones, withdraw what it has held, answer none of its names.

    The stop holds until `hostguard resume`, over restarts and crashes. It takes the action `operate` in the policies; root has it
    by the base policy. The agent's errors say who stopped it, when and why.
    """
    answer = Client(places(config).control).post("/v1/stop", {"agent": named(agent, everything), "reason": reason})
    if as_json:
        print_json(answer)
    else:
        out.print(f"{answer['says']}; {answer['flows']} open connections ended", markup=False)
