"""``hostguard install``: make hostguard a part of this host."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import click

from ...policy.document import ConfigErrors, load
from ..install import host, manifest
from ..install.parts import CONFIG
from ..install.place import Step, install, write_manifest
from .output import out

IMAGE_PROGRAM = "/usr/local/bin/hostguard"
"""Where scripts/provision --runtime puts the command."""


@click.command("install")
@click.option(
    "--root",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=Path("/"),
    show_default=True,
    help="Install into this folder instead: an image that is being built.",
)
@click.option(
    "--exec",
    "program",
    default=None,
    metavar="PATH",
    help=f"The hostguard command that the unit starts; by default this one, in an image {IMAGE_PROGRAM}.",
)
@click.option("--dry-run", is_flag=True, help="Tell what would be done, do nothing.")
def command(root: Path, program: str | None, dry_run: bool) -> None:
    """Install the systemd unit, the workers' user, the folders and a configuration to begin with.

    Each file is listed. It may run any number of times: what is there already stays, an older unit is updated, what was edited is
    left alone with a remark. Nothing is started. `hostguard uninstall` removes what it made.

    This host's certificate authority is made and put into the system's trust store; in an image that is left to each host's first
    start, since an image's would be the same on all of them.
    """
    alive = root == Path("/")
    steps = install(root, program or (_this_program() if alive else IMAGE_PROGRAM), dry_run=dry_run)
    if alive:
        steps += _on_this_host(dry_run)
    show(steps)
    if dry_run:
        out.print("nothing was done")
    elif alive:
        out.print(f"next: edit {CONFIG}/hostguard.toml, `hostguard policy check`, `systemctl enable --now {host.SERVICE}`")


def _on_this_host(dry_run: bool) -> list[Step]:
    made = host.make_user(dry_run=dry_run)
    if made is not None and not dry_run:
        installed = manifest.read(Path("/"))
        installed.user = True
        write_manifest(Path("/"), installed)
    steps = (made, host.make_run_folder(dry_run=dry_run), host.reload_units(dry_run=dry_run))
    return [step for step in steps if step is not None] + _authority(dry_run)


def _authority(dry_run: bool) -> list[Step]:
    from .ca import ensured

    config = Path(CONFIG) / "hostguard.toml"
    try:
        return ensured(load(config), dry_run=dry_run) if config.exists() else []
    except ConfigErrors:
        return [Step("keep", "system trust", f"{config} has mistakes: `hostguard ca trust` when they are mended")]


def _this_program() -> str:
    """The command that runs now, as an absolute path."""
    found = shutil.which(sys.argv[0]) or shutil.which("hostguard") or sys.argv[0]
    return os.path.abspath(found)


def show(steps: list[Step]) -> None:
    """A line for each thing that was done or left."""
    for step in steps:
        out.print(f"{step.action:<7} {step.subject}" + (f"  ({step.remark})" if step.remark else ""), markup=False)
