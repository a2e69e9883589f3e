"""``hostguard uninstall``: take hostguard off this host."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

import click

from ...kernel import cgroups, pins
from ...kernel.errors import KernelError
from ...policy.document import ConfigErrors, Document, load
from ...policy.sections import Daemon
from ..authority.system import trust
from ..authority.variables import FOLDER
from ..client import Client, DaemonDown
from ..failures import Failure
from ..install import host, manifest
from ..install.place import Step
from ..install.remove import remove
from ..paths import Paths, attach_point, made_cgroup
from .install import show
from .options import config_option, places
from .output import out


@click.command("uninstall")
@click.option("--purge", is_flag=True, help="Also remove the configuration and the state: the log, the keys. For good.")
@click.option(
    "--root",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=Path("/"),
    show_default=True,
    help="Remove what was installed into this folder; the running kernel is not touched.",
)
@click.option("--dry-run", is_flag=True, help="Tell what would be done, do nothing.")
@config_option
def command(config: Path, root: Path, purge: bool, dry_run: bool) -> None:
    """Detach the kernel hooks, remove their pins, the workloads' empty cgroups, and what `hostguard install` wrote.

    From then on the workloads' processes connect directly, unguarded. Stops the daemon where systemd runs it; refused while it
    runs otherwise. Configuration and log stay without --purge.
    """
    if root == Path("/"):
        made_user = manifest.read(root).user
        paths = _from_kernel(config, dry_run)
        show(trust(root, {}, dry_run=dry_run))
        show(remove(root, purge=purge, dry_run=dry_run))
        _say_state(paths, purge=purge, dry_run=dry_run)
        show(_from_host(purge and made_user, dry_run))
    else:
        show(trust(root, {}, dry_run=dry_run))
        show(remove(root, purge=purge, dry_run=dry_run))
    if dry_run:
        out.print("nothing was done")


def _from_host(user: bool, dry_run: bool) -> list[Step]:
    steps = (host.remove_user(dry_run=dry_run) if user else None, host.reload_units(dry_run=dry_run))
    return [step for step in steps if step is not None]


def _say_state(paths: Paths, *, purge: bool, dry_run: bool) -> None:
    """The state lies where the configuration says; a purge takes it as well."""
    if purge and paths.state.exists():
        show([Step("remove", str(paths.state), "the log with all keys")])
        if not dry_run:
            shutil.rmtree(paths.state)
    elif paths.log.exists():
        out.print(f"the log stays at {paths.log}", markup=False)


def _from_kernel(config: Path, dry_run: bool) -> Paths:
    document, paths = _configured(config)
    stopped = host.stop_service(dry_run=dry_run)
    show([stopped] if stopped else [])
    if dry_run:
        show([Step("remove", str(paths.pins), "with the hooks"), Step("remove", str(paths.run))])
        return paths
    _refuse_while_it_runs(paths)
    try:
        detached = pins.detach(paths.pins)
    except KernelError as error:
        raise Failure(str(error)) from None
    out.print(f"hooks detached, pins removed from {paths.pins}" if detached else "no hooks were attached", markup=False)
    if document is None:
        out.print(f"{config} has mistakes: the workloads' cgroups stay", markup=False)
    else:
        for line in _remove_cgroups(document):
            out.print(line, markup=False)
    for place in (paths.control, paths.bundle, paths.authorities, *paths.bundle.with_name(FOLDER).glob("*.pem")):
        place.unlink(missing_ok=True)
    with suppress(OSError):
        paths.bundle.with_name(FOLDER).rmdir()
    # Whatever else somebody has put there keeps it.
    with suppress(OSError):
        paths.run.rmdir()
    return paths


def _configured(config: Path) -> tuple[Document | None, Paths]:
    """The document, None with mistakes in it; where its daemon keeps its things. Without a file: where it would."""
    if not config.exists():
        return None, Paths.in_section(Daemon())
    try:
        document = load(config)
    except ConfigErrors:
        return None, places(config)
    return document, Paths.of(document)


def _refuse_while_it_runs(paths: Paths) -> None:
    try:
        pid = Client(paths.control).get("/v1/status")["pid"]
    except DaemonDown:
        return
    raise Failure(f"the daemon runs (pid {pid}): stop it first")


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
            said += _remove_parents(path, attach_point(document))
    return said


def _remove_parents(path: Path, end: Path) -> list[str]:
    """The cgroups between, which the daemon made with it, as long as they are empty."""
    said = []
    for parent in path.parents:
        if not parent.is_relative_to(end) or parent == end:
            break
        try:
            parent.rmdir()
        except OSError:
            break
        said.append(f"removed {parent}")
    return said
