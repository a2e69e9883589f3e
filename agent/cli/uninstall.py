"""``hostguard uninstall``: take the guard off this host."""

from __future__ import annotations

from pathlib import Path

import click

from ...kernel import cgroups, pins
from ...kernel.errors import KernelError
from ...policy.document import Document
from ..client import Client, DaemonDown
from ..failures import Failure
from ..paths import Paths, made_cgroup
from .output import config_option, configured, out


@click.command("uninstall")
@config_option
def command(config: Path) -> None:
    """Detach the kernel hooks, remove their pins and the workloads' empty cgroups; the log stays.

    From then on the workloads' processes connect directly, unguarded. Refused while the daemon runs.
    """
    document = configured(config)
    paths = Paths.of(document)
    try:
        pid = Client(paths.control).get("/v1/status")["pid"]
    except DaemonDown:
        pid = 0
    if pid:
        raise Failure(f"the daemon runs (pid {pid}): stop it first")
    try:
        detached = pins.detach(paths.pins)
    except KernelError as error:
        raise Failure(str(error)) from None
    out.print(f"hooks detached, pins removed from {paths.pins}" if detached else "no hooks were attached")
    for line in _remove_cgroups(document):
        out.print(line, markup=False)
    out.print(f"the log stays at {paths.log}")


def _remove_cgroups(document: Document) -> list[str]:
    """Remove the workloads' cgroups, but none that still has processes or children: those are somebody's."""
    said = []
    for name in document.workloads:
        path = made_cgroup(document, name)
        if path is None:
            continue
        try:
            path.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            processes = len(cgroups.pids(path))
            said.append(f"workload {name}: {path} stays, unguarded: it has {processes} processes, or cgroups below it")
        else:
            said.append(f"workload {name}: removed {path}")
    return said
