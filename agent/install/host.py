"""What is asked of the running host around an installation: its user, its service manager."""

from __future__ import annotations

import pwd
import shutil
import subprocess
from pathlib import Path

from ..failures import Failure
from .parts import TMPFILES, USER
from .place import Step

SYSTEMD_RUNS = Path("/run/systemd/system")
"""sd_booted(3)."""
SERVICE = "hostguard.service"


def has_user() -> bool:
    """Whether the workers' user exists."""
    try:
        pwd.getpwnam(USER)
    except KeyError:
        return False
    return True


def make_user(*, dry_run: bool) -> Step | None:
    """Make the workers' user unless it is there. Raises Failure."""
    if has_user():
        return None
    command = ["useradd", "--system", "--home-dir", "/", "--no-create-home", "--shell", "/usr/sbin/nologin", USER]
    return _run(command, dry_run=dry_run)


def remove_user(*, dry_run: bool) -> Step | None:
    """Remove it again. Raises Failure."""
    return _run(["userdel", USER], dry_run=dry_run) if has_user() else None


def reload_units(*, dry_run: bool) -> Step | None:
    """Have systemd read the units again, where it runs. Raises Failure."""
    return _run(["systemctl", "daemon-reload"], dry_run=dry_run) if SYSTEMD_RUNS.is_dir() else None


def make_run_folder(*, dry_run: bool) -> Step | None:
    """Make what tmpfiles.d makes at the next boot, where systemd runs. Raises Failure."""
    return _run(["systemd-tmpfiles", "--create", TMPFILES], dry_run=dry_run) if SYSTEMD_RUNS.is_dir() else None


def stop_service(*, dry_run: bool) -> Step | None:
    """Stop the daemon for good, where systemd runs it. Raises Failure."""
    if not SYSTEMD_RUNS.is_dir() or subprocess.run(["systemctl", "cat", SERVICE], capture_output=True, check=False).returncode:
        return None
    return _run(["systemctl", "disable", "--now", SERVICE], dry_run=dry_run)


def _run(command: list[str], *, dry_run: bool) -> Step:
    if not dry_run:
        try:
            result = subprocess.run(
                [shutil.which(command[0]) or command[0], *command[1:]], capture_output=True, text=True, check=False
            )
        except OSError as error:
            raise Failure(f"{command[0]}: {error.strerror}") from None
        if result.returncode:
            raise Failure(f"{' '.join(command)}: {result.stderr.strip()}")
    return Step("run", " ".join(command))
