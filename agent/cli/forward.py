"""``hostguard forward``: entries to syslog or OpenTelemetry."""

from __future__ import annotations

import socket
import sys
from importlib.metadata import version
from pathlib import Path

import click

from ...recorder.packing import LogCorrupt
from ..failures import Failure
from ..forwarding import Forwarder, follow, link
from ..paths import Paths
from .options import config_option, configured
from .output import err, fail

EVERY_S = 1.0


@click.command("forward")
@click.argument("names", nargs=-1)
@click.option("--once", is_flag=True, help="Send what there is, then end; exit code 1 when a destination failed.")
@config_option
def command(config: Path, names: tuple[str, ...], once: bool) -> None:
    """Send the log's entries to the destinations of [forward.NAME] (all, or NAMES), as they come, until stopped.

    Each destination has a cursor: after a failure or a restart it goes on where it was. Runs beside the daemon, which never waits
    for it.
    """
    document = configured(config)
    paths = Paths.of(document)
    for name in names:
        if name not in document.forward:
            raise click.UsageError(f"{document.file} has no forward.{name}; it has: {', '.join(document.forward) or 'none'}")
    if not document.forward:
        raise click.UsageError(f"{document.file} has no [forward.NAME]")
    host = socket.gethostname()
    forwarders = [
        Forwarder(name, section, paths.log, paths.cursors, link(section, host, version("hostguard")))
        for name, section in document.forward.items()
        if name in names or not names
    ]
    try:
        if not once:
            follow(forwarders, EVERY_S, _tell)
        for forwarder in forwarders:
            sent = forwarder.run()
            err.print(f"{forwarder.name}: {sent} entries sent, all before {forwarder.position}", markup=False)
            if forwarder.failure:
                _tell(forwarder)
    except LogCorrupt as error:
        raise Failure(f"the log is damaged: {error}") from None
    sys.exit(1 if any(forwarder.failure for forwarder in forwarders) else 0)


def _tell(forwarder: Forwarder) -> None:
    if forwarder.failure:
        fail(f"{forwarder.name}: {forwarder.failure}; entries from {forwarder.position} on wait")
    else:
        err.print(f"{forwarder.name}: works again", markup=False)
