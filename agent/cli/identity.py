"""The option that opens encrypted payloads, the same for all commands that read recordings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ...identity.auditors import BadKey, Identities
from ...recorder.wrapping import Decrypt
from ..failures import Failure
from .output import err

Command = Callable[..., Any]


def identity_option(command: Command) -> Command:
    """``--identity``, an auditor's key; may be given several times."""
    return click.option(
        "--identity",
        "identity",
        type=click.Path(path_type=Path),
        multiple=True,
        envvar="HOSTGUARD_IDENTITY",
        show_envvar=True,
        help="age identity file (or SSH key) that opens encrypted payloads; may be repeated.",
    )(command)


def decrypt_with(paths: tuple[Path, ...]) -> Decrypt | None:
    """What opens payloads; None without a key. Raises Failure for a file that is none."""
    try:
        return Identities(paths).decrypt if paths else None
    except BadKey as error:
        raise Failure(f"--identity {error}") from None


def tell_unopened(count: int, given: bool) -> None:
    """Say on stderr what could not be shown."""
    if count:
        what = "1 payload is" if count == 1 else f"{count} payloads are"
        why = "none of the identities given opens them" if given else "give an auditor's key with --identity FILE"
        err.print(f"{what} encrypted and not shown: {why}", style="yellow", markup=False)
