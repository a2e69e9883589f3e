"""``hostguard daemon``: guard this host."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from ..broker.environment import hide, secret_variables
from ..lease import Lease
from .options import config_option, configured


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
    document = configured(config)
    if lease is None:
        # What this process has in its memory it can't forget; one that replaces another has left it behind already.
        hide(secret_variables(document), os.environ, [sys.executable, *sys.orig_argv[1:]])
    from ..daemon import run

    run(document, lease)
