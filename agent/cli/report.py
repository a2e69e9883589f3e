"""``hostguard report``: evidence for an audit, over a period."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click
import msgspec

from ...policy.decide import Policy
from ...recorder.packing import LogCorrupt
from ...recorder.reader import Reader
from ..failures import Failure
from ..paths import Paths
from .flow_filters import wall_ns
from .identity import decrypt_with, identity_option, tell_unopened
from .options import config_option, configured
from .output import err
from .written import write

FORMATS = ("html", "json", "csv")


@click.command("report")
@click.option("--since", default="30d", show_default=True, help="Beginning: 90m, 12h, 7d, or 2026-11-23T08:00.")
@click.option("--until", default=None, help="End, not included; now without.")
@click.option("--format", "layout", type=click.Choice(FORMATS), default="html", show_default=True, help="What to write.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), default=None, help="File; stdout without.")
@identity_option
@config_option
def command(config: Path, identity: tuple[Path, ...], since: str, until: str | None, layout: str, output: Path | None) -> None:
    """Report what each agent could do, what it did, what was denied, held, masked, and who approved.

    Everything carries its position in the log. Owners, roles and policies are those that were in force then, by the texts on
    record; where the log does not have them, today's stand in and the report says so.
    """
    from ..report import csv, html
    from ..report.gather import gather

    document = configured(config)
    now_ns = time.time_ns()
    since_ns, until_ns = wall_ns(since) or 0, wall_ns(until) or now_ns
    if since_ns >= until_ns:
        raise click.UsageError("--since is not before --until")
    try:
        reader = Reader(Paths.of(document).log, decrypt=decrypt_with(identity))
        report = gather(Policy(document), reader, since_ns, until_ns, now_ns)
    except LogCorrupt as error:
        raise Failure(f"the log is damaged: {error}") from None
    match layout:
        case "html":
            data = html.render(report).encode()
        case "csv":
            data = csv.render(report).encode()
        case _:
            data = msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"
    write(output, iter([data]))
    sys.stdout.flush()
    for gap in report.gaps:
        err.print(gap, markup=False, style="yellow")
    tell_unopened(len(reader.unopened), bool(identity))
    err.print(f"{len(data)} bytes of {layout}, the log up to entry {report.entries}", markup=False)
