"""``hostguard exec``: run a command as a guarded workload."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import click

from ...kernel import cgroups, pins
from ...kernel.errors import KernelError
from ...policy.document import Document
from ...policy.workloads import workload_text
from ..failures import Failure
from ..paths import Paths, made_cgroup
from .output import config_option, configured

FIRST_INHERITED_FD = 3


@click.command("exec", context_settings={"ignore_unknown_options": True})
@click.option("--workload", required=True, help="Name of the workload, as in [workloads.NAME].")
@click.option("--user", default=None, help="UNIX user to run as; the default is to stay who you are.")
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED, metavar="CMD...")
@config_option
def command(config: Path, workload: str, user: str | None, argv: tuple[str, ...]) -> None:
    """Run CMD as a guarded workload: it and all its children reach resources through hostguard only.

    \b
      hostguard exec --workload support-bot --user agent -- python agent.py

    Refused when the kernel does not guard that workload's cgroup, so that nothing ever runs unguarded by mistake. File
    descriptors other than stdin, stdout and stderr are closed: a socket that was opened outside would not pass the hooks.
    """
    document = configured(config)
    account = _account(user)
    enter(document, workload)
    os.closerange(FIRST_INHERITED_FD, os.sysconf("SC_OPEN_MAX"))
    if account is not None:
        _become(account)
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        raise Failure(f"can't run {argv[0]}: {error.strerror}") from None


def enter(document: Document, workload: str) -> None:
    """Move this process into the workload's cgroup, once the kernel is seen to guard it. Raises Failure."""
    if workload not in document.workloads:
        known = ", ".join(document.workloads) or "none"
        raise click.UsageError(f"{document.file} has no workload {workload!r}; it has: {known}")
    path = made_cgroup(document, workload)
    if path is None:
        found_by = workload_text(document.workloads[workload])
        raise Failure(f"workload {workload} is found by its {found_by}, so nothing can be put into it by `hostguard exec`")
    try:
        status = pins.status(Paths.of(document).pins)
        guarded = status.attached and cgroups.cgroup_id(path) in status.guarded
    except (KernelError, OSError) as error:
        raise Failure(f"can't tell whether {workload} is guarded, so nothing was run: {error}") from None
    if not guarded:
        raise Failure(f"the kernel does not guard {path}, so nothing was run; start `hostguard daemon` first")
    try:
        cgroups.enter(path)
    except (KernelError, OSError) as error:
        raise Failure(f"can't enter {path}: {error}") from None


def _account(user: str | None) -> pwd.struct_passwd | None:
    if user is None:
        return None
    try:
        return pwd.getpwnam(user)
    except KeyError:
        raise click.UsageError(f"this host has no user {user!r}") from None


def _become(account: pwd.struct_passwd) -> None:
    try:
        os.initgroups(account.pw_name, account.pw_gid)
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
    except OSError as error:
        raise Failure(f"can't become {account.pw_name}: {error.strerror}") from None
    os.environ.update(HOME=account.pw_dir, USER=account.pw_name, LOGNAME=account.pw_name)
