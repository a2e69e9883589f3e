"""``hostguard daemon``: guard this host."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ..lease import Lease
from .output import config_option, configured


@click.command("daemon")
@config_option
def command(config: Path) -> None:
    """Guard this host, in the foreground, until SIGTERM or Ctrl-C.

    Attaches the kernel hooks, opens the log, proves by connections of its own that the hooks hold, then serves. It refuses to run
    when any of that fails. The hooks stay attached when it ends, however it ends: guarded processes are refused (ECONNREFUSED)
    until it runs again. `hostguard uninstall` removes them.

    SIGHUP reloads policies, agents, users, tags and the modes of workloads; with a mistake in them everything stays as
    it was, and `hostguard status` says so. SIGUSR2 is `hostguard restart`.
    """
    # A daemon that replaces another beats before anything slow.
    lease = Lease.of(os.environ)
    from ..daemon import run

    run(configured(config), lease)
