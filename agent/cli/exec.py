"""``hostguard exec``: run a command as a guarded workload."""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import click

from ...kernel import cgroups, confine, pins
from ...kernel.errors import KernelError
from ...kernel.inherited import road_past_the_guard
from ...kernel.layouts import CLEARED, RESERVED
from ...policy.document import Document
from ...policy.sections import Workload
from ...policy.workloads import workload_text
from ..authority.variables import variables
from ..client import Client, DaemonDown, Refused
from ..failures import Failure
from ..paths import Paths, made_cgroup
from .options import config_option, configured

VERIFY_S = 60.0
"""How long the daemon may take to verify a token: its issuer may have to be asked for keys."""
STANDARD = {0: "stdin", 1: "stdout", 2: "stderr"}
LAST_FD = 0x7FFF_FFFF
"""Not SC_OPEN_MAX: a limit that was lowered leaves descriptors open above it."""


@click.command("exec", context_settings={"ignore_unknown_options": True})
@click.option("--workload", required=True, help="Name of the workload, as in [workloads.NAME].")
@click.option("--user", default=None, help="UNIX user to run as; the default is to stay who you are.")
@click.option(
    "--identity-token-file",
    "token_files",
    multiple=True,
    metavar="[ISSUER=]FILE",
    help="File with the token by which an issuer vouches for the agent; read again whenever it changes. May be repeated.",
)
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED, metavar="CMD...")
@config_option
def command(config: Path, workload: str, user: str | None, token_files: tuple[str, ...], argv: tuple[str, ...]) -> None:
    """Run CMD as a guarded workload: it and all its children reach resources through hostguard only.

    \b
      hostguard exec --workload support-bot --user agent -- python agent.py

    Refused when the kernel does not guard that workload's cgroup, so that nothing ever runs unguarded by mistake, and when stdin,
    stdout or stderr is a socket from outside, which would not pass the hooks. Other file descriptors are closed.

    SSL_CERT_FILE, REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE, NODE_EXTRA_CA_CERTS and the like name a bundle of the system's roots with
    this host's own authority; where one is set already, of those that it names with ours.

    CMD and its children have no io_uring (ENOSYS), no sockets but UNIX, IPv4, IPv6 and netlink (EAFNOSUPPORT), none of the
    capabilities that could undo the guard even as root, and gain no privileges from setuid programs such as sudo.
    `[workloads.NAME]` can allow more.

    With --identity-token-file CMD and its children have a cgroup of their own in the workload's, and the token is verified for
    that before CMD is run: nobody else can borrow it. The file is followed as the platform replaces it. For root, and
    who policies permit it to.
    """
    document = configured(config)
    account = _account(user)
    enter(document, workload, token_files)
    for fd, name in STANDARD.items():
        if road := road_past_the_guard(fd):
            raise Failure(f"{name} is {road}: it would not pass the hooks, so nothing was run; give it a file or a pipe")
    os.closerange(max(STANDARD) + 1, LAST_FD)
    if not document.workloads[workload].observed:
        # Observed TLS passes as it is, and a root file makes libpq verify what it would not have.
        _trust(Paths.of(document))
    _confine(document.workloads[workload], account)
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        raise Failure(f"can't run {argv[0]}: {error.strerror}") from None


def enter(document: Document, workload: str, token_files: Sequence[str] = ()) -> None:
    """Move this process into the workload's cgroup, once the kernel is seen to guard it; with tokens into one of its own in it.

    Raises Failure.
    """
    if workload not in document.workloads:
        known = ", ".join(document.workloads) or "none"
        raise click.UsageError(f"{document.file} has no workload {workload!r}; it has: {known}")
    path = made_cgroup(document, workload)
    if path is None:
        found_by = workload_text(document.workloads[workload])
        raise Failure(f"workload {workload} is found by its {found_by}, so nothing can be put into it by `hostguard exec`")
    try:
        status = pins.status(Paths.of(document).pins)
        guarded = status.attached and status.guarded.get(cgroups.cgroup_id(path), CLEARED) not in RESERVED
    except (KernelError, OSError) as error:
        raise Failure(f"can't tell whether {workload} is guarded, so nothing was run: {error}") from None
    if not guarded:
        raise Failure(f"the kernel does not guard {path}, so nothing was run; start `hostguard daemon` first")
    if token_files:
        path = _own_cgroup(document, workload, path, token_files)
    try:
        cgroups.enter(path)
    except (KernelError, OSError) as error:
        raise Failure(f"can't enter {path}: {error}") from None


def _own_cgroup(document: Document, workload: str, path: Path, token_files: Sequence[str]) -> Path:
    """A new cgroup in that of the workload, for which the tokens are verified; the daemon removes it when nothing is in it."""
    agent = document.workloads[workload].agent
    own = path / f"identity-{os.getpid()}-{os.urandom(4).hex()}"
    wanted = [_token_file(document, agent, text) for text in token_files]
    try:
        cgroups.create(own)
        for issuer, file in wanted:
            asked = {"agent": agent, "issuer": issuer, "cgroup": str(own), "token_file": file}
            answer = Client(Paths.of(document).control).post("/v1/identity/follow", asked, VERIFY_S)
            if answer["error"]:
                raise Failure(f"the token in {file} is refused, so nothing was run: {answer['error']}")
    except KernelError as error:
        raise Failure(f"can't make a cgroup for it: {error}") from None
    except (Failure, DaemonDown, Refused):
        with suppress(OSError):
            own.rmdir()
        raise
    return own


def _token_file(document: Document, agent: str, text: str) -> tuple[str, str]:
    """Issuer and file. Raises Failure."""
    issuers = document.agents[agent].identity
    name, equals, file = text.partition("=")
    if not equals or name not in issuers:
        if len(issuers) != 1:
            known = " or ".join(f"{issuer}=FILE" for issuer in issuers) or "no token at all"
            raise click.UsageError(f"--identity-token-file {text}: agent {agent} takes {known}")
        name, file = next(iter(issuers)), text
    return name, os.path.abspath(file)


def _trust(paths: Paths) -> None:
    """Tell the program by its usual variables whom to trust: the system's roots, and hostguard."""
    try:
        os.environ.update(variables(paths.bundle, paths.authorities, os.environ))
    except OSError as error:
        raise Failure(f"the program can't be told whom to trust: {error.filename}: {error.strerror}") from None


def _account(user: str | None) -> pwd.struct_passwd | None:
    if user is None:
        return None
    try:
        return pwd.getpwnam(user)
    except KeyError:
        raise click.UsageError(f"this host has no user {user!r}") from None


def _confine(workload: Workload, account: pwd.struct_passwd | None) -> None:
    """In this order: what needs privileges or reads files, the change of user, then what ends all privileges."""
    try:
        calls = confine.call_filter(workload.families, io_uring=workload.allow_io_uring)
        confine.bound_capabilities()
        if account is not None:
            _become(account)
        confine.renounce(calls)
    except (KernelError, OSError) as error:
        raise Failure(f"the program can't be confined, so nothing was run: {error}") from None


def _become(account: pwd.struct_passwd) -> None:
    try:
        os.initgroups(account.pw_name, account.pw_gid)
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
    except OSError as error:
        raise Failure(f"can't become {account.pw_name}: {error.strerror}") from None
    os.environ.update(HOME=account.pw_dir, USER=account.pw_name, LOGNAME=account.pw_name)
