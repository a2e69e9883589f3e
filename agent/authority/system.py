"""The system's trust store: this host's authorities go in as files of ours, or out again.

Programs that ask the system trust hostguard then, without a variable set for them. The system's own tool makes the bundle from
those files, with Java's store where the distribution keeps one (Debian's ca-certificates-java has a hook there).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..failures import Failure
from ..install.place import Step, below
from .bundle import write

PREFIX = "hostguard-"
LIMIT_S = 120


@dataclass(frozen=True, slots=True)
class Anchors:
    """Where a family of systems takes authorities from."""

    folder: str
    suffix: str
    command: tuple[str, ...]
    removing: tuple[str, ...] = ()
    """To be said as well when one was removed: its links stay otherwise."""
    hooks: str = ""
    """Folder of programs that keep other stores, and are told of what was added, not of what was removed: that is left to us."""


_HOOKS = "/etc/ca-certificates/update.d"
KNOWN = (
    Anchors(
        "/usr/local/share/ca-certificates", ".crt", ("update-ca-certificates",), ("--fresh",), "/etc/ca-certificates/update.d"
    ),
    Anchors("/etc/pki/ca-trust/source/anchors", ".pem", ("update-ca-trust", "extract")),
    Anchors("/etc/pki/trust/anchors", ".pem", ("update-ca-certificates",), ("--fresh",)),
    Anchors("/etc/ca-certificates/trust-source/anchors", ".pem", ("update-ca-trust", "extract")),
)
"""Debian, Red Hat, SUSE, Arch."""


def anchors(root: Path) -> Anchors | None:
    """Those of the system below `root`; None where none is known."""
    return next((each for each in KNOWN if below(root, each.folder).is_dir()), None)


def trust(root: Path, wanted: Mapping[int, bytes], *, dry_run: bool) -> list[Step]:
    """Have exactly these authorities (number to PEM) of ours in the store. Any number of times. Raises Failure."""
    found = anchors(root)
    if found is None:
        return []
    folder = below(root, found.folder)
    texts = {f"{PREFIX}{number}{found.suffix}": pem for number, pem in wanted.items()}
    steps: list[Step] = []
    try:
        for name, pem in texts.items():
            place = folder / name
            if place.exists() and place.read_bytes() == pem:
                steps.append(Step("same", f"{found.folder}/{name}"))
                continue
            steps.append(Step("write", f"{found.folder}/{name}", "system trust"))
            if not dry_run:
                write(place, pem)
        for place in sorted(folder.glob(f"{PREFIX}*{found.suffix}")):
            if place.name not in texts:
                steps.append(Step("remove", f"{found.folder}/{place.name}", "system trust"))
                if not dry_run:
                    place.unlink()
    except OSError as error:
        raise Failure(f"{error.filename}: {error.strerror}") from None
    if any(step.changes for step in steps):
        removed = [Path(step.subject).stem for step in steps if step.action == "remove"]
        steps.append(_update(root, (*found.command, *(found.removing if removed else ())), dry_run=dry_run))
        if removed and found.hooks and root == Path("/") and not dry_run:
            _tell(Path(found.hooks), removed)
    return steps


def _update(root: Path, program: tuple[str, ...], *, dry_run: bool) -> Step:
    """Have the system make its bundle again; an image does so when it is put together, or first boots."""
    command = " ".join(program)
    if root != Path("/"):
        return Step("keep", command, f"run it in {root}")
    if dry_run:
        return Step("run", command)
    _run([shutil.which(program[0]) or program[0], *program[1:]])
    return Step("run", command)


def _tell(hooks: Path, removed: list[str]) -> None:
    """Say to Debian's hooks what was removed, as update-ca-certificates(8) would: Java's store keeps it otherwise."""
    said = "".join(f"-/etc/ssl/certs/{name}.pem\n" for name in removed)
    for hook in sorted(hooks.glob("*")) if hooks.is_dir() else []:
        if os.access(hook, os.X_OK):
            _run([str(hook)], said)


def _run(command: list[str], said: str = "") -> None:
    try:
        result = subprocess.run(command, input=said, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    except OSError as error:
        raise Failure(f"{command[0]}: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise Failure(f"{command[0]} does not end") from None
    if result.returncode:
        raise Failure(f"{' '.join(command)}: {result.stderr.strip()[-500:]}")
