"""``hostguard doctor``: what this host can enforce."""

from __future__ import annotations

import dataclasses
import sys

import click

from ...kernel.features import features
from ..sandbox.features import cage_features
from .output import json_option, out, print_json


@click.command("doctor")
@json_option
def command(as_json: bool) -> None:
    """Tell what this host can and can't enforce, and how to mend what it can't.

    Needs no configuration and changes nothing. Exit code 1 when something is missing that hostguard can't work without.
    """
    found = [*features(), *cage_features()]
    if as_json:
        print_json([dataclasses.asdict(feature) for feature in found])
    else:
        for feature in found:
            mark = "[green]✓[/]" if feature.ok else "[red]✗[/]" if feature.required else "[yellow]![/]"
            out.print(f"{mark} {feature.name:<24} ", end="")
            out.print(feature.detail, markup=False)
            if feature.remedy:
                out.print(f"{'':27}[dim]→[/] ", end="")
                out.print(feature.remedy, markup=False)
    sys.exit(1 if any(feature.required and not feature.ok for feature in found) else 0)
