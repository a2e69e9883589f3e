"""``hostguard doctor``: what this host can enforce."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import click

from ...kernel.features import Feature, features
from ..checks import checks
from ..running import running
from .options import config_option, json_option
from .output import out, print_json


@click.command("doctor")
@json_option
@config_option
def command(config: Path, as_json: bool) -> None:
    """Tell what this host can and can't enforce, and how to mend what it can't.

    Needs no configuration and changes nothing. Exit code 1 when something is missing that hostguard can't work without (✗); what
    only adds to it is marked !. Each comes with a remedy to paste or to follow.
    """
    found = [*features(), *checks(config), *running(config)]
    if as_json:
        print_json([dataclasses.asdict(feature) for feature in found])
    else:
        for feature in found:
            show(feature)
    sys.exit(1 if any(feature.required and not feature.ok for feature in found) else 0)


def show(feature: Feature) -> None:
    """A line of what was found, below it what to do if it is not well."""
    mark = "[green]✓[/]" if feature.ok else "[red]✗[/]" if feature.required else "[yellow]![/]"
    out.print(f"{mark} {feature.name:<24} ", end="")
    out.print(feature.detail, markup=False)
    if feature.remedy:
        out.print(f"{'':27}[dim]→[/] ", end="")
        out.print(feature.remedy, markup=False)
